"""The officers' page of reconciliation: runs, breaks by cause and age, explanations, and two-person corrections."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import reconciliation
from market.reconciliation import Proposal
from market.refusals import BadInput, Refusal
from settlement.reconciliation.adjusting import CATEGORIES
from settlement.reconciliation.runs import ALL
from web.edge.sessions import requires_officer, signed_in_officer
from web.edge.venue import Venue
from web.i18n import CLOCK, N_
from web.pages.forms import Form, errors_of, queried, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other
from web.pages.words import CAUSES, refusal_words, word

STATES = {
    "open": N_("Unresolved"),
    "closed": N_("Closed by itself"),
    "explained": N_("Explained"),
    "adjusted": N_("Adjusted"),
    "proposed": N_("Waits for another officer"),
    "booked": N_("Booked"),
    "rejected": N_("Rejected"),
    "running": N_("Running"),
    "done": N_("Done"),
    "failed": N_("Failed"),
}
KINDS = {
    "carrier_error": N_("Carrier's error"),
    "provider_fee": N_("Provider's fee"),
    "goodwill": N_("Goodwill"),
    "write_off": N_("Write-off"),
    "correction": N_("Correction"),
    "suspense_clearing": N_("Clearing of suspense"),
}
PLACES = {
    "suspense": N_("Suspense"),
    "provider": N_("Payment provider"),
    "provider_fees": N_("Provider's fees"),
    "goodwill": N_("Goodwill"),
    "write_offs": N_("Write-offs"),
    "ledger": N_("Our own accounts"),
}
DETAILS = (
    N_("nothing of that name is known here"),
    N_("done, and not in the ledger"),
    N_("the ledger says {0}"),
    N_("{0} here, and past the end of its reservation"),
)
"""What a comparison notes of a break, as far as it is words and no codes."""
SHOWN = ("open", "explained", "adjusted", "closed")
FIELDS = ("explanation", "category", "source", "target", "amount", "reason")


@dataclass(frozen=True)
class Typed:
    """A form as it was filled in, and what is wrong with it."""

    form: Form = field(default_factory=lambda: Form({}))
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)


@get("/officer/reconciliation", guards=[requires_officer])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _index(request, venue)


@post("/officer/reconciliation", guards=[requires_officer], status_code=200)
async def compare(request: Page, venue: Venue) -> Response[Any]:
    """Compare a day now, as far as the officer may see."""
    form, officer, now = await read(request), signed_in_officer(request), datetime.now(UTC)
    try:
        await reconciliation.reconcile(venue, _day(form), officer.carrier or ALL, now)
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("day",))
        return await _index(request, venue, status=refusal.status, typed=Typed(form, errors=errors))
    return see_other("/officer/reconciliation")


@get("/officer/reconciliation/{break_id:int}", guards=[requires_officer])
async def show(request: Page, venue: Venue, break_id: FromPath[int]) -> Response[str]:
    return await _break(request, venue, break_id)


@post("/officer/reconciliation/{break_id:int}/explain", guards=[requires_officer], status_code=200)
async def explain(request: Page, venue: Venue, break_id: FromPath[int]) -> Response[Any]:
    form, officer = await read(request), signed_in_officer(request)
    try:
        async with venue.sessions.begin() as session:
            await reconciliation.explain(session, officer, break_id, form.text("explanation"))
    except Refusal as refusal:
        return await _refused(request, venue, break_id, form, refusal)
    return see_other(f"/officer/reconciliation/{break_id}")


@post("/officer/reconciliation/{break_id:int}/adjust", guards=[requires_officer], status_code=200)
async def adjust(request: Page, venue: Venue, break_id: FromPath[int]) -> Response[Any]:
    """Propose a correction: nothing moves before another officer confirms it."""
    form, officer, currency = await read(request), signed_in_officer(request), venue.settings.currency
    try:
        wish = Proposal(
            break_id=break_id,
            category=form.text("category"),
            source=form.text("source"),
            target=form.text("target"),
            amount_minor=form.amount("amount", currency, "Please enter an amount."),
            reason=form.text("reason"),
            key=form.key(),
        )
        async with venue.sessions.begin() as session:
            await reconciliation.propose(session, officer, wish, currency)
    except Refusal as refusal:
        return await _refused(request, venue, break_id, form, refusal)
    return see_other(f"/officer/reconciliation/{break_id}")


@post("/officer/adjustments/{adjustment_id:int}", guards=[requires_officer], status_code=200)
async def decide(request: Page, venue: Venue, adjustment_id: FromPath[int]) -> Response[Any]:
    """Confirm or reject what another officer has proposed."""
    form, officer = await read(request), signed_in_officer(request)
    try:
        async with venue.sessions.begin() as session:
            await reconciliation.decide(session, officer, adjustment_id, confirmed=form.text("decision") == "confirm")
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ())
        return await _index(request, venue, status=refusal.status, typed=Typed(form, errors=errors))
    return see_other("/officer/reconciliation")


async def _index(request: Page, venue: Venue, *, status: int = 200, typed: Typed | None = None) -> Response[str]:
    officer, asked = signed_in_officer(request), queried(request)
    state, cause = asked.text("status") or "open", asked.text("cause")
    async with venue.reads() as session:
        desk = await reconciliation.desk(session, officer, status="" if state == "all" else state, cause=cause)
    return page(
        request,
        "reconciliation.html",
        status=status,
        officer=officer,
        desk=desk,
        state=state,
        cause=cause,
        states=SHOWN,
        causes=tuple(CAUSES),
        typed=typed or Typed(),
        named=_names(request),
    )


async def _break(
    request: Page, venue: Venue, break_id: int, *, status: int = 200, typed: Typed | None = None
) -> Response[str]:
    officer = signed_in_officer(request)
    async with venue.reads() as session:
        row, adjustments = await reconciliation.break_of(session, officer, break_id)
    return page(
        request,
        "reconciliation_break.html",
        status=status,
        officer=officer,
        row=row,
        detail=refusal_words("", row.detail, locale_of(request)),
        adjustments=adjustments,
        categories=tuple(CATEGORIES),
        typed=typed or Typed(),
        named=_names(request),
    )


async def _refused(request: Page, venue: Venue, break_id: int, form: Form, refusal: Refusal) -> Response[str]:
    typed = Typed(form, errors=errors_of(refusal, locale_of(request), FIELDS))
    return await _break(request, venue, break_id, status=refusal.status, typed=typed)


def _names(request: Page) -> Callable[[str], str]:
    """The word for a state, a category or a place, in the reader's language."""
    locale = locale_of(request)
    return lambda code: word(STATES | KINDS | PLACES, code, locale)


def _day(form: Form) -> date:
    text = form.text("day")
    try:
        return date.fromisoformat(text) if text else datetime.now(UTC).astimezone(CLOCK).date()
    except ValueError:
        raise BadInput("Please choose a day.", field="day") from None


routes: list[ControllerRouterHandler] = [index, compare, show, explain, adjust, decide]
