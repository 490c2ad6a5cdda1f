"""Coins: the daily reward, gifts, and turning them into data. 1 coin is 1 MB."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import coins, parties, views, wallet
from market.refusals import Refusal
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import Form, errors_of, queried, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other, wants_fragment

MOVES = 10
FIELDS = ("phone", "coins", "line_id")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One form as it was typed."""

    phone: str = ""
    coins: str = ""
    line_id: int | None = None
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)


@get("/coins", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, done=queried(request).text("done"))


@post("/coins/reward", guards=[requires_member], status_code=200)
async def reward(request: Page, venue: Venue) -> Response[Any]:
    """Once a day, however often it is pressed."""
    try:
        await coins.claim_daily_reward(venue, signed_in(request), datetime.now(UTC))
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ())
        return await _page(request, venue, status=refusal.status, rewarding=Entry(errors=errors))
    return await _done(request, venue, "reward")


@post("/coins/gifts", guards=[requires_member], status_code=200)
async def give(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        count = form.whole("coins", N_("Please enter how many coins."))
        await coins.give(venue, signed_in(request), form.text("phone"), count, form.key())
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, giving=_again(request, form, refusal))
    return await _done(request, venue, "gift")


@post("/coins/redemptions", guards=[requires_member], status_code=200)
async def redeem(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        count = form.whole("coins", N_("Please enter how many coins."))
        line_id = form.whole("line_id", N_("Please choose a line."))
        await coins.redeem(venue, signed_in(request), line_id, count, form.key())
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, redeeming=_again(request, form, refusal))
    return await _done(request, venue, "redemption")


async def _page(
    request: Page,
    venue: Venue,
    *,
    status: int = 200,
    done: str = "",
    rewarding: Entry | None = None,
    giving: Entry | None = None,
    redeeming: Entry | None = None,
) -> Response[str]:
    member = signed_in(request)
    async with venue.reads() as session:
        moves = await views.redemptions(session, member.party_id, MOVES)
    return page(
        request,
        "coins.html",
        block="content",
        status=status,
        wallet=await wallet.balances(venue, member),
        lines=await parties.lines(venue, member),
        moves=moves,
        done=done,
        rewarding=rewarding or Entry(),
        giving=giving or Entry(),
        redeeming=redeeming or Entry(),
    )


def _again(request: Page, form: Form, refusal: Refusal) -> Entry:
    return Entry(
        phone=form.text("phone"),
        coins=form.text("coins"),
        line_id=form.optional_id("line_id"),
        key=form.same_key(refusal),
        errors=errors_of(refusal, locale_of(request), FIELDS),
    )


async def _done(request: Page, venue: Venue, what: str) -> Response[Any]:
    return await _page(request, venue, done=what) if wants_fragment(request) else see_other(f"/coins?done={what}")


routes: list[ControllerRouterHandler] = [index, reward, give, redeem]
