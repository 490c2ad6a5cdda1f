"""One instrument: its book, tape, candles and depth as they happen, and the ticket to trade it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from market import calls, carrier_charges, destinies, fees, parties, queue_place, views, wallet
from market.headroom import Headroom
from market.line_rooms import rooms
from market.parties import Member
from market.views import InstrumentView, OrderView
from web.edge.sessions import present_member
from web.edge.venue import Venue
from web.pages.cards import payable
from web.pages.drawing import depth
from web.pages.forms import Form, number_of, queried
from web.pages.previews import preview
from web.pages.rendering import Page, page, wants_fragment
from web.pages.ticket_amounts import CHIPS, SHARES, amount_of
from web.pages.tickets import MODES, TIMES_IN_FORCE, WAITING, Ticket, takes, typed
from web.pages.words import ORDER_KINDS, SELF_TRADES

LEVELS = 10
PRICED_LEVELS = 100
"""How deep a market order is priced, and the depth is drawn."""
PRINTS = 30
OWN_ORDERS = 20
MODE_COOKIE = "ticket"


@dataclass(frozen=True, slots=True)
class Span:
    """How far back a chart goes, and in candles of which width."""

    width: str
    candles: int
    seconds: int


SPANS = {
    "hour": Span("1m", 60, 60),
    "day": Span("15m", 96, 900),
    "week": Span("1h", 168, 3_600),
    "month": Span("1d", 31, 86_400),
}


@get("/instruments/{symbol:str}")
async def show(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[str]:
    form = queried(request)
    async with venue.reads() as session:
        view = await views.instrument(session, symbol, datetime.now(UTC))
    if wants_fragment(request) and request.headers.get("hx-target", "").endswith("#chart"):
        return page(request, "instrument.html", block="chart", view=view, **await _chart(venue, view, form))
    ticket = typed(form, view, datetime.now(UTC), preferred_mode(request, form))
    return await instrument_page(request, venue, view, form, ticket)


@get("/instruments/{symbol:str}/quote")
async def quoted(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[str]:
    """What the ticket would come to as it is being filled in."""
    form, now, member = queried(request), datetime.now(UTC), await present_member(request)
    async with venue.reads() as session:
        view = await views.instrument(session, symbol, now)
        book = await views.book(session, view.id, PRICED_LEVELS)
        view = await _for_member(session, member, view)
    ticket = typed(form, view, now)
    return page(
        request,
        "quote.html",
        block="quote",
        view=view,
        ticket=ticket,
        preview=preview(form, ticket, view, book),
        wallet=await wallet.balances(venue, member) if member else None,
        room=await _room(venue, view, await _lines(venue, member, view), ticket, now),
    )


@get("/instruments/{symbol:str}/candles")
async def candles(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[list[tuple[int, int, int, int, int]]]:
    """(start in seconds since the epoch, open, high, low, close) of each candle, oldest first."""
    span = SPANS[_span(queried(request))]
    async with venue.reads() as session:
        view = await views.instrument(session, symbol, datetime.now(UTC))
        found = await views.candles(session, view.id, span.width, span.candles)
    rows = [
        (int(each.at.timestamp()), each.open_minor, each.high_minor, each.low_minor, each.close_minor) for each in found
    ]
    return Response(rows, media_type="application/json")


async def instrument_page(
    request: Page,
    venue: Venue,
    view: InstrumentView,
    form: Form,
    ticket: Ticket,
    *,
    block: str | None = None,
    status: int = 200,
) -> Response[str]:
    """The whole page, or the block of it that htmx swaps, with a ticket as it stands."""
    member, now = await present_member(request), datetime.now(UTC)
    taken = takes(view, now)
    async with venue.reads() as session:
        book = await views.book(session, view.id, PRICED_LEVELS)
        tape = await views.tape(session, view.id, PRINTS)
        placed = await _just_placed(session, member, form)
        own = await own_orders(session, member, view.id)
        places = await queue_place.of(session, [order.id for order in own])
        call = await calls.following(session, view, now)
        indication = await calls.indication(session, view)
        view = await _for_member(session, member, view)
    lines = await _lines(venue, member, view)
    return page(
        request,
        "instrument.html",
        block=block,
        status=status,
        view=view,
        call=call,
        indication=indication,
        book=cut(book),
        tape=tape,
        ticket=ticket,
        destiny_typed=destinies.typed(form.values),
        preview=preview(_as_form(form, ticket), ticket, view, book),
        room=await _room(venue, view, lines, ticket, now),
        chips={lots: amount_of(lots, view) for lots in CHIPS[view.kind]},
        shares=SHARES,
        placed=placed,
        takes=taken,
        kinds=ORDER_KINDS,
        times=TIMES_IN_FORCE if taken == "all" else WAITING,
        self_trades=SELF_TRADES,
        member=member,
        mine=own,
        queue_places=places,
        wallet=await wallet.balances(venue, member) if member else None,
        lines=lines,
        cards=await payable(venue, member),
        **(await _chart(venue, view, form, book) if block is None or not wants_fragment(request) else {}),
    )


async def _chart(venue: Venue, view: InstrumentView, form: Form, book: views.BookView | None = None) -> dict[str, Any]:
    """What the chart's card shows: candles over a span, or the depth of the book."""
    chosen = _span(form)
    shows_depth = form.text("chart") == "depth"
    async with venue.reads() as session:
        if shows_depth:
            book = book or await views.book(session, view.id, PRICED_LEVELS)
            drawn = []
        else:
            drawn = await views.candles(session, view.id, SPANS[chosen].width, SPANS[chosen].candles)
    return {
        "chart": "depth" if shows_depth else "candles",
        "depth": depth(book) if shows_depth and book else None,
        "candles": drawn,
        "span": chosen,
        "spans": SPANS,
    }


