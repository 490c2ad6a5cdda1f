"""The vault for phone numbers: sealed for keeping, hashed with a key for finding, masked for showing."""

import hmac
import re
import secrets
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
FORM = b"\x01"
"""The first byte of what is sealed, so that a later form can be told from this one."""
PURPOSE = b"surplusflow line number"


class VaultBroken(Exception):
    """A sealed number does not open: it was changed, or sealed under another secret."""


class Vault:
    """Seals and finds numbers with two keys that are derived from one secret.

    A plain hash of a phone number is guessed within the hour, for there are too
    few numbers; a keyed one is as hard as its key. Two keys, so that a leak of
    the one for finding opens nothing.
    """

    def __init__(self, secret_key: str) -> None:
        self._cipher = AESGCM(_derive(secret_key, b"surplusflow/vault/seal"))
        self._lookup_key = _derive(secret_key, b"surplusflow/vault/lookup")

    def seal(self, msisdn: str) -> bytes:
        """Encrypt a number; the same number never looks the same twice."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return FORM + nonce + self._cipher.encrypt(nonce, msisdn.encode(), PURPOSE + FORM)

    def open(self, sealed: bytes) -> str:
        """The number that was sealed.

        Raises:
            VaultBroken: the bytes were changed, or belong to another secret.
        """
        form, nonce, box = sealed[:1], sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, box, PURPOSE + form).decode()
        except (InvalidTag, ValueError) as error:
            raise VaultBroken("A sealed phone number does not open under this secret.") from error

    def lookup(self, msisdn: str) -> bytes:
        """What a number is found by: HMAC-SHA-256, always the same for the same number."""
        return hmac.digest(self._lookup_key, msisdn.encode(), sha256)


def mask(msisdn: str) -> str:
    """A number as its owner may see it on a screen: ``+8613800138000`` becomes ``138****8000``."""
    digits = re.sub(r"^\+86", "", msisdn).lstrip("+")
    return f"{digits[:3]}****{digits[-4:]}"


def _derive(secret_key: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(secret_key.encode())
