"""When a member is paid out without asking: the setting, and what came of the latest payouts."""

from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import payout_schedule
from market.refusals import Refusal
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import errors_of, read
from web.pages.rendering import Page, locale_of, page, see_other

HERE = "/wallet/payouts"


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue)


@post(HERE, guards=[requires_member], status_code=200)
async def change(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        minimum = form.amount("minimum", venue.settings.currency, N_("Please enter an amount."))
        await payout_schedule.change(venue, signed_in(request), form.text("every"), minimum, datetime.now(UTC))
    except Refusal as refusal:
        return await _page(request, venue, refusal=refusal)
    return see_other(HERE)


async def _page(request: Page, venue: Venue, *, refusal: Refusal | None = None) -> Response[str]:
    member = signed_in(request)
    async with venue.sessions() as session:
        schedule = await payout_schedule.schedule_of(session, member)
        runs = await payout_schedule.runs(session, member)
    return page(
        request,
        "payouts.html",
        status=refusal.status if refusal else 200,
        schedule=schedule,
        runs=runs,
        now=datetime.now(UTC),
        errors=errors_of(refusal, locale_of(request), ("every", "minimum")) if refusal else {},
        currency=venue.settings.currency,
    )


routes: list[ControllerRouterHandler] = [index, change]