def preferred_mode(request: Page, form: Form) -> str:
    """The ticket that a visitor likes to have: as a link or a kept form says, else as they last chose."""
    for wish in (form.text("mode"), request.cookies.get(MODE_COOKIE, "")):
        if wish in MODES:
            return wish
    return MODES[0]


def cut(book: views.BookView) -> views.BookView:
    """The levels that a page shows."""
    return views.BookView(book.bids[:LEVELS], book.asks[:LEVELS])


async def own_orders(session: AsyncSession, member: Member | None, instrument_id: int) -> list[OrderView]:
    """The member's open orders in one instrument."""
    if member is None:
        return []
    found = await views.orders(session, member.party_id, "open", None, views.MOST_ROWS)
    return [order for order in found if order.instrument_id == instrument_id][:OWN_ORDERS]


async def _just_placed(session: AsyncSession, member: Member | None, form: Form) -> OrderView | None:
    """The order that the page is shown for, as it stands by now."""
    order_id = number_of(form.text("placed"), "ord")
    if member is None or order_id is None:
        return None
    return await views.order(session, member.party_id, order_id)


async def _for_member(session: AsyncSession, member: Member | None, view: InstrumentView) -> InstrumentView:
    """The instrument with the fee that this member's sale would pay; a stranger sees a subscriber's."""
    now = datetime.now(UTC)
    view = replace(view, charges=await carrier_charges.in_force(session, now, view.carrier))
    seller = fees.Seller(member.kind, member.fee_group) if member else fees.Seller("subscriber")
    terms = await fees.seller_terms(session, now, seller, carrier=view.carrier, symbol=view.symbol)
    if terms is None:
        return view
    return replace(view, fee_basis_points=terms.basis_points, fee_minimum_minor=terms.minimum_minor)


async def _lines(venue: Venue, member: Member | None, view: InstrumentView) -> list[parties.Line]:
    if member is None or view.kind != "data":
        return []
    return [line for line in await parties.lines(venue, member) if line.carrier == view.carrier]


async def _room(
    venue: Venue, view: InstrumentView, lines: list[parties.Line], ticket: Ticket, now: datetime
) -> Headroom | None:
    """What the carrier lets the ticket's line do: the one that was chosen, else the first, as the form has it."""
    line = next((line for line in lines if line.id == ticket.line_id), lines[0] if lines else None)
    if line is None or view.carrier is None:
        return None
    async with venue.reads() as session:
        return (await rooms(session, {line.id: view.carrier}, now)).get(line.id)


def _as_form(form: Form, ticket: Ticket) -> Form:
    asked = {"amount": ticket.amount} if ticket.is_simple else {"lots": ticket.lots}
    rest = {name: text for name, text in form.values.items() if name not in {"lots", "amount"}}
    return Form({**rest, **asked, "price": ticket.price})


def _span(form: Form) -> str:
    return form.text("span") if form.text("span") in SPANS else "day"


routes: list[ControllerRouterHandler] = [show, quoted, candles]
