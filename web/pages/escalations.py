"""The officers' page of what waits for a person: slow things, reopened trades, and carriers that are stopped."""

from collections.abc import Awaitable
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import attention, freezes, halting, stops
from market.refusals import Refusal
from settlement import carrier_stops
from web.edge.sessions import requires_officer, signed_in_officer
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import Form, errors_of, number_of, queried, read
from web.pages.rendering import Page, locale_of, page, see_other

A_PAGE = 50
CAUSES = {
    "waiting": N_("Its turn has not come"),
    "trying": N_("Sent, and sent again"),
    "unconfirmed": N_("Sent; the answer is not known"),
    "person": N_("Nobody tries any more"),
    "bank": N_("The bank is at work"),
    "buyer": N_("The buyer has to confirm"),
    "ending": N_("Something else has to end first"),
    "carrier_reversed": N_("The carrier took the data back"),
    "disputed": N_("The payment is disputed"),
    "refunded_outside": N_("Refunded at the payment provider"),
    "case_decided": N_("Decided by a case"),
    "away": N_("It does not answer"),
    "breaks": N_("Its books contradict ours"),
}
SUBJECTS = {
    "delivery": N_("Delivery"),
    "payout": N_("Payout"),
    "custody": N_("Reservation"),
    "payment": N_("Payment"),
    "redemption": N_("Redemption of coins"),
    "handout": N_("Handout of data"),
    "reopening": N_("Reopened trade"),
    "data_gift": N_("Given data"),
}


@get("/officer/escalations", guards=[requires_officer])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue)


@post("/officer/escalations/{what:str}/{subject_id:int}", guards=[requires_officer], status_code=200)
async def see(request: Page, venue: Venue, what: FromPath[str], subject_id: FromPath[int]) -> Response[Any]:
    """Say that one is at it, and what one does."""
    form = await read(request)

    async def noted() -> None:
        async with venue.sessions.begin() as session:
            await attention.see(session, signed_in_officer(request), what, subject_id, form.text("note"))

    return await _done(request, venue, noted(), f"note-{what}-{subject_id}", form)


@post("/officer/carriers/{code:str}/thaw", guards=[requires_officer], status_code=200)
async def thaw(request: Page, venue: Venue, code: FromPath[str]) -> Response[Any]:
    """Trust a carrier again that was stopped for its breaks."""
    form = await read(request)
    return await _done(
        request, venue, stops.thaw(venue, signed_in_officer(request), code, form.text("reason")), f"thaw-{code}", form
    )


@post("/officer/freezes/{freeze_id:int}/end", guards=[requires_officer], status_code=200)
async def let_go(request: Page, venue: Venue, freeze_id: FromPath[int]) -> Response[Any]:
    """Let a member trade and withdraw again."""
    form = await read(request)
    ended = freezes.let_go(venue, signed_in_officer(request), freeze_id, form.text("reason"))
    return await _done(request, venue, ended, f"freeze-{freeze_id}", form)


async def _done(request: Page, venue: Venue, act: Awaitable[None], place: str, form: Form) -> Response[Any]:
    try:
        await act
    except Refusal as refusal:
        words = errors_of(refusal, locale_of(request), ("note", "reason"))
        typed = form.text("note") or form.text("reason")
        error = {"place": place, "words": next(iter(words.values())), "typed": typed}
        return await _page(request, venue, status=refusal.status, error=error)
    return see_other("/officer/escalations?done=yes")


async def _page(
    request: Page, venue: Venue, *, status: int = 200, error: dict[str, str] | None = None
) -> Response[str]:
    """What waits, a page of each kind; as many statements, however much there is."""
    officer, asked = signed_in_officer(request), queried(request)
    slow_before, reopened_before = number_of(asked.text("slow"), "esc"), number_of(asked.text("reopened"), "rop")
    async with venue.reads() as session:
        slow = await attention.waiting(session, officer, "escalation", A_PAGE + 1, slow_before)
        reopened = await attention.waiting(session, officer, "reopening", A_PAGE + 1, reopened_before)
        stopped = await carrier_stops.in_force(session)
        disowned = await freezes.disowned(session, officer)
    return page(
        request,
        "escalations.html",
        status=status,
        officer=officer,
        slow=slow[:A_PAGE],
        more_slow=f"esc_{slow[A_PAGE - 1].id}" if len(slow) > A_PAGE else "",
        reopened=reopened[:A_PAGE],
        more_reopened=f"rop_{reopened[A_PAGE - 1].id}" if len(reopened) > A_PAGE else "",
        stopped=[each for each in stopped if officer.carrier in {None, each.carrier}],
        disowned=disowned,
        causes=CAUSES,
        subjects=SUBJECTS,
        may_thaw=halting.may_switch(officer),
        currency=venue.settings.currency,
        done=asked.text("done"),
        error=error or {},
    )


routes: list[ControllerRouterHandler] = [index, see, thaw, let_go]
