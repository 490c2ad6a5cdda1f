"""One instrument: its book, tape and candles as they happen, and the ticket to trade it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from market import fees, parties, together, trading, views, wallet
from market.parties import Member
from market.refusals import Refusal
from market.together import PairRequest
from market.trading import OrderRequest, Placed
from market.views import InstrumentView
from web.edge.sessions import present_member, requires_member, signed_in
from web.edge.venue import Venue
from web.pages import payments
from web.pages.forms import Form, errors_of, number_of, queried, read
from web.pages.rendering import Page, locale_of, page, see_other, wants_fragment
from web.pages.tickets import DEMO_CARDS, FIELDS, TIMES_IN_FORCE, WAITING, Ticket, asked, preview, takes, typed
from web.pages.words import ORDER_KINDS, SELF_TRADES

LEVELS = 10
PRICED_LEVELS = 100
"""How deep a market order is priced."""
PRINTS = 30
CANDLES = {"1m": 240, "15m": 192, "1h": 240, "1d": 62}
OWN_ORDERS = 20


@get("/instruments/{symbol:str}")
async def show(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[str]:
    form = queried(request)
    async with venue.sessions() as session:
        view = await views.instrument(session, symbol, datetime.now(UTC))
    ticket = typed(form, view, datetime.now(UTC))
    block = "chart" if request.headers.get("hx-target", "").endswith("#chart") else None
    return await _page(request, venue, view, form, ticket, block=block)


@get("/instruments/{symbol:str}/quote")
async def quoted(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[str]:
    """What the ticket would come to as it is being filled in."""
    form = queried(request)
    async with venue.sessions() as session:
        view = await views.instrument(session, symbol, datetime.now(UTC))
        book = await views.book(session, view.id, PRICED_LEVELS)
        view = await _for_member(session, await present_member(request), view)
    ticket = typed(form, view, datetime.now(UTC))
    shown = preview(form, ticket, view, book)
    return page(request, "quote.html", block="quote", view=view, ticket=ticket, preview=shown)


@get("/instruments/{symbol:str}/candles")
async def candles(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[list[tuple[int, int, int, int, int]]]:
    """(start in seconds since the epoch, open, high, low, close) of each candle, oldest first."""
    period = _period(queried(request))
    async with venue.sessions() as session:
        view = await views.instrument(session, symbol, datetime.now(UTC))
        found = await views.candles(session, view.id, period, CANDLES[period])
    rows = [
        (int(each.at.timestamp()), each.open_minor, each.high_minor, each.low_minor, each.close_minor) for each in found
    ]
    return Response(rows, media_type="application/json")


@post("/instruments/{symbol:str}", guards=[requires_member], status_code=200)
async def place(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[Any]:
    """Place the ticket's order. The same form sent twice places one order."""
    member, form = signed_in(request), await read(request)
    async with venue.sessions() as session:
        view = await views.instrument(session, symbol, datetime.now(UTC))
    ticket = typed(form, view, datetime.now(UTC))
    try:
        order = asked(form, ticket, view)
        placed = await _placed(venue, member, order, form.key())
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), FIELDS)
        again = replace(ticket, key=form.same_key(refusal), errors=errors)
        return await _page(request, venue, view, form, again, block="ticket", status=refusal.status)

    if placed.action_url is not None:
        assert isinstance(order, OrderRequest)
        await payments.keep(venue.redis, member, order, form.key())
        return _confirm_at_bank(request, placed.action_url)
    assert placed.answer is not None
    shown = f"ord_{placed.answer.order_id}"
    if not wants_fragment(request):
        return see_other(f"/instruments/{symbol}?side={ticket.side}&placed={shown}")
    empty = Ticket(side=ticket.side, price=ticket.price, line_id=ticket.line_id, expires_at=ticket.expires_at)
    return await _page(request, venue, view, Form({"placed": shown}), empty, block="ticket")


