"""What the provider says: an answer with a status, or a refusal in the provider's error form."""

from dataclasses import dataclass, field
from typing import Any, Literal

Document = dict[str, Any]
ErrorKind = Literal["api_error", "card_error", "idempotency_error", "invalid_request_error"]


@dataclass(frozen=True)
class Answer:
    status: int
    body: Document
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """The request is refused and what it did so far is undone."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        kind: ErrorKind = "invalid_request_error",
        is_kept: bool = True,
    ) -> None:
        """`is_kept` tells whether the idempotency key remembers it; a malformed request is not remembered."""
        super().__init__(message)
        self.is_kept = is_kept
        self.answer = Answer(status, error_body(kind, message, code=code, param=param))


def error_body(kind: ErrorKind, message: str, **details: object) -> Document:
    error: Document = {"type": kind, "message": message}
    error |= {name: value for name, value in details.items() if value is not None}
    if "code" in error:
        error["doc_url"] = "https://stripe.com/docs/error-codes/" + str(error["code"]).replace("_", "-")
    return {"error": error}


def malformed(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    return Refusal(message, param=param, code=code, is_kept=False)


def missing(kind: str, object_id: str, param: str = "id", status: int = 404) -> Refusal:
    return Refusal(f"No such {kind}: '{object_id}'", param=param, code="resource_missing", status=status)
