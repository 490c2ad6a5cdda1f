"""What every exception means to the one who asked: one value with a status, a code and words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from asyncpg import InternalClientError, PostgresError
from litestar.enums import ParamType
from litestar.exceptions import HTTPException, ValidationException
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from market.refusals import NotSignedIn, Refusal, TooMany, Unavailable

PROBLEM_JSON = "application/problem+json"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
BAD_VALUES = "22"
"""PostgreSQL's class of errors for values that no column can hold."""
PASSING = ("08", "25P03", "25P04", "40", "53", "55P", "57")
"""Its errors that pass: connection; deadlock; too little room; lock, statement or transaction timed out; shutdown."""

# What these stop may succeed a moment later; what it had done by then is found again under its idempotency key.
OUTAGES = (OperationalError, InterfaceError, PoolTimeoutError, RedisError, ConnectionError, TimeoutError)

_CODES = {
    400: "bad_input",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "wrong_media_type",
    421: "unknown_host",
}
_WORDS = {
    404: "There is nothing at this address.",
    405: "This address does not know that method.",
    413: "The request is larger than this address accepts.",
}


class OverLimit(TooMany):
    """A limit was reached; `retry_after_seconds` says when the next request may come."""

    def __init__(self, detail: str, *, retry_after_seconds: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(max(1, retry_after_seconds)), **(headers or {})}


class FieldError(msgspec.Struct, frozen=True):
    """One field that is wrong, and how."""

    field: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """The body of a refusal (RFC 9457). `code` is for programs, `detail` for people, `trace_id` for our logs."""

    title: str
    status: int
    detail: str
    code: str
    instance: str
    trace_id: str
    kind: str = "about:blank"
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True)
class Problem:
    """What went wrong, whoever will read it."""

    status: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "about:blank"

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase


OURS = Problem(500, "internal", "Something went wrong on our side. It has been noted under the number shown here.")


def problem_of(error: Exception) -> Problem:
    """Say what an exception means to the one who asked. What we did not foresee says nothing of our inside."""
    for kinds, tell in _READERS:
        if isinstance(error, kinds):
            return tell(error)
    if isinstance(error, DBAPIError):
        return _of_the_database(error)
    if isinstance(error, PostgresError):  # so the driver refuses a new connection, while the server starts or stops
        return _down(error) if str(error.sqlstate).startswith(PASSING) else OURS
    return OURS


def _refused(error: Refusal) -> Problem:
    errors = (FieldError(error.field, error.detail),) if error.field else ()
    headers = dict(getattr(error, "headers", {}))
    if isinstance(error, Unavailable):
        return _unavailable(error.code, error.detail, error.retry_seconds)
    if isinstance(error, NotSignedIn):
        headers.setdefault("WWW-Authenticate", "Bearer")
    kind = QUOTA_EXCEEDED if isinstance(error, TooMany) else "about:blank"
    return Problem(error.status, error.code, error.detail, errors, headers, kind)


def _down(_: Exception) -> Problem:
    return _unavailable("unavailable", "A part of the market does not answer. Please try again in a moment.")


def _of_the_database(error: DBAPIError) -> Problem:
    state = str(getattr(error.orig, "sqlstate", ""))
    # A server that goes away between two statements leaves the driver in a state that it finds impossible.
    is_torn = error.orig is not None and isinstance(error.orig.__cause__, InternalClientError)
    if error.connection_invalidated or is_torn or state.startswith(PASSING):
        return _down(error)
    if state.startswith(BAD_VALUES):
        return Problem(400, "bad_input", "A value cannot be stored.")
    return OURS


def _unavailable(code: str, detail: str, retry_seconds: int = Unavailable.retry_seconds) -> Problem:
    return Problem(503, code, detail, (), {"Retry-After": str(retry_seconds)}, REDUCED_CAPACITY)


def _invalid(error: ValidationException) -> Problem:
    found = error.extra if isinstance(error.extra, Sequence) else ()
    if any(isinstance(item, Mapping) and item.get("source") == ParamType.PATH for item in found):
        return Problem(404, "not_found", _WORDS[404])
    errors = tuple(
        FieldError(str(item.get("key", "body")), str(item.get("message", "is not valid")).replace("`", ""))
        for item in found
        if isinstance(item, Mapping)
    )
    detail = "; ".join(f"{each.field}: {each.detail}" for each in errors) or error.detail
    return Problem(400, "bad_input", detail, errors)


def _http(error: HTTPException) -> Problem:
    status = error.status_code if error.status_code in HTTPStatus._value2member_map_ else 500
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return OURS
    return Problem(status, _CODES.get(status, "refused"), _WORDS.get(status, error.detail))


_READERS: tuple[tuple[Any, Callable[[Any], Problem]], ...] = (
    (Refusal, _refused),
    (ValidationException, _invalid),
    (HTTPException, _http),
    (RecursionError, lambda _: Problem(400, "bad_input", "The request is nested too deeply.")),
    (OUTAGES, _down),
)
