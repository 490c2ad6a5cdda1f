"""The file that a receipt is: its steps, who issued it, and the signature over all of it."""

from collections.abc import Sequence
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from settlement.receipts.chain import Step, encode

FORM = "surplusflow-receipt-1"
KEY_BYTES = 32
KEY_ID_CHARACTERS = 16
PURPOSE = b"surplusflow/receipt/ed25519"


class WrittenStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step as the file shows it; hashes are in hexadecimal."""

    number: int
    former: str
    hash: str
    body: dict[str, str | int | None]


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is signed. ``side`` is whose receipt it is: buy or sell."""

    form: str
    issuer: str
    trade: str
    side: str
    issued_at: str
    steps: list[WrittenStep]


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Ed25519 signature, and the public key that it is checked with; both in hexadecimal."""

    key: str
    public_key: str
    value: str


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receipt with its signature."""

    receipt: Receipt
    signature: Signature


class Signer:
    """Signs with a key that is derived from the installation's secret by HKDF, so that there is no second secret.

    Another secret is another key with another id; what was signed under the former one
    is checked with the former public key, for ever.
    """

    def __init__(self, secret_key: str) -> None:
        seed = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=PURPOSE).derive(secret_key.encode())
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = key_id(self.public_key)

    def sign(self, receipt: Receipt) -> Document:
        value = self._key.sign(signed_bytes(receipt))
        return Document(receipt, Signature(self.key_id, self.public_key.hex(), value.hex()))


def key_id(public_key: bytes) -> str:
    """The name of a public key: the beginning of its SHA-256."""
    return sha256(public_key).hexdigest()[:KEY_ID_CHARACTERS]


def signed_bytes(receipt: Receipt) -> bytes:
    """What the signature covers; it begins with the form, so that it can stand for nothing else."""
    return FORM.encode() + b"\n" + encode(receipt)


def drawn_up(*, issuer: str, trade: str, side: str, issued_at: str, steps: Sequence[Step]) -> Receipt:
    """A receipt of the steps, not yet signed."""
    written = [
        WrittenStep(step.number, step.former.hex(), step.hash.hex(), msgspec.json.decode(step.body)) for step in steps
    ]
    return Receipt(FORM, issuer, trade, side, issued_at, written)


def in_writing(document: Document) -> bytes:
    """The file, byte for byte: there is one way to write a receipt, so that any other is a changed one."""
    return msgspec.json.format(encode(document), indent=1) + b"\n"
