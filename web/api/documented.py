"""Pieces that the routes share for the API's description, and for reading what every route reads."""

from typing import Annotated, Any

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from web.edge.idempotency import FIELD
from web.edge.problems import PROBLEM_JSON, ProblemDetails

WORDS = {
    400: "A field is wrong; `errors` names it.",
    401: "The key is missing, unknown or revoked.",
    402: "The card or its bank refused.",
    404: "It does not exist, or it is not yours.",
    409: "It has changed since you looked at it, or has ended.",
    413: "The body is larger than 16 kB.",
    415: "The body is not application/json.",
    422: "The rules do not allow it, or the idempotency key was used with another body.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "A part of the market does not answer, or the outcome is not known yet: ask again with the same key.",
}

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many to give at most.")]
Cursor = Annotated[str | None, QueryParameter(max_length=64, description="`next_cursor` of the page before.")]
OrderId = Annotated[str, PathParameter(description="An order's id.", examples=[Example(value="ord_123")])]
TradeId = Annotated[str, PathParameter(description="A trade's id.", examples=[Example(value="trd_45")])]
CheckoutId = Annotated[str, PathParameter(description="A top-up's id.", examples=[Example(value="pay_17")])]
BillPaymentId = Annotated[str, PathParameter(description="A payment's id.", examples=[Example(value="bil_3")])]
CardId = Annotated[str, PathParameter(description="A saved card's id.", examples=[Example(value="pm_1a2b3c")])]
Symbol = Annotated[str, PathParameter(description="An instrument's symbol.", examples=[Example(value="CTCC-GD-2611")])]
_KEY_WORDS = "Of your own choice, 1 to 255 characters, bare or quoted. The same key with the same body happens once."
_KEY_EXAMPLES = [Example(value='"8f14e45f-ceea-467f-a8d3-2f6d1c3b9a10"')]
Key = Annotated[str, HeaderParameter(name=FIELD, description=_KEY_WORDS, examples=_KEY_EXAMPLES)]
OptionalKey = Annotated[str | None, HeaderParameter(name=FIELD, description=_KEY_WORDS, examples=_KEY_EXAMPLES)]


def answers(kinds: dict[int, type]) -> dict[int, ResponseSpec]:
    """The good answers of a route that has more than one."""
    return {
        status: ResponseSpec(kind, description=(kind.__doc__ or "").strip(), generate_examples=False)
        for status, kind in kinds.items()
    }


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The refusals of a route: those that every route has, and its own."""
    listed: dict[int, Any] = {
        status: ResponseSpec(
            ProblemDetails, description=WORDS[status], media_type=PROBLEM_JSON, generate_examples=False
        )
        for status in sorted({400, 401, 429, 503, *statuses})
    }
    return listed
