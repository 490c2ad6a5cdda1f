"""Topping up on the phone bill: asked for, confirmed, let go, and taken off the bill again."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import phone_bill
from market.parties import Member
from market.phone_bill import BillPayment
from market.refusals import BadInput, Refusal
from web.edge.paths import Number
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import Form, errors_of, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other

Act = Callable[[Venue, Member, int], Awaitable[BillPayment]]
HERE = "/wallet/phone-bill"


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue)


@post(HERE, guards=[requires_member], status_code=200)
async def top_up(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        amount = form.amount("amount", venue.settings.currency, N_("Please enter an amount."))
        line_id = form.optional_id("line")
        if line_id is None:
            raise BadInput("Choose a line.", field="line")
        await phone_bill.top_up(venue, signed_in(request), line_id, amount, form.key())
    except Refusal as refusal:
        return await _page(request, venue, refusal=refusal, form=form)
    return see_other(HERE)


@post(HERE + "/{payment_id:int}/confirm", guards=[requires_member], status_code=200)
async def confirm(request: Page, venue: Venue, payment_id: Number) -> Response[Any]:
    return await _act(request, venue, payment_id, phone_bill.confirm)


@post(HERE + "/{payment_id:int}/cancel", guards=[requires_member], status_code=200)
async def cancel(request: Page, venue: Venue, payment_id: Number) -> Response[Any]:
    return await _act(request, venue, payment_id, phone_bill.cancel)


@post(HERE + "/{payment_id:int}/refund", guards=[requires_member], status_code=200)
async def refund(request: Page, venue: Venue, payment_id: Number) -> Response[Any]:
    return await _act(request, venue, payment_id, phone_bill.refund)


async def _act(request: Page, venue: Venue, payment_id: int, act: Act) -> Response[Any]:
    try:
        await act(venue, signed_in(request), payment_id)
    except Refusal as refusal:
        return await _page(request, venue, refusal=refusal)
    return see_other(HERE)


async def _page(
    request: Page, venue: Venue, *, refusal: Refusal | None = None, form: Form | None = None
) -> Response[str]:
    member = signed_in(request)
    async with venue.reads() as session:
        payments = await phone_bill.payments(session, member)
    return page(
        request,
        "phone_bill.html",
        status=refusal.status if refusal else 200,
        lines=await phone_bill.payable_lines(venue, member),
        payments=payments,
        key=new_key(),
        amount=form.text("amount") if form else "",
        errors=errors_of(refusal, locale_of(request), ("amount", "line")) if refusal else {},
        currency=venue.settings.currency,
    )


routes: list[ControllerRouterHandler] = [index, top_up, confirm, cancel, refund]