async def _placed(venue: Venue, member: Member, order: OrderRequest | PairRequest, key: str) -> Placed:
    """Place what the ticket asks for; of a pair the answer is that of the order that waits in the book."""
    if isinstance(order, OrderRequest):
        return await trading.place(venue, member, order, key)
    answer = await together.place_pair(venue, member, order, key)
    _, waits = answer.orders
    return Placed(waits)


async def _page(
    request: Page,
    venue: Venue,
    view: InstrumentView,
    form: Form,
    ticket: Ticket,
    *,
    block: str | None = None,
    status: int = 200,
) -> Response[str]:
    member, period, taken = await present_member(request), _period(form), takes(view, datetime.now(UTC))
    async with venue.sessions() as session:
        book = await views.book(session, view.id, PRICED_LEVELS)
        tape = await views.tape(session, view.id, PRINTS)
        drawn = await views.candles(session, view.id, period, CANDLES[period])
        placed = await _just_placed(session, member, form)
        own = await own_orders(session, member, view.id)
        view = await _for_member(session, member, view)
    return page(
        request,
        "instrument.html",
        block=block,
        status=status,
        view=view,
        book=cut(book),
        tape=tape,
        candles=drawn,
        period=period,
        periods=list(CANDLES),
        ticket=ticket,
        preview=preview(_as_form(form, ticket), ticket, view, book),
        placed=placed,
        takes=taken,
        kinds=ORDER_KINDS,
        times=TIMES_IN_FORCE if taken == "all" else WAITING,
        self_trades=SELF_TRADES,
        member=member,
        mine=own,
        wallet=await wallet.balances(venue, member) if member else None,
        lines=await _lines(venue, member, view),
        cards=DEMO_CARDS if not venue.settings.is_production else {},
    )


def cut(book: views.BookView) -> views.BookView:
    """The levels that a page shows."""
    return views.BookView(book.bids[:LEVELS], book.asks[:LEVELS])


async def own_orders(session: AsyncSession, member: Member | None, instrument_id: int) -> list[views.OrderView]:
    """The member's open orders in one instrument."""
    if member is None:
        return []
    found = await views.orders(session, member.party_id, "open", None, views.MOST_ROWS)
    return [order for order in found if order.instrument_id == instrument_id][:OWN_ORDERS]


async def _just_placed(session: AsyncSession, member: Member | None, form: Form) -> views.OrderView | None:
    """The order that the page is shown for, as it stands by now."""
    order_id = number_of(form.text("placed"), "ord")
    if member is None or order_id is None:
        return None
    return await views.order(session, member.party_id, order_id)


async def _for_member(session: AsyncSession, member: Member | None, view: InstrumentView) -> InstrumentView:
    """The instrument with the fee that this member's sale would pay; a stranger sees a subscriber's."""
    terms = await fees.seller_terms(
        session,
        datetime.now(UTC),
        party_kind=member.kind if member else "subscriber",
        carrier=view.carrier,
        symbol=view.symbol,
    )
    if terms is None:
        return view
    return replace(view, fee_basis_points=terms.basis_points, fee_minimum_minor=terms.minimum_minor)


async def _lines(venue: Venue, member: Member | None, view: InstrumentView) -> list[parties.Line]:
    if member is None or view.kind != "data":
        return []
    return [line for line in await parties.lines(venue, member) if line.carrier == view.carrier]


def _confirm_at_bank(request: Page, url: str) -> Response[Any]:
    """Send the buyer to the bank's page; from there the way leads back."""
    if wants_fragment(request):
        return Response("", media_type="text/html", headers={"HX-Redirect": url})
    return see_other(url)


def _as_form(form: Form, ticket: Ticket) -> Form:
    return Form({**form.values, "lots": ticket.lots, "price": ticket.price})


def _period(form: Form) -> str:
    return form.text("period") if form.text("period") in CANDLES else "15m"


routes: list[ControllerRouterHandler] = [show, quoted, candles, place]
