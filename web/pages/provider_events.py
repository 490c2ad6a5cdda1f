"""The officer's parked events: what the payment provider told us that no rule covers, and handling it again."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import halting, provider_events
from market.refusals import Refusal
from web.edge.sessions import requires_officer, signed_in_officer
from web.edge.venue import Venue
from web.pages.forms import errors_of, queried
from web.pages.rendering import Page, locale_of, page, see_other


@get("/officer/provider-events", guards=[requires_officer])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, done=queried(request).text("done"))


@post("/officer/provider-events/{event_id:str}/again", guards=[requires_officer], status_code=200)
async def again(request: Page, venue: Venue, event_id: FromPath[str]) -> Response[Any]:
    """Have a parked event handled anew."""
    try:
        await provider_events.handle_again(venue, signed_in_officer(request), event_id)
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, errors=errors_of(refusal, locale_of(request), ()))
    return see_other("/officer/provider-events?done=yes")


async def _page(
    request: Page, venue: Venue, *, status: int = 200, errors: dict[str, str] | None = None, done: str = ""
) -> Response[str]:
    officer = signed_in_officer(request)
    async with venue.reads() as session:
        events = [] if officer.carrier else await provider_events.parked(session)
    return page(
        request,
        "provider_events.html",
        status=status,
        events=events,
        may_act=halting.may_switch(officer),
        errors=errors or {},
        done=done,
    )


routes: list[ControllerRouterHandler] = [index, again]
