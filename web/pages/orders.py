"""A member's orders: how they stand, and the ways to change or cancel them."""

from dataclasses import dataclass, field
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncSession

from market import queue_place, trading, views
from market.parties import Member
from market.refusals import NotFound, Refusal
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_, plain
from web.pages.forms import Form, errors_of, number_of, queried, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other, wants_fragment
from web.pages.words import said

A_PAGE = 20
FIELDS = ("price", "lots")


@dataclass(frozen=True, kw_only=True)
class Amendment:
    """The change that is being asked for, kept as typed when it was refused."""

    order_id: int
    price: str = ""
    lots: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@get("/orders", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, queried(request))


@post("/orders/cancel-all", guards=[requires_member], status_code=200)
async def cancel_all(request: Page, venue: Venue) -> Response[Any]:
    """Cancel every open order, or those of one market or one side. Sent twice, it cancels the same ones."""
    form = await read(request)
    side: Any = form.text("side") if form.text("side") in {"buy", "sell"} else None
    try:
        await trading.mass_cancel(venue, signed_in(request), form.key(), symbol=form.text("symbol") or None, side=side)
    except Refusal as refusal:
        return await _refused(request, venue, refusal)
    return await _done(request, venue, form)


@post("/orders/{name:str}/cancel", guards=[requires_member], status_code=200)
async def cancel(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    form = await read(request)
    try:
        await trading.cancel(venue, signed_in(request), _id(name), form.key(), form.optional_id("version"))
    except Refusal as refusal:
        return await _refused(request, venue, refusal)
    return await _done(request, venue, form)


@post("/orders/{name:str}/amend", guards=[requires_member], status_code=200)
async def amend(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    """Give an order another price or quantity; what is refused stays as it was typed."""
    member, form, order_id = signed_in(request), await read(request), _id(name)
    try:
        async with venue.sessions() as session:
            order = await views.order(session, member.party_id, order_id)
        price = form.amount("price", order.currency, N_("Please enter a price."))
        lots = form.whole("lots", N_("Please enter how many lots."))
        version = form.optional_id("version")
        await trading.amend(venue, member, order_id, price_minor=price, lots=lots, key=form.key(), version=version)
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), FIELDS)
        typed = Amendment(order_id=order_id, price=form.text("price"), lots=form.text("lots"), errors=errors)
        return await _page(request, venue, queried(request), status=refusal.status, amending=typed)
    return await _done(request, venue, form)


async def _page(
    request: Page,
    venue: Venue,
    form: Form,
    *,
    status: int = 200,
    amending: Amendment | None = None,
    problem: str | None = None,
) -> Response[str]:
    state = form.text("state") if form.text("state") in {*views.ORDER_STATES, "all"} else "open"
    member = signed_in(request)
    async with venue.sessions() as session:
        found = await _orders(session, member, state, number_of(form.text("before"), "ord"))
        shown = found[:A_PAGE]
        places = await queue_place.of(session, [order.id for order in shown if order.state == "open"])
        markets = await views.own_instruments(session, member.party_id) if state == "open" else []
    return page(
        request,
        "orders.html",
        block="list",
        status=status,
        orders=shown,
        places=places,
        markets=markets,
        older=f"ord_{shown[-1].id}" if len(found) > A_PAGE else None,
        state=state,
        before=form.text("before"),
        states=["open", "filled", "cancelled", "all"],
        amending=amending,
        problem=problem,
        plain=plain,
        key=new_key(),
    )


async def _orders(session: AsyncSession, member: Member, state: str, before: int | None) -> list[views.OrderView]:
    return await views.orders(session, member.party_id, None if state == "all" else state, before, A_PAGE + 1)


async def _done(request: Page, venue: Venue, form: Form) -> Response[Any]:
    """Show the list as it stands now."""
    return await _page(request, venue, form) if wants_fragment(request) else see_other("/orders")


async def _refused(request: Page, venue: Venue, refusal: Refusal) -> Response[Any]:
    """Say why on the page itself; with script it is a note over whatever page the button stands on."""
    if wants_fragment(request):
        raise refusal
    words = said(refusal, locale_of(request))
    return await _page(request, venue, Form({}), status=refusal.status, problem=words)


def _id(name: str) -> int:
    found = number_of(name, "ord")
    if found is None:
        raise NotFound("You have no such order.")
    return found


routes: list[ControllerRouterHandler] = [index, cancel_all, cancel, amend]
