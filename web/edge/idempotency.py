"""The Idempotency-Key header: bare, or quoted as the draft standard has it."""

import re
from typing import Any

from litestar import Request

from market.refusals import BadInput

FIELD = "Idempotency-Key"

# A slash would let a key look like a part of another request's, and would not fit into a path.
_KEY = re.compile(r"[A-Za-z0-9._:~@+=-]{1,255}")


def idempotency_key(text: str) -> str:
    """The key in a header's value.

    Raises:
        BadInput: when it is empty, too long, or has other characters.
    """
    key = text.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise BadInput("A key has 1 to 255 characters, of letters, digits and . _ : ~ @ + = -", field=FIELD)
    return key


def refuse_repeated_key(request: Request[Any, Any, Any]) -> None:
    """Two keys on one request would make it two requests.

    Raises:
        BadInput: when there are two.
    """
    if len(request.headers.getall(FIELD, [])) > 1:
        raise BadInput("Send one key.", field=FIELD)
