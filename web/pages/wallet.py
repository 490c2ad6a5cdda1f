"""A member's wallet: balances, top-ups, withdrawals, and what moved last."""

from dataclasses import dataclass, field
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import refunds, saved_cards, top_ups, views, wallet, withdrawals
from market.refusals import Refusal
from settlement import part_refunds
from web.edge.sessions import requires_member, signed_in
from web.edge.typed import SENT_TO
from web.edge.venue import Venue
from web.i18n import N_
from web.pages import cards
from web.pages.forms import Form, errors_of, number_of, queried, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other, wants_fragment

A_PAGE = 25
MOVES = 5
REFUNDABLE = 10


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One of the forms as it was typed, with its key and what was wrong."""

    amount: str = ""
    payment_method: str = ""
    key: str = field(default_factory=new_key)
    payment_id: int = 0
    """The top-up that a refund is about."""
    errors: dict[str, str] = field(default_factory=dict)


@get("/wallet", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue)


@post("/wallet/top-up", guards=[requires_member], status_code=200)
async def top_up(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        amount = form.amount("amount", venue.settings.currency, N_("Please enter an amount."))
        made = await top_ups.top_up(venue, signed_in(request), amount, form.text("payment_method"), form.key())
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, topping=_again(request, form, refusal))
    return _on(request, made.action_url or "/wallet?topped=" + made.status)


@post("/wallet/withdraw", guards=[requires_member], status_code=200)
async def withdraw(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        amount = form.amount("amount", venue.settings.currency, N_("Please enter an amount."))
        made = await withdrawals.withdraw(venue, signed_in(request), amount, form.key())
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, drawing=_again(request, form, refusal))
    return _on(request, made.onboarding_url or "/wallet?drawn=" + made.status)


@post("/wallet/refunds", guards=[requires_member], status_code=200)
async def refund(request: Page, venue: Venue) -> Response[Any]:
    """Send a part of a top-up back to its card."""
    form = await read(request)
    payment_id = form.optional_id("payment") or 0
    try:
        amount = form.amount("amount", venue.settings.currency, N_("Please enter an amount."))
        await refunds.refund_part(venue, signed_in(request), payment_id, amount, form.key())
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, refunding=_again(request, form, refusal))
    return _on(request, "/wallet?refunded=yes")


async def _page(
    request: Page,
    venue: Venue,
    *,
    status: int = 200,
    topping: Entry | None = None,
    drawing: Entry | None = None,
    refunding: Entry | None = None,
) -> Response[str]:
    member, form = signed_in(request), queried(request)
    before = number_of(form.text("before"), "entry")
    async with venue.reads() as session:
        entries = await wallet.statement(session, member, before, A_PAGE + 1)
        moves = await views.money_moves(session, member.party_id, MOVES)
        refundable = await part_refunds.refundable(session, member.party_id, REFUNDABLE)
        saved = {each.id: cards.label(each) for each in await saved_cards.cards(session, member)}
    return page(
        request,
        "wallet.html",
        block="content",
        status=status,
        wallet=await wallet.balances(venue, member),
        entries=entries[:A_PAGE],
        more=len(entries) > A_PAGE,
        moves=moves,
        topping=topping or Entry(),
        drawing=drawing or Entry(amount=form.text("amount") if form.text(SENT_TO) == "/wallet/withdraw" else ""),
        refunding=refunding or Entry(),
        refundable=refundable,
        topped=form.text("topped"),
        drawn=form.text("drawn"),
        refunded=form.text("refunded"),
        cards=await cards.payable(venue, member),
        saved=saved,
        card=form.text("card"),
        is_demo=not venue.settings.is_production,
    )


def _again(request: Page, form: Form, refusal: Refusal) -> Entry:
    return Entry(
        amount=form.text("amount"),
        payment_method=form.text("payment_method"),
        key=form.same_key(refusal),
        payment_id=form.optional_id("payment") or 0,
        errors=errors_of(refusal, locale_of(request), ("amount", "payment_method")),
    )


def _on(request: Page, url: str) -> Response[Any]:
    if wants_fragment(request):
        return Response("", media_type="text/html", headers={"HX-Redirect": url})
    return see_other(url)


routes: list[ControllerRouterHandler] = [index, top_up, withdraw, refund]
