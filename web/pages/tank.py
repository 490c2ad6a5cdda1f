"""The community tank: what is in it, giving to it or to charity, and taking out of it at the end of the month."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import charities, destinies, parties, tank, tank_views
from market.custody import SHANGHAI
from market.refusals import BadInput, Refusal
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import Form, errors_of, queried, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other, wants_fragment

HERE = "/tank"
SHOWN = 10
FIELDS = ("symbol", "line_id", "amount_mb", "to")
RECEIVERS = ("tank", "charity")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One form as it was typed."""

    symbol: str = ""
    line_id: int | None = None
    amount_mb: str = ""
    to: str = "tank"
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, done=queried(request).text("done"))


@post("/tank/deposits", guards=[requires_member], status_code=200)
async def give(request: Page, venue: Venue) -> Response[Any]:
    form, member = await read(request), signed_in(request)
    try:
        amount_mb = form.whole("amount_mb", N_("Please enter how many MB."))
        to = form.text("to")
        if to not in RECEIVERS:
            raise BadInput("Please choose who gets it.", field="to")
        give_to = charities.donate if to == "charity" else tank.deposit
        line_id = form.optional_id("line_id")
        await give_to(venue, member, form.text("symbol"), amount_mb, line_id=line_id, key=form.key())
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, giving=_again(request, form, refusal))
    return await _done(request, venue, to)


@post("/tank/withdrawals", guards=[requires_member], status_code=200)
async def take(request: Page, venue: Venue) -> Response[Any]:
    form, member = await read(request), signed_in(request)
    try:
        amount_mb = form.whole("amount_mb", N_("Please enter how many MB."))
        line_id = form.whole("line_id", N_("Please choose a line."))
        now, key = datetime.now(UTC), form.key()
        await tank.withdraw(venue, member, form.text("symbol"), amount_mb, line_id=line_id, key=key, now=now)
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, taking=_again(request, form, refusal))
    return await _done(request, venue, "taken")


async def _page(
    request: Page,
    venue: Venue,
    *,
    status: int = 200,
    done: str = "",
    giving: Entry | None = None,
    taking: Entry | None = None,
) -> Response[str]:
    member, now = signed_in(request), datetime.now(UTC)
    lines = await parties.lines(venue, member)
    carriers = sorted({line.carrier for line in lines})
    async with venue.reads() as session:
        levels = await tank_views.levels(session, carriers, now)
        taken = await tank_views.taken(session, member.party_id, now)
        given = await tank_views.given(session, member.party_id, SHOWN)
        got = await tank_views.got(session, member.party_id, SHOWN)
        fates = await destinies.latest(session, venue.vault, member.party_id, SHOWN)
        houses = await charities.of_carriers(session)
    settings = venue.settings
    return page(
        request,
        "tank.html",
        block="content",
        status=status,
        lines=lines,
        levels=levels,
        taken=taken,
        given=given,
        got=got,
        destinies=fates,
        charities=[house for carrier, house in houses.items() if carrier in carriers],
        monthly_mb=settings.tank_monthly_mb,
        from_day=settings.tank_from_day,
        is_open=now.astimezone(SHANGHAI).day >= settings.tank_from_day,
        done=done,
        giving=giving or Entry(),
        taking=taking or Entry(),
    )


def _again(request: Page, form: Form, refusal: Refusal) -> Entry:
    return Entry(
        symbol=form.text("symbol"),
        line_id=form.optional_id("line_id"),
        amount_mb=form.text("amount_mb"),
        to=form.text("to"),
        key=form.same_key(refusal),
        errors=errors_of(refusal, locale_of(request), FIELDS),
    )


async def _done(request: Page, venue: Venue, what: str) -> Response[Any]:
    return await _page(request, venue, done=what) if wants_fragment(request) else see_other(f"{HERE}?done={what}")


routes: list[ControllerRouterHandler] = [index, give, take]
