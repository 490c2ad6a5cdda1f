"""The ticket as it is sent: an order is placed, or a button fills the ticket in."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from litestar import Response, post
from litestar.datastructures import Cookie
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import destinies, parties, together, trading, views, wallet
from market.destinies import Chosen
from market.line_rooms import rooms
from market.parties import Member
from market.refusals import BadInput, Refusal, Unavailable
from market.selling_spare import is_of, most_lots
from market.trading import OrderRequest, Placed
from market.usage_days import kind_of
from market.views import InstrumentView
from web.edge.sessions import is_secure, requires_member, signed_in
from web.edge.venue import Venue
from web.pages import payments
from web.pages.forms import Form, errors_of, read
from web.pages.instrument import MODE_COOKIE, instrument_page
from web.pages.rendering import Page, locale_of, see_other, wants_fragment
from web.pages.ticket_amounts import SHARES, amount_of, share
from web.pages.tickets import FIELDS, MODES, Ticket, asked, typed

A_YEAR_SECONDS = 365 * 86_400
BUTTONS = ("switch", "share", "chip")
"""They fill the ticket in and place nothing."""
SIMPLE = frozenset(
    {"key", "switch", "share", "chip", "side", "lots", "amount", "price", "line_id", "payment", *destinies.FIELDS}
)
"""What stays of a pro ticket when it is made a simple one."""


@post("/instruments/{symbol:str}", guards=[requires_member], status_code=200)
async def place(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[Any]:
    """Place the ticket's order, or fill the ticket in by one of its buttons. Sent twice it places one order."""
    member, form, now = signed_in(request), await read(request), datetime.now(UTC)
    async with venue.reads() as session:
        view = await views.instrument(session, symbol, now)
    form = _narrowed(form)
    ticket = typed(form, view, now, _mode(form))
    if any(form.text(button) for button in BUTTONS):
        return await _filled_in(request, venue, view, form, ticket)
    try:
        chosen = await destinies.choose(venue, member, asked(form, ticket, view), form.values)
        placed = await _placed(venue, member, chosen, form.key())
    except Refusal as refusal:
        errors = _beside(errors_of(refusal, locale_of(request), FIELDS), ticket)
        again = replace(ticket, key=form.same_key(refusal), errors=errors)
        return await instrument_page(request, venue, view, form, again, block="ticket", status=refusal.status)

    if placed.action_url is not None:
        assert isinstance(chosen.request, OrderRequest)
        await payments.keep(venue.redis, member, chosen.request, form.key())
        return _confirm_at_bank(request, placed.action_url)
    assert placed.answer is not None
    shown = f"ord_{placed.answer.order_id}"
    if not wants_fragment(request):
        return see_other(f"/instruments/{symbol}?side={ticket.side}&placed={shown}")
    empty = Ticket(
        mode=ticket.mode, side=ticket.side, price=ticket.price, line_id=ticket.line_id, expires_at=ticket.expires_at
    )
    return await instrument_page(request, venue, view, Form({"placed": shown}), empty, block="ticket")


async def _placed(venue: Venue, member: Member, chosen: Chosen, key: str) -> Placed:
    """Place what the ticket asks for; of a pair the answer is that of the order that waits in the book."""
    if isinstance(chosen.request, OrderRequest):
        placed = await trading.place(venue, member, chosen.request, key)
        if placed.answer is not None and placed.answer.order_id is not None:
            await destinies.attach(venue, member, placed.answer.order_id, chosen)
        return placed
    answer = await together.place_pair(venue, member, chosen.request, key)
    _, waits = answer.orders
    return Placed(waits)


