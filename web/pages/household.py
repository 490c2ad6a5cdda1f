"""The household: who belongs to it, asking somebody in and answering, limits of lines, and buying for one."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import household_invitations, household_views, households, views, wallet
from market.refusals import NotFound, Refusal
from market.trading import OrderRequest, place
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import Form, errors_of, queried, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other

HERE = "/household"
FIELDS = ("phone", "monthly_mb", "monthly_amount", "lots", "symbol")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One form as it was typed. ``line_id`` says which line's it is, for the forms that each line has."""

    phone: str = ""
    line_id: int | None = None
    monthly_mb: str = ""
    monthly_amount: str = ""
    symbol: str = ""
    lots: str = ""
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, done=queried(request).text("done"))


@post("/household/invitations", guards=[requires_member], status_code=200)
async def invite(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        await household_invitations.invite(venue, signed_in(request), form.text("phone"), datetime.now(UTC))
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, inviting=_again(request, form, refusal))
    return see_other(f"{HERE}?done=invited")


@post("/household/invitations/{invitation_id:int}/{answer:str}", guards=[requires_member], status_code=200)
async def answer_invitation(
    request: Page, venue: Venue, invitation_id: FromPath[int], answer: FromPath[str]
) -> Response[Any]:
    """Accept, decline, or take back."""
    answers = {
        "accept": household_invitations.accept,
        "decline": household_invitations.decline,
        "withdraw": household_invitations.withdraw,
    }
    if answer not in answers:
        raise NotFound("There is no such page.")
    try:
        await answers[answer](venue, signed_in(request), invitation_id, datetime.now(UTC))
    except Refusal as refusal:
        form = await read(request)
        return await _page(request, venue, status=refusal.status, answering=_again(request, form, refusal))
    return see_other(f"{HERE}?done={answer}")


@post("/household/leave", guards=[requires_member], status_code=200)
async def leave(request: Page, venue: Venue) -> Response[Any]:
    await households.leave(venue, signed_in(request))
    return see_other(f"{HERE}?done=left")


@post("/household/members/{party_id:int}/remove", guards=[requires_member], status_code=200)
async def remove(request: Page, venue: Venue, party_id: FromPath[int]) -> Response[Any]:
    await households.remove(venue, signed_in(request), party_id)
    return see_other(f"{HERE}?done=removed")


@post("/household/lines/{line_id:int}/limit", guards=[requires_member], status_code=200)
async def limit(request: Page, venue: Venue, line_id: FromPath[int]) -> Response[Any]:
    """Empty fields lift the limit."""
    form, currency = await read(request), venue.settings.currency
    try:
        mb = form.whole("monthly_mb", "") if form.text("monthly_mb") else None
        minor = form.amount("monthly_amount", currency, "") if form.text("monthly_amount") else None
        await households.set_limit(venue, signed_in(request), line_id, monthly_mb=mb, monthly_minor=minor)
    except Refusal as refusal:
        limiting = _again(request, form, refusal, line_id)
        return await _page(request, venue, status=refusal.status, limiting=limiting)
    return see_other(f"{HERE}?done=limited")


@post("/household/lines/{line_id:int}/purchases", guards=[requires_member], status_code=200)
async def buy(request: Page, venue: Venue, line_id: FromPath[int]) -> Response[Any]:
    """Buy at once, at the best prices, out of the payer's wallet."""
    form = await read(request)
    try:
        lots = form.whole("lots", N_("Please enter how many lots."))
        order = OrderRequest(symbol=form.text("symbol"), side="buy", lots=lots, time_in_force="ioc", line_id=line_id)
        placed = await place(venue, signed_in(request), order, form.key())
    except Refusal as refusal:
        buying = _again(request, form, refusal, line_id)
        return await _page(request, venue, status=refusal.status, buying=buying)
    filled = placed.answer is not None and bool(placed.answer.fills)
    return see_other(f"{HERE}?done={'bought' if filled else 'nothing'}")


async def _page(
    request: Page,
    venue: Venue,
    *,
    status: int = 200,
    done: str = "",
    inviting: Entry | None = None,
    answering: Entry | None = None,
    limiting: Entry | None = None,
    buying: Entry | None = None,
) -> Response[str]:
    member, now = signed_in(request), datetime.now(UTC)
    async with venue.reads() as session:
        home = await household_views.home(session, venue.vault, member, now)
        instruments = await views.instruments(session, now) if home.is_payer else []
    return page(
        request,
        "household.html",
        status=status,
        home=home,
        instruments=[each for each in instruments if each.kind == "data" and each.state == "open"],
        wallet=await wallet.balances(venue, member),
        most=household_invitations.MOST_MEMBERS,
        done=done,
        inviting=inviting or Entry(),
        answering=answering or Entry(),
        limiting=limiting or Entry(),
        buying=buying or Entry(),
    )


def _again(request: Page, form: Form, refusal: Refusal, line_id: int | None = None) -> Entry:
    return Entry(
        phone=form.text("phone"),
        line_id=line_id,
        monthly_mb=form.text("monthly_mb"),
        monthly_amount=form.text("monthly_amount"),
        symbol=form.text("symbol"),
        lots=form.text("lots"),
        key=form.same_key(refusal) if form.text("key") else new_key(),
        errors=errors_of(refusal, locale_of(request), FIELDS),
    )


routes: list[ControllerRouterHandler] = [index, invite, answer_invitation, leave, remove, limit, buy]
