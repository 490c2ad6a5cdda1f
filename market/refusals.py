"""Every refusal of the market, drawn as one tree: a code, a status, and words for the person.

Refusal
├── BadInput 400            a field is wrong; names the field
├── NotSignedIn 401
├── Forbidden 403
├── NotFound 404            also for what belongs to somebody else
├── Conflict 409            stale version, already ended
│   └── KeyReused 422       the same idempotency key with another body
├── NotAllowed 422          rules: limits, residual, funds, market closed, off tick
├── PaymentFailed 402
├── TooMany 429
└── Unavailable 503        also when storage runs short
    └── OutcomeUnknown 503  not known yet; ask again with the same key
"""


class Refusal(Exception):
    """A refusal with words for the person; nothing was changed."""

    status = 400
    code = "refused"

    def __init__(self, detail: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.field = field


class BadInput(Refusal):
    """A field is wrong."""

    code = "bad_input"


class NotSignedIn(Refusal):
    """Nobody is signed in, or the session has ended."""

    status = 401
    code = "not_signed_in"


class Forbidden(Refusal):
    """The one who asks may not do this."""

    status = 403
    code = "forbidden"


class NotFound(Refusal):
    """It does not exist, or it is somebody else's."""

    status = 404
    code = "not_found"


class Conflict(Refusal):
    """The thing has changed since it was looked at."""

    status = 409
    code = "conflict"


class KeyReused(Conflict):
    """The idempotency key was used for another request."""

    status = 422
    code = "idempotency_key_reused"


class NotAllowed(Refusal):
    """The rules of the market or of the carrier do not allow it."""

    status = 422
    code = "not_allowed"


class PaymentFailed(Refusal):
    """The card or the provider refused."""

    status = 402
    code = "payment_failed"


class TooMany(Refusal):
    """A limit on how often was reached."""

    status = 429
    code = "too_many_requests"


class Unavailable(Refusal):
    """A part of the market does not answer; try again."""

    status = 503
    code = "unavailable"
    retry_seconds = 2
    """When asking again may help."""


class OutcomeUnknown(Unavailable):
    """It is not known yet whether the request took effect; ask again with the same key."""

    code = "outcome_unknown"
