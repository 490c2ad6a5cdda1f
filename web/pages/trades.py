"""A member's trades, and how far the delivery of each has come."""

from litestar import Response, get
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import parties, views
from market.refusals import NotFound
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.pages.forms import number_of, queried
from web.pages.rendering import Page, page

A_PAGE = 25


@get("/trades", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    form, member = queried(request), signed_in(request)
    async with venue.sessions() as session:
        found = await views.trades(session, member.party_id, number_of(form.text("before"), "trd"), A_PAGE + 1)
    shown = found[:A_PAGE]
    older = f"trd_{shown[-1].id}" if len(found) > A_PAGE else None
    return page(request, "trades.html", block="list", trades=shown, older=older, before=form.text("before"))


@get("/trades/{name:str}", guards=[requires_member])
async def show(request: Page, venue: Venue, name: FromPath[str]) -> Response[str]:
    """The delivery tracker: matched, moved at the carrier, paid."""
    member, trade_id = signed_in(request), number_of(name, "trd")
    if trade_id is None:
        raise NotFound("You have no such trade.")
    async with venue.sessions() as session:
        trade = await views.trade(session, member.party_id, trade_id)
    lines = await parties.lines(venue, member) if trade.receiver_line_id else []
    receiver = next((line.masked for line in lines if line.id == trade.receiver_line_id), None)
    return page(request, "trade.html", block="tracker", trade=trade, receiver=receiver)


routes: list[ControllerRouterHandler] = [index, show]
