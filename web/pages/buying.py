"""Buying some data in two taps: an amount, then the price that is shown for it beside the carrier's own."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import buying_easily, parties, top_ups, trading, views, wallet
from market.buying_easily import AMOUNTS_MB, GOOD_FOR, Offer
from market.parties import Line, Member
from market.refusals import BadInput, NotAllowed, Refusal
from market.trading import OrderRequest
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages import cards, payments, way_back
from web.pages.forms import Form, errors_of, queried, read
from web.pages.market import listing
from web.pages.rendering import Page, locale_of, new_key, page, see_other

LEVELS = 100
MOST_MARKETS = 2
"""This month's data and the next one's."""
SMALLEST_MB, LARGEST_MB = 100, 100_000
FIELDS = ("amount", "payment_method")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the card shows beside the offer: why it is shown again, and what was wrong."""

    key: str = field(default_factory=new_key)
    changed: bool = False
    payment: str = "wallet"
    payment_method: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@get("/buy", guards=[requires_member])
async def offered(request: Page, venue: Venue) -> Response[str]:
    """The first tap: what an amount costs now."""
    return await _page(request, venue, signed_in(request), queried(request))


@post("/buy", guards=[requires_member], status_code=200)
async def buy(request: Page, venue: Venue) -> Response[Any]:
    """The second tap. Bought is what was shown, at no more than was shown; else the buyer is asked again."""
    member, form = signed_in(request), await read(request)
    try:
        async with venue.reads() as session:
            done = await trading.outcome(session, member, form.key())
        order = _order(form)
        if done is None and not await _is_still(request, venue, form, order):
            return await _page(request, venue, member, form, Shown(changed=True), status=409)
        placed = await trading.place(venue, member, order, form.key())
    except Refusal as refusal:
        return await _page(request, venue, member, form, _again(request, form, refusal), status=refusal.status)
    if placed.action_url is not None:
        await payments.keep(venue.redis, member, order, form.key())
        return see_other(placed.action_url)
    assert placed.answer is not None
    return see_other(f"/?bought=ord_{placed.answer.order_id}")


@post("/buy/top-up", guards=[requires_member], status_code=200)
async def top_up(request: Page, venue: Venue) -> Response[Any]:
    """Fill the wallet with what is missing, and come back to the offer."""
    member, form = signed_in(request), await read(request)
    try:
        amount = form.amount("amount", venue.settings.currency, N_("Please enter an amount."))
        made = await top_ups.top_up(venue, member, amount, form.text("payment_method"), form.key())
    except Refusal as refusal:
        return await _page(request, venue, member, form, _again(request, form, refusal), status=refusal.status)
    back = f"/buy?mb={_amount_mb(form)}&line_id={form.optional_id('line_id') or ''}"
    if made.action_url is None:
        return see_other(back)
    await way_back.keep(venue.redis, member, made.id, back)
    return see_other(made.action_url)


def _order(form: Form) -> OrderRequest:
    by_card = form.text("payment") == "card"
    if by_card and not form.text("payment_method"):
        raise BadInput("Please choose a card.", field="payment_method")
    return OrderRequest(
        symbol=form.text("symbol"),
        side="buy",
        lots=form.whole("lots", N_("Please enter how many lots.")),
        price_minor=form.whole("limit_minor", N_("Please enter a price.")),
        time_in_force="ioc",
        line_id=form.optional_id("line_id"),
        payment="card" if by_card else "wallet",
        payment_method=form.text("payment_method") if by_card else None,
    )


async def _is_still(request: Page, venue: Venue, form: Form, order: OrderRequest) -> bool:
    """Whether the market still offers what the form was made for."""
    now = datetime.now(UTC)
    total = form.whole("total_minor", N_("Please enter a price."))
    until = datetime.fromtimestamp(form.whole("until", N_("Please enter a time.")), UTC)
    view = next((each for each in await listing(request).read(venue) if each.symbol == order.symbol), None)
    if view is None or order.price_minor is None or order.price_minor > view.ceiling_minor:
        return False
    async with venue.reads() as session:
        book = await views.book(session, view.id, LEVELS)
        own = await buying_easily.own_asks(session, view, signed_in(request).group_id)
    found = buying_easily.offer(view, book, order.lots * view.lot_units, own)
    return (
        found is not None and not found.is_short and buying_easily.is_still(total, order.price_minor, until, found, now)
    )


def _again(request: Page, form: Form, refusal: Refusal) -> Shown:
    return Shown(
        key=form.same_key(refusal),
        payment=form.text("payment") or "wallet",
        payment_method=form.text("payment_method"),
        errors=errors_of(refusal, locale_of(request), FIELDS),
    )


def _amount_mb(form: Form) -> int:
    text = form.text("mb")
    amount = int(text) if text.isascii() and text.isdigit() and len(text) < len(str(LARGEST_MB)) + 1 else 0
    return amount if SMALLEST_MB <= amount <= LARGEST_MB else AMOUNTS_MB[1]


async def _page(
    request: Page, venue: Venue, member: Member, form: Form, shown: Shown | None = None, *, status: int = 200
) -> Response[str]:
    now, amount_mb = datetime.now(UTC), _amount_mb(form)
    own = await parties.lines(venue, member)
    line = _line(own, form.optional_id("line_id"))
    return page(
        request,
        "buy.html",
        block="card",
        status=status,
        lines=own,
        line_id=line.id,
        amount_mb=amount_mb,
        offer=await _offer(request, venue, line, amount_mb, now),
        shown=shown or Shown(),
        until=int((now + GOOD_FOR).timestamp()),
        wallet=await wallet.balances(venue, member),
        smallest_minor=top_ups.SMALLEST_TOP_UP_MINOR,
        cards=await cards.payable(venue, member),
    )


def _line(own: list[Line], line_id: int | None) -> Line:
    """The line that was named, or the member's first.

    Raises:
        NotAllowed: the member has none.
    """
    if not own:
        raise NotAllowed("You have no line that could receive data.", code="no_line")
    return next((each for each in own if each.id == line_id), own[0])


async def _offer(request: Page, venue: Venue, line: Line, amount_mb: int, now: datetime) -> Offer | None:
    fitting = buying_easily.market_for(line.carrier, await listing(request).read(venue), now)
    group_id = signed_in(request).group_id
    async with venue.reads() as session:
        books = [
            (view, await views.book(session, view.id, LEVELS), await buying_easily.own_asks(session, view, group_id))
            for view in fitting[:MOST_MARKETS]
        ]
    return buying_easily.best([buying_easily.offer(view, book, amount_mb, own) for view, book, own in books])


routes: list[ControllerRouterHandler] = [offered, buy, top_up]
