"""A member's trades, how far the delivery of each has come, and the receipt of each."""

from datetime import UTC, datetime

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import giving_up, parties, receipts, tracking, views
from market.refusals import BadInput, NotFound
from settlement import buy_ins, escalation, reopening
from web.edge.sessions import requires_member, requires_officer, signed_in, signed_in_officer
from web.edge.venue import Venue
from web.pages.filters import Filter
from web.pages.forms import number_of, queried
from web.pages.rendering import Page, page, see_other

A_PAGE = 25
STATES = {"open": ("pending", "delivered"), "settled": ("settled",), "refunded": ("refunded",)}
"""What the list can be narrowed to, and which states of a delivery those are."""


@get("/trades", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    chosen, member = Filter.of(queried(request), "/trades", STATES), signed_in(request)
    async with venue.reads() as session:
        found = await views.trades(
            session,
            member.party_id,
            number_of(chosen.before, "trd"),
            A_PAGE + 1,
            side=chosen.side or None,
            symbol=chosen.symbol or None,
            statuses=STATES.get(chosen.state),
        )
        markets = await views.traded_instruments(session, member.party_id)
        shown = found[:A_PAGE]
        late = await escalation.of_subjects(session, "delivery", [trade.id for trade in shown])
    return page(
        request,
        "trades.html",
        block="list",
        trades=shown,
        older=chosen.url(before=f"trd_{shown[-1].id}") if len(found) > A_PAGE else None,
        chosen=chosen,
        markets=markets,
        late=late,
    )


@get("/trades/{name:str}", guards=[requires_member])
async def show(request: Page, venue: Venue, name: FromPath[str]) -> Response[str]:
    """The delivery tracker: each step with its time, and of the one that is due what it waits for."""
    member, trade_id = signed_in(request), number_of(name, "trd")
    if trade_id is None:
        raise NotFound("You have no such trade.")
    async with venue.reads() as session:
        trade = await views.trade(session, member.party_id, trade_id)
        late = (await escalation.of_subjects(session, "delivery", [trade_id])).get(trade_id)
        reopened = (await reopening.of_trades(session, [trade_id])).get(trade_id, [])
        buy_in = await buy_ins.of_trade(session, trade_id)
        facts = await tracking.facts_of(session, trade_id)
    lines = await parties.lines(venue, member) if trade.receiver_line_id else []
    receiver = next((line.masked for line in lines if line.id == trade.receiver_line_id), None)
    return page(
        request, "trade.html", block="tracker", trade=trade, receiver=receiver, late=late, reopened=reopened,
        buy_in=buy_in, steps=tracking.track(trade, facts, reopened, datetime.now(UTC)),
        may_give_up=giving_up.may_give_up(trade, late),
    )  # fmt: skip


@post("/trades/{name:str}/give-up", guards=[requires_member], status_code=200)
async def give_up(request: Page, venue: Venue, name: FromPath[str]) -> Response[None]:
    """Take the money back for what is late, unless it has moved. Sent twice, it is taken back once."""
    trade_id = number_of(name, "trd")
    if trade_id is None:
        raise NotFound("You have no such trade.")
    await giving_up.give_up(venue, signed_in(request), trade_id)
    return see_other(f"/trades/{name}")


@get("/trades/{name:str}/receipt", guards=[requires_member])
async def receipt(request: Page, venue: Venue, name: FromPath[str]) -> Response[bytes]:
    """The member's side of a trade as a file that anybody can check."""
    trade_id = number_of(name, "trd")
    if trade_id is None:
        raise NotFound("You have no such trade.")
    return _file(trade_id, await receipts.of_party(venue, signed_in(request).party_id, trade_id))


@get("/officer/trades/{name:str}/receipt", guards=[requires_officer])
async def officers_receipt(request: Page, venue: Venue, name: FromPath[str]) -> Response[bytes]:
    """One side of a trade, ``?side=buy`` or ``?side=sell``, for an officer who watches over its carrier."""
    side, trade_id = queried(request).text("side"), number_of(name, "trd")
    if side not in {"buy", "sell"}:
        raise BadInput("Choose whose receipt: buy or sell.", field="side")
    if trade_id is None:
        raise NotFound("There is no such trade.")
    whose: receipts.Side = "buy" if side == "buy" else "sell"
    return _file(trade_id, await receipts.of_officer(venue, signed_in_officer(request), trade_id, whose))


def _file(trade_id: int, content: bytes) -> Response[bytes]:
    headers = {"Content-Disposition": f'attachment; filename="receipt-trd_{trade_id}.json"'}
    return Response(content, media_type="application/json", headers=headers)


routes: list[ControllerRouterHandler] = [index, show, give_up, receipt, officers_receipt]
