"""A member's orders: how they stand, and the ways to change, renew or cancel them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import queue_place, renewing, trading, views
from market.refusals import NotFound, Refusal
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_, plain
from web.pages.filters import Filter
from web.pages.forms import Form, errors_of, number_of, queried, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other, wants_fragment
from web.pages.words import said

A_PAGE = 20
FIELDS = ("price", "lots")
STATES = (*views.ORDER_STATES, "all")
DONE = {
    "renewed": N_("Your order stands for longer now, in its old place."),
    "again": N_("Your order was placed again."),
    "cancelled": N_("Your orders were cancelled."),
}


@dataclass(frozen=True, kw_only=True)
class Amendment:
    """The change that is being asked for, kept as typed when it was refused."""

    order_id: int
    price: str = ""
    lots: str = ""
    errors: dict[str, str] = field(default_factory=dict)


def _filter(form: Form) -> Filter:
    return Filter.of(form, "/orders", STATES, usual="open")


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What was refused, and the key under which an order of unknown outcome must be sent again."""

    words: str
    order_id: int = 0
    key: str = ""


@get("/orders", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, _filter(queried(request)), done=queried(request).text("done"))


@get("/orders/cancel-all", guards=[requires_member])
async def ask_to_cancel_all(request: Page, venue: Venue) -> Response[str]:
    """Show what a mass cancel would end, and ask."""
    form, member = queried(request), signed_in(request)
    chosen = _filter(form)
    async with venue.reads() as session:
        found = await views.orders(
            session, member.party_id, "open", None, views.MOST_ROWS, side=chosen.side, symbol=chosen.symbol or None
        )
    return page(request, "orders_cancel.html", orders=found, shown=A_PAGE, chosen=chosen, key=new_key())


@post("/orders/cancel-all", guards=[requires_member], status_code=200)
async def cancel_all(request: Page, venue: Venue) -> Response[Any]:
    """Cancel every open order, or those of one market or one side. Sent twice, it cancels the same ones."""
    form = await read(request)
    side: Any = form.text("side") if form.text("side") in views.SIDES else None
    try:
        await trading.mass_cancel(venue, signed_in(request), form.key(), symbol=form.text("symbol") or None, side=side)
    except Refusal as refusal:
        return await _refused(request, venue, refusal)
    return _on(request, "/orders?done=cancelled")


@post("/orders/{name:str}/cancel", guards=[requires_member], status_code=200)
async def cancel(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    form = await read(request)
    try:
        await trading.cancel(venue, signed_in(request), _id(name), form.key(), form.optional_id("version"))
    except Refusal as refusal:
        return await _refused(request, venue, refusal)
    return await _done(request, venue, form)


@post("/orders/{name:str}/renew", guards=[requires_member], status_code=200)
async def renew(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    """Let an order stand for another day, or place again what an ended one left."""
    form, order_id = await read(request), _id(name)
    try:
        placed = await renewing.renew(venue, signed_in(request), order_id, form.key(), form.optional_id("version"))
    except Refusal as refusal:
        return await _refused(request, venue, refusal, order_id=order_id, key=form.same_key(refusal))
    if placed.action_url is not None:
        return _on(request, placed.action_url)
    own = placed.answer is not None and placed.answer.order_id == order_id
    return _on(request, "/orders?done=" + ("renewed" if own else "again"))


@post("/orders/{name:str}/amend", guards=[requires_member], status_code=200)
async def amend(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    """Give an order another price or quantity; what is refused stays as it was typed."""
    member, form, order_id = signed_in(request), await read(request), _id(name)
    try:
        async with venue.reads() as session:
            order = await views.order(session, member.party_id, order_id)
        price = form.amount("price", order.currency, N_("Please enter a price."))
        lots = form.whole("lots", N_("Please enter how many lots."))
        version = form.optional_id("version")
        await trading.amend(venue, member, order_id, price_minor=price, lots=lots, key=form.key(), version=version)
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), FIELDS)
        typed = Amendment(order_id=order_id, price=form.text("price"), lots=form.text("lots"), errors=errors)
        return await _page(request, venue, _filter(form), status=refusal.status, amending=typed)
    return await _done(request, venue, form)


async def _page(
    request: Page,
    venue: Venue,
    chosen: Filter,
    *,
    status: int = 200,
    amending: Amendment | None = None,
    trouble: Trouble | None = None,
    done: str = "",
) -> Response[str]:
    member, now = signed_in(request), datetime.now(UTC)
    async with venue.reads() as session:
        found = await views.orders(
            session,
            member.party_id,
            None if chosen.state == "all" else chosen.state,
            number_of(chosen.before, "ord"),
            A_PAGE + 1,
            side=chosen.side,
            symbol=chosen.symbol or None,
        )
        shown = found[:A_PAGE]
        places = await queue_place.of(session, [order.id for order in shown if order.state == "open"])
        markets = await views.own_instruments(session, member.party_id)
    return page(
        request,
        "orders.html",
        block="list",
        status=status,
        orders=shown,
        queue=places,
        markets=markets,
        older=chosen.url(before=f"ord_{shown[-1].id}") if len(found) > A_PAGE else None,
        chosen=chosen,
        states=["open", "filled", "cancelled", "all"],
        renewable={order.id for order in shown if renewing.can_be_renewed(order, now)},
        ending={order.id for order in shown if renewing.is_ending(order, now)},
        amending=amending,
        trouble=trouble,
        done=DONE.get(done, ""),
        plain=plain,
    )


async def _done(request: Page, venue: Venue, form: Form) -> Response[Any]:
    """Show the list as it stands now, by the same choice as before."""
    chosen = _filter(form)
    return await _page(request, venue, chosen) if wants_fragment(request) else see_other(chosen.url())


def _on(request: Page, url: str) -> Response[Any]:
    if wants_fragment(request):
        return Response("", media_type="text/html", headers={"HX-Redirect": url})
    return see_other(url)


async def _refused(request: Page, venue: Venue, refusal: Refusal, *, order_id: int = 0, key: str = "") -> Response[Any]:
    """Say why on the page itself; with script it is a note over whatever page the button stands on."""
    if wants_fragment(request):
        raise refusal
    trouble = Trouble(words=said(refusal, locale_of(request)), order_id=order_id, key=key)
    chosen = Filter(path="/orders", state="all" if order_id else "open")
    return await _page(request, venue, chosen, status=refusal.status, trouble=trouble)


def _id(name: str) -> int:
    found = number_of(name, "ord")
    if found is None:
        raise NotFound("You have no such order.")
    return found


routes: list[ControllerRouterHandler] = [index, ask_to_cancel_all, cancel_all, cancel, renew, amend]
