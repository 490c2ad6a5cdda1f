"""The Idempotency-Key header: bare, or quoted as the draft standard has it."""

import re
from typing import Any

from litestar import Request

from market.refusals import BadInput

FIELD = "Idempotency-Key"
MOST_CHARACTERS = 255
MOST_FOR_MANY = 200
"""For a request that becomes several, each of which gets the key with a number of its own."""

# A slash would let a key look like a part of another request's, and would not fit into a path.
_KEY = re.compile(r"[A-Za-z0-9._:~@+=-]+")


def idempotency_key(text: str, most: int = MOST_CHARACTERS) -> str:
    """The key in a header's value.

    Raises:
        BadInput: when it is empty, too long, or has other characters.
    """
    key = text.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key) or len(key) > most:
        raise BadInput(f"A key has 1 to {most} characters, of letters, digits and . _ : ~ @ + = -", field=FIELD)
    return key


def refuse_repeated_key(request: Request[Any, Any, Any]) -> None:
    """Two keys on one request would make it two requests.

    Raises:
        BadInput: when there are two.
    """
    if len(request.headers.getall(FIELD, [])) > 1:
        raise BadInput("Send one key.", field=FIELD)
