"""The officer's dead letters: instructions that nobody tries any more, and what a person may do about them."""

from collections.abc import Awaitable
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import dead_letters, halting
from market.refusals import Refusal
from web.edge.sessions import requires_officer, signed_in_officer
from web.edge.venue import Venue
from web.pages.forms import errors_of, queried, read
from web.pages.rendering import Page, locale_of, page, see_other


@get("/officer/dead-letters", guards=[requires_officer])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, done=queried(request).text("done"))


@post("/officer/dead-letters/{instruction_id:int}/ask", guards=[requires_officer], status_code=200)
async def ask(request: Page, venue: Venue, instruction_id: FromPath[int]) -> Response[Any]:
    """Have the outside asked again."""
    return await _done(request, venue, dead_letters.ask_again(venue, signed_in_officer(request), instruction_id))


@post("/officer/dead-letters/{instruction_id:int}/say", guards=[requires_officer], status_code=200)
async def say(request: Page, venue: Venue, instruction_id: FromPath[int]) -> Response[Any]:
    """Say what became of it, for another officer to confirm."""
    form = await read(request)
    said = dead_letters.say(
        venue,
        signed_in_officer(request),
        instruction_id,
        reference=form.text("reference"),
        reason=form.text("reason"),
    )
    return await _done(request, venue, said)


@post("/officer/dead-letters/words/{word_id:int}/confirm", guards=[requires_officer], status_code=200)
async def confirm(request: Page, venue: Venue, word_id: FromPath[int]) -> Response[Any]:
    return await _done(request, venue, dead_letters.confirm(venue, signed_in_officer(request), word_id))


@post("/officer/dead-letters/words/{word_id:int}/withdraw", guards=[requires_officer], status_code=200)
async def withdraw(request: Page, venue: Venue, word_id: FromPath[int]) -> Response[Any]:
    return await _done(request, venue, dead_letters.withdraw(venue, signed_in_officer(request), word_id))


async def _done(request: Page, venue: Venue, act: Awaitable[None]) -> Response[Any]:
    try:
        await act
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("reason",))
        return await _page(request, venue, status=refusal.status, errors=errors)
    return see_other("/officer/dead-letters?done=yes")


async def _page(
    request: Page, venue: Venue, *, status: int = 200, errors: dict[str, str] | None = None, done: str = ""
) -> Response[str]:
    officer = signed_in_officer(request)
    async with venue.reads() as session:
        found = await dead_letters.letters(session, officer.carrier)
    return page(
        request,
        "dead_letters.html",
        status=status,
        officer=officer,
        letters=found,
        may_act=halting.may_switch(officer),
        errors=errors or {},
        done=done,
    )


routes: list[ControllerRouterHandler] = [index, ask, say, confirm, withdraw]
