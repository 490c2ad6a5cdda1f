"""Baskets and swaps: several instruments in one order under one limit."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.openapi.spec import Example
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from market import baskets
from market.baskets import BasketLeg, BasketRequest, BasketResult, LegResult
from market.engine.baskets import MOST_LEGS
from market.refusals import BadInput
from web.api import ids
from web.api.answers import Fill
from web.api.bodies import LineName, Lots, PriceMinor, Symbol
from web.api.documented import Key, problems
from web.api.orders import Asking
from web.edge.idempotency import MOST_FOR_MANY, idempotency_key
from web.edge.venue import Venue

AmountMinor = Annotated[
    int, Meta(ge=0, le=1_000_000_000_000, description="Minor units for everything together.", examples=[960])
]
BasketId = Annotated[str, PathParameter(description="A basket's id.", examples=[Example(value="bsk_9")])]


class BasketLegBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One instrument of a basket. The data goes to `line_id`, or to your only line at that carrier."""

    symbol: Symbol
    lots: Lots
    line_id: LineName | None = None
    limit_price_minor: PriceMinor | None = None


class BasketBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Purchases under one limit for all of them: each whole or nothing at all, or as much as the limit allows."""

    legs: Annotated[list[BasketLegBody], Meta(min_length=1, max_length=MOST_LEGS)]
    limit_minor: Annotated[
        int, Meta(ge=1, le=1_000_000_000_000, description="The most that all legs may cost.", examples=[960])
    ]
    all_or_none: bool = True


class SwapBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Sell one and buy another at once, or neither. Say what you pay at most, or get at least, net of the fee."""

    sell: BasketLegBody
    buy: BasketLegBody
    pay_at_most_minor: AmountMinor | None = None
    get_at_least_minor: AmountMinor | None = None


class BasketLegOutcome(msgspec.Struct, frozen=True):
    """What became of one leg. `net_minor` is to pay, negative to get; `code` and `detail` say why it is not all."""

    symbol: str
    side: str
    lots: int
    filled_lots: int
    net_minor: int
    order_ids: list[str]
    fills: list[Fill]
    code: str | None
    detail: str | None

    @classmethod
    def of(cls, result: LegResult) -> "BasketLegOutcome":
        return cls(
            symbol=result.leg.symbol,
            side=result.leg.side,
            lots=result.leg.lots,
            filled_lots=result.filled,
            net_minor=result.net_minor,
            order_ids=[f"ord_{order_id}" for order_id in result.order_ids],
            fills=[Fill(f"trd_{fill.trade_id}", fill.price_minor, fill.quantity) for fill in result.fills],
            code=result.code,
            detail=result.detail,
        )


class Basket(msgspec.Struct, frozen=True):
    """A basket or a swap: deciding, committed or aborted. Limit and net are to pay, negative to get, fees included."""

    id: str
    kind: str
    state: str
    all_or_none: bool
    limit_minor: int
    net_minor: int
    legs: list[BasketLegOutcome]
    code: str | None
    detail: str | None

    @classmethod
    def of(cls, result: BasketResult) -> "Basket":
        return cls(
            id=f"bsk_{result.id}",
            kind=result.kind,
            state=result.state,
            all_or_none=result.all_or_none,
            limit_minor=result.limit_minor,
            net_minor=result.net_minor,
            legs=[BasketLegOutcome.of(leg) for leg in result.legs],
            code=result.code,
            detail=result.detail,
        )


@post(
    "/baskets",
    tags=["orders"],
    summary="Buy several instruments under one limit",
    operation_id="placeBasket",
    response_description="What each leg got.",
    responses=problems(404, 413, 415, 422),
)
async def place_basket(request: Asking, venue: Venue, data: JSONBody[BasketBody], key: Key) -> Basket:
    """Buy at once, paid from the wallet. A best effort buys what is cheapest per unit first."""
    wanted = BasketRequest(
        kind="basket",
        legs=tuple(_leg(leg, side="buy") for leg in data.legs),
        limit_minor=data.limit_minor,
        all_or_none=data.all_or_none,
    )
    return Basket.of(await baskets.place(venue, request.user, wanted, idempotency_key(key, MOST_FOR_MANY)))


@post(
    "/swaps",
    tags=["orders"],
    summary="Sell one instrument and buy another, both or neither",
    operation_id="placeSwap",
    response_description="What both sides came to.",
    responses=problems(404, 413, 415, 422),
)
async def place_swap(request: Asking, venue: Venue, data: JSONBody[SwapBody], key: Key) -> Basket:
    """Trade both at once. What is sold is reserved at the carrier first, and given back if nothing comes of it."""
    if (data.pay_at_most_minor is None) == (data.get_at_least_minor is None):
        raise BadInput(
            "Say either what you pay at most or what you get at least.", code="one_limit", field="pay_at_most_minor"
        )
    limit_minor = data.pay_at_most_minor if data.get_at_least_minor is None else -data.get_at_least_minor
    wanted = BasketRequest(
        kind="swap",
        legs=(_leg(data.sell, side="sell"), _leg(data.buy, side="buy")),
        limit_minor=limit_minor or 0,
    )
    return Basket.of(await baskets.place(venue, request.user, wanted, idempotency_key(key, MOST_FOR_MANY)))


@get(
    "/baskets/{basket_id:str}",
    tags=["orders"],
    summary="One basket or swap",
    operation_id="getBasket",
    response_description="The basket as it stands.",
    responses=problems(404),
)
async def get_basket(request: Asking, venue: Venue, basket_id: BasketId) -> Basket:
    async with venue.reads() as session:
        return Basket.of(await baskets.find(session, request.user, ids.basket_id(basket_id)))


def _leg(body: BasketLegBody, *, side: baskets.Side) -> BasketLeg:
    return BasketLeg(
        symbol=body.symbol,
        side=side,
        lots=body.lots,
        line_id=None if body.line_id is None else ids.line_id(body.line_id),
        limit_price_minor=body.limit_price_minor,
    )


routes = [place_basket, place_swap, get_basket]
