"""What is yours: money, coins, lines, trades."""

from litestar import Response, get, put

from market import giving_up, receipts, views
from market.parties import lines
from market.wallet import balances
from web.api import ids
from web.api.answers import OwnLine, Purse, Trade, TradePage
from web.api.documented import Cursor, Limit, TradeId, problems
from web.api.orders import Asking
from web.edge.cursors import Cursors
from web.edge.venue import Venue


@get(
    "/trades",
    tags=["wallet"],
    summary="Your trades, newest first",
    operation_id="listTrades",
    response_description="Your trades.",
    responses=problems(),
)
async def list_trades(request: Asking, venue: Venue, cursor: Cursor = None, limit: Limit = 50) -> TradePage:
    cursors: Cursors = request.app.state.cursors
    purpose = f"trades {request.user.party_id}"
    async with venue.reads() as session:
        found = await views.trades(session, request.user.party_id, cursors.open(purpose, cursor), limit + 1)
    more = cursors.seal(purpose, found[limit - 1].id) if len(found) > limit else None
    return TradePage([Trade.of(view) for view in found[:limit]], more)


@get(
    "/trades/{trade_id:str}",
    tags=["wallet"],
    summary="One trade and its delivery",
    operation_id="getTrade",
    response_description="The trade.",
    responses=problems(404),
)
async def get_trade(request: Asking, venue: Venue, trade_id: TradeId) -> Trade:
    async with venue.reads() as session:
        return Trade.of(await views.trade(session, request.user.party_id, ids.trade_id(trade_id)))


@put(
    "/trades/{trade_id:str}/give-up",
    tags=["wallet"],
    summary="Have a late purchase refunded",
    operation_id="giveUpTrade",
    response_description="The trade: refunded, or soon to be if nothing was sent to the carrier.",
    responses=problems(404, 409, 422),
)
async def give_up_trade(request: Asking, venue: Venue, trade_id: TradeId) -> Trade:
    """Take the money back for a purchase that is later than a quarter of an hour. Asked again it changes nothing."""
    return Trade.of(await giving_up.give_up(venue, request.user, ids.trade_id(trade_id)))


@get(
    "/trades/{trade_id:str}/receipt",
    tags=["wallet"],
    summary="A trade's receipt, which anybody can check",
    operation_id="getReceipt",
    response_description="The receipt, byte for byte as it is signed.",
    responses=problems(404),
)
async def get_receipt(request: Asking, venue: Venue, trade_id: TradeId) -> Response[bytes]:
    issued = await receipts.of_party(venue, request.user.party_id, ids.trade_id(trade_id))
    return Response(issued, media_type="application/json")


@get(
    "/wallet",
    tags=["wallet"],
    summary="Your money and coins",
    operation_id="getWallet",
    response_description="Your money and coins.",
    responses=problems(),
)
async def get_wallet(request: Asking, venue: Venue) -> Purse:
    held = await balances(venue, request.user)
    return Purse(held.currency, held.available_minor, held.held_minor, held.coins_available, held.coins_held)


@get(
    "/lines",
    tags=["wallet"],
    summary="Your lines",
    operation_id="listLines",
    response_description="Your lines.",
    responses=problems(),
)
async def list_lines(request: Asking, venue: Venue) -> list[OwnLine]:
    return [
        OwnLine(f"lin_{line.id}", line.carrier, line.province, line.masked, line.plan, line.base_mb, line.state)
        for line in await lines(venue, request.user)
    ]


routes = [list_trades, get_trade, give_up_trade, get_receipt, get_wallet, list_lines]
