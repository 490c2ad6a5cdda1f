"""What a member was told, newest first."""

from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import notices
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.pages.forms import number_of, queried, read
from web.pages.rendering import Page, page, see_other

HERE = "/notices"
A_PAGE = 25


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    """What was told is read once the member says so: a page that loads by itself proves nothing."""
    member = signed_in(request)
    before = number_of(queried(request).text("before"), "ntc")
    async with venue.reads() as session:
        found = await notices.latest(session, member.party_id, A_PAGE + 1, before)
    shown = found[:A_PAGE]
    older = f"ntc_{shown[-1].id}" if len(found) > A_PAGE else None
    return page(request, "notices.html", block="list", notices=shown, older=older, before=before)


@post(HERE, guards=[requires_member], status_code=200)
async def mark_read(request: Page, venue: Venue) -> Response[Any]:
    form, member = await read(request), signed_in(request)
    up_to = number_of(form.text("up_to"), "ntc")
    if up_to is not None:
        async with venue.sessions.begin() as session:
            await notices.read_all(session, member.party_id, up_to)
    return see_other(HERE)


routes: list[ControllerRouterHandler] = [index, mark_read]
