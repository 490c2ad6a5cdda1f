"""A number for every request, so that a visitor's words and our logs can be brought together."""

import re
import secrets
import traceback
from pathlib import Path
from typing import Any

_FITTING = re.compile(rb"[A-Za-z0-9._-]{8,64}")
FRAMES = 12
CAUSES = 5
_KEY = "surplusflow_trace_id"


def give_trace_id(scope: Any) -> str:
    """Take the caller's X-Request-ID when it looks like one; anything else is replaced, never logged."""
    given = next((value for name, value in scope["headers"] if name.lower() == b"x-request-id"), b"")
    trace = given.decode() if _FITTING.fullmatch(given) else secrets.token_hex(8)
    scope[_KEY] = trace
    return trace


def trace_id(scope: Any) -> str:
    return str(scope.get(_KEY, ""))


def where_it_failed(error: BaseException) -> list[str]:
    """The places of an exception and its causes, without its text and without any value."""
    places: list[str] = []
    current: BaseException | None = error
    while current is not None and len(places) < CAUSES:
        stack = traceback.extract_tb(current.__traceback__)[-FRAMES:]
        steps = (f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}" for frame in stack)
        places.append(f"{type(current).__name__}: {' > '.join(steps)}")
        current = current.__cause__ or current.__context__
    return places