async def _filled_in(request: Page, venue: Venue, view: InstrumentView, form: Form, ticket: Ticket) -> Response[str]:
    """The ticket with the amount of a button, or in its other form. Nothing is placed, so its key stays."""
    errors: dict[str, str] = {}
    try:
        if form.text("share"):
            ticket = _with_lots(ticket, view, await _share(venue, signed_in(request), view, form, ticket))
        elif form.text("chip"):
            ticket = _with_lots(ticket, view, min(form.whole("chip", "-"), view.maximum_lots))
    except Refusal as refusal:
        errors = _beside(errors_of(refusal, locale_of(request), FIELDS), ticket)
    ticket = replace(ticket, key=form.key(), errors=errors)
    response = await instrument_page(request, venue, view, form, ticket, block="ticket")
    if form.text("switch") in MODES:
        response.set_cookie(
            Cookie(
                key=MODE_COOKIE,
                value=form.text("switch"),
                max_age=A_YEAR_SECONDS,
                path="/",
                secure=is_secure(venue.settings),
                httponly=True,
                samesite="lax",
            )
        )
    return response


async def _share(venue: Venue, member: Member, view: InstrumentView, form: Form, ticket: Ticket) -> int:
    """Lots that are so many percent of the wallet, or of the data or coins that can be sold.

    Raises:
        BadInput: there is too little for one lot, or no price to count with.
    """
    percent = form.whole("share", "-")
    if percent not in SHARES:
        raise BadInput("Please choose one of the shares.", field="lots")
    held = await wallet.balances(venue, member)
    if not ticket.is_sale:
        each = (
            view.ceiling_minor if ticket.has_no_price else form.amount("price", view.currency, "Please enter a price.")
        )
        there = held.available_minor // each
    elif view.kind == "coin":
        there = held.coins_available // view.lot_units
    else:
        there = await _spare_lots(venue, member, view, ticket.line_id)
    lots = share(percent, there_lots=there, maximum_lots=view.maximum_lots)
    if not lots:
        raise BadInput("That is less than one lot.", field="lots")
    return lots


async def _spare_lots(venue: Venue, member: Member, view: InstrumentView, line_id: int | None) -> int:
    """How many lots of an instrument a line can part with, as its carrier tells now: the one that is named, or any.

    Raises:
        Unavailable: the carrier does not answer.
    """
    found = [
        (line, bucket)
        for line, bucket in await parties.buckets(venue, member)
        if line.carrier == view.carrier and line_id in {None, line.id}
    ]
    if found and all(bucket is None for _, bucket in found):
        raise Unavailable("Your carrier does not answer just now. Enter an amount, or try again in a moment.")
    async with venue.reads() as session:
        known = await rooms(session, {line.id: line.carrier for line, _ in found}, datetime.now(UTC))
    fitting = [
        most_lots(view, line, bucket.remaining_mb, known[line.id])
        for line, bucket in found
        if bucket is not None and bucket.transferable and is_of(view, line.carrier, kind_of(bucket))
        if line.id in known
    ]
    return max(fitting, default=0)


def _with_lots(ticket: Ticket, view: InstrumentView, lots: int) -> Ticket:
    return replace(ticket, lots=str(lots), amount=amount_of(lots, view))


def _beside(errors: dict[str, str], ticket: Ticket) -> dict[str, str]:
    """What the market says of lots is about the simple ticket's amount."""
    if ticket.is_simple and "lots" in errors:
        return {**errors, "amount": errors["lots"]}
    return errors


def _mode(form: Form) -> str:
    """The ticket that was sent, or the one that is asked for."""
    if form.text("switch") in MODES:
        return form.text("switch")
    return "pro" if "lots" in form.values else "simple"


def _narrowed(form: Form) -> Form:
    """A pro ticket that becomes a simple one leaves its other choices behind."""
    if form.text("switch") != "simple":
        return form
    return Form({name: text for name, text in form.values.items() if name in SIMPLE})


def _confirm_at_bank(request: Page, url: str) -> Response[Any]:
    """Send the buyer to the bank's page; from there the way leads back."""
    if wants_fragment(request):
        return Response("", media_type="text/html", headers={"HX-Redirect": url})
    return see_other(url)


routes: list[ControllerRouterHandler] = [place]
