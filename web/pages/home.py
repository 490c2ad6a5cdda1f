"""The first page: what is left, what will be left, and selling the spare of it in one tap."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from market import autopilot, carrier_charges, fees, parties, selling_spare, trading, usage, views, wallet
from market.forecast import told_mb
from market.line_rooms import rooms
from market.parties import Member
from market.refusals import Conflict, NotFound, Refusal
from market.selling_spare import Desk, Shelf
from market.trading import OrderRequest
from market.usage import Seen
from market.views import InstrumentView
from web.edge.sessions import present_member, requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import number_of, queried, read
from web.pages.market import by_carrier, listing
from web.pages.rendering import Page, locale_of, new_key, page, see_other
from web.pages.words import said

PATIENCE_SECONDS = 4.0
"""How long the page's data part waits for a carrier; the page itself never does."""
SHOWN_TO_STRANGERS = 3
"""Instruments of each carrier."""


@dataclass(frozen=True, slots=True)
class OneLine:
    """A line as the page shows it; without shelves its carrier did not answer in time."""

    seen: Seen
    shelves: list[Shelf]

    @property
    def is_silent(self) -> bool:
        return self.seen.buckets is None


@get("/")
async def home(request: Page, venue: Venue) -> Response[str]:
    member = await present_member(request)
    if member is None:
        rows = await listing(request).rows(venue)
        groups = {code: found[:SHOWN_TO_STRANGERS] for code, found in by_carrier(rows).items()}
        return page(request, "landing.html", block="markets", groups=groups)
    return await _page(request, venue, member)


@get("/data", guards=[requires_member])
async def data(request: Page, venue: Venue) -> Response[str]:
    """What is left on the member's lines, asked of the carriers now."""
    member, now = signed_in(request), datetime.now(UTC)
    seen = await usage.look(venue, member, now, patience_seconds=PATIENCE_SECONDS)
    instruments = await listing(request).read(venue)
    async with venue.reads() as session:
        left = await rooms(session, {each.line.id: each.line.carrier for each in seen}, now)
        own = await _with_own_fees(session, instruments, member, now)
    lines = [OneLine(each, selling_spare.shelves(each, Desk(own, left.get(each.line.id), now))) for each in seen]
    return page(
        request,
        "data.html",
        block="buckets",
        lines=lines,
        nothing=not any(one.shelves or one.is_silent for one in lines),
        key=new_key(),
        per_gb=selling_spare.per_gb,
        days_left=selling_spare.days_left,
        about=told_mb,
    )


@post("/sell-spare", guards=[requires_member], status_code=200)
async def sell_spare(request: Page, venue: Venue) -> Response[Any]:
    """Put what was suggested on sale. Sent twice, it is put on sale once."""
    member, form = signed_in(request), await read(request)
    try:
        order = OrderRequest(
            symbol=form.text("symbol"),
            side="sell",
            lots=form.whole("lots", N_("Please enter how many lots.")),
            price_minor=form.whole("price_minor", N_("Please enter a price.")),
            line_id=form.optional_id("line_id"),
        )
        placed = await trading.place(venue, member, order, form.key())
    except Refusal as refusal:
        words = said(refusal, locale_of(request))
        return await _page(request, venue, member, problem=words, status=refusal.status)
    assert placed.answer is not None
    return see_other(f"/?sold=ord_{placed.answer.order_id}")


@post("/sell-spare/undo", guards=[requires_member], status_code=200)
async def undo(request: Page, venue: Venue) -> Response[Any]:
    """Take a sale back: what was not traded meanwhile is cancelled, and the page says what was."""
    member, form = signed_in(request), await read(request)
    order_id = number_of(form.text("order"), "ord")
    if order_id is None:
        raise NotFound("You have no such order.")
    try:
        await trading.cancel(venue, member, order_id, form.key())
    except Conflict:
        pass  # it has ended already: the page tells how
    except Refusal as refusal:
        words = said(refusal, locale_of(request))
        return await _page(request, venue, member, problem=words, status=refusal.status)
    return see_other(f"/?undone=ord_{order_id}")


async def _page(
    request: Page, venue: Venue, member: Member, *, problem: str | None = None, status: int = 200
) -> Response[str]:
    form = queried(request)
    async with venue.reads() as session:
        told = {
            what: await _order(session, member, number_of(form.text(what), "ord"))
            for what in ("sold", "undone", "bought")
            if form.text(what)
        }
        flown = await autopilot.settings_of(session, member)
    return page(
        request,
        "home.html",
        status=status,
        wallet=await wallet.balances(venue, member),
        lines=await parties.lines(venue, member),
        told={what: order for what, order in told.items() if order is not None},
        flown=flown,
        problem=problem,
        key=new_key(),
        offer=None,
        amount_mb=None,
        line_id=None,
    )


async def _order(session: AsyncSession, member: Member, order_id: int | None) -> views.OrderView | None:
    return None if order_id is None else await views.order(session, member.party_id, order_id)


async def _with_own_fees(
    session: AsyncSession, instruments: list[InstrumentView], member: Member, now: datetime
) -> list[InstrumentView]:
    """The instruments with the fee that this member's sales would pay."""
    known = await fees.in_force(session, now)
    charges = await carrier_charges.all_in_force(session, now)
    seller = fees.Seller(member.kind, member.fee_group)
    own = []
    for one in instruments:
        each = replace(one, charges=charges.get(one.carrier or ""))
        terms = fees.terms_in_force(known, now, seller, carrier=each.carrier, symbol=each.symbol)
        own.append(
            each
            if terms is None
            else replace(each, fee_basis_points=terms.basis_points, fee_minimum_minor=terms.minimum_minor)
        )
    return own


routes: list[ControllerRouterHandler] = [home, data, sell_spare, undo]
