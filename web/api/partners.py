"""Partners: buying in bulk, and handing data out to their users."""

from litestar import Response, post
from litestar.params import JSONBody

from market.partners import BulkLeg, BulkResult, bulk_buy, hand_out
from web.api.answers import Bulk, Fill, Handout, Leg, named
from web.api.bodies import BulkBody, HandoutBody
from web.api.documented import Key, answers, problems
from web.api.orders import Asking
from web.edge.idempotency import MOST_FOR_MANY, idempotency_key
from web.edge.venue import Venue


@post(
    "/bulk-orders",
    tags=["partners"],
    summary="Buy several instruments at once",
    operation_id="bulkBuy",
    response_description="Each leg's outcome.",
    status_code=200,
    responses=problems(404, 413, 415, 422),
)
async def buy_in_bulk(request: Asking, venue: Venue, data: JSONBody[BulkBody], key: Key) -> Bulk:
    """Buy at once, up to each leg's limit, paid from the wallet. Each leg tells its own outcome."""
    legs = [BulkLeg(leg.symbol, leg.lots, leg.limit_price_minor) for leg in data.legs]
    return Bulk(
        [_leg(result) for result in await bulk_buy(venue, request.user, legs, idempotency_key(key, MOST_FOR_MANY))]
    )


@post(
    "/handouts",
    tags=["partners"],
    summary="Pass data to one of your users",
    operation_id="handOut",
    responses=answers({201: Handout, 202: Handout}) | problems(404, 413, 415, 422),
)
async def hand_data_out(request: Asking, venue: Venue, data: JSONBody[HandoutBody], key: Key) -> Response[Handout]:
    """Pass data from your line on. 202 while the carrier moves it; the same request with the same key tells the end."""
    row = await hand_out(venue, request.user, data.symbol, data.phone, data.amount_mb, idempotency_key(key))
    told = Handout(f"hnd_{row.id}", data.symbol, row.amount_mb, row.status, row.reason)
    return Response(told, status_code=202 if row.status == "requested" else 201)


def _leg(result: BulkResult) -> Leg:
    return Leg(
        symbol=result.symbol,
        accepted=result.accepted,
        filled_lots=result.filled,
        open_lots=result.open,
        code=result.code,
        detail=result.detail,
        order_id=named("ord_", result.order_id),
        fills=[Fill(f"trd_{fill.trade_id}", fill.price_minor, fill.quantity) for fill in result.fills],
    )


routes = [buy_in_bulk, hand_data_out]
