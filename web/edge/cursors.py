"""Cursors of long lists: signed, and good only for the list and the party that they were given to."""

import base64
import binascii
import hmac
import re

from market.refusals import BadInput

_MAC_BYTES = 16
_FORM = re.compile(r"[A-Za-z0-9_-]{22,64}")


class Cursors:
    """Seals the id that a list was read down to."""

    def __init__(self, secret_key: str) -> None:
        self._key = hmac.digest(secret_key.encode(), b"surplusflow cursors", "sha256")

    def seal(self, purpose: str, before: int) -> str:
        number = str(before).encode()
        return base64.urlsafe_b64encode(self._mac(purpose, number) + number).rstrip(b"=").decode()

    def open(self, purpose: str, cursor: str | None) -> int | None:
        """The id in a cursor; none without a cursor.

        Raises:
            BadInput: when it was not made here, or for another list.
        """
        if cursor is None:
            return None
        mac, number = _split(cursor)
        if not hmac.compare_digest(mac, self._mac(purpose, number)):
            raise BadInput("This cursor does not belong to this list.", field="cursor")
        return int(number)

    def _mac(self, purpose: str, number: bytes) -> bytes:
        return hmac.digest(self._key, purpose.encode() + b"\0" + number, "sha256")[:_MAC_BYTES]


def _split(cursor: str) -> tuple[bytes, bytes]:
    if not _FORM.fullmatch(cursor):
        raise BadInput("This is not a cursor.", field="cursor")
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except binascii.Error as error:
        raise BadInput("This is not a cursor.", field="cursor") from error
    return sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
