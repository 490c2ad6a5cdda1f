"""Cases about trades: what a member says went wrong, what the other side says, and the officers who decide."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.datastructures import UploadFile
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import case_views, cases, halting, views
from market.cases import LARGEST_FILE, Attachment, Told
from market.refusals import NotFound, Refusal
from web.edge.sessions import requires_member, requires_officer, signed_in, signed_in_officer
from web.edge.venue import Venue
from web.i18n import N_, minor_units
from web.pages.forms import errors_of, number_of, queried, read
from web.pages.rendering import Page, locale_of, page, see_other

A_PAGE = 25
BODY_BYTES = LARGEST_FILE + 100_000
FIELDS = ("reason", "words", "file", "amount", "side")


@dataclass(frozen=True, kw_only=True)
class Typed:
    """A form as it was typed, and what was wrong with it."""

    reason: str = ""
    words: str = ""
    amount: str = ""
    side: str = ""
    errors: dict[str, str] = field(default_factory=dict)


# Members.


@get("/cases", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    member, before = signed_in(request), number_of(queried(request).text("before"), "cas")
    async with venue.reads() as session:
        found = await case_views.of_party(session, member.party_id, before, A_PAGE + 1)
    older = f"cas_{found[A_PAGE - 1].id}" if len(found) > A_PAGE else None
    return page(request, "cases.html", cases=found[:A_PAGE], older=older, member=member)


@get("/trades/{name:str}/case", guards=[requires_member])
async def form(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    """The form, or the case that there is already."""
    return await _form(request, venue, name, Typed())


@post("/trades/{name:str}/case", guards=[requires_member], status_code=200, request_max_body_size=BODY_BYTES)
async def open_case(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    typed, told = await _told(request)
    try:
        number = await cases.open_case(
            venue, signed_in(request), _number(name, "trd"), reason=typed.reason, told=told, now=datetime.now(UTC)
        )
    except Refusal as refusal:
        return await _form(request, venue, name, typed, refusal)
    return see_other(f"/cases/cas_{number}")


async def _form(request: Page, venue: Venue, name: str, typed: Typed, refusal: Refusal | None = None) -> Response[Any]:
    async with venue.reads() as session:
        trade = await views.trade(session, signed_in(request).party_id, _number(name, "trd"))
        case = await case_views.of_trade(session, trade.id)
    if case is not None and (case.status in {"open", "decided"} or refusal is None):
        return see_other(f"/cases/cas_{case.id}")
    return page(
        request,
        "case_form.html",
        status=refusal.status if refusal else 200,
        trade=trade,
        reasons=cases.reasons_of(trade.side),
        typed=_with_errors(request, typed, refusal),
    )


@get("/cases/{name:str}", guards=[requires_member])
async def show(request: Page, venue: Venue, name: FromPath[str]) -> Response[str]:
    return await _show(request, venue, name, Typed())


@post("/cases/{name:str}", guards=[requires_member], status_code=200, request_max_body_size=BODY_BYTES)
async def say(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    typed, told = await _told(request)
    try:
        await cases.say(venue, signed_in(request), _number(name, "cas"), told)
    except Refusal as refusal:
        return await _show(request, venue, name, typed, refusal)
    return see_other(f"/cases/{name}")


@post("/cases/{name:str}/withdraw", guards=[requires_member], status_code=200)
async def withdraw(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    try:
        await cases.withdraw(venue, signed_in(request), _number(name, "cas"))
    except Refusal as refusal:
        return await _show(request, venue, name, Typed(), refusal)
    return see_other(f"/cases/{name}")


@get("/cases/{name:str}/files/{entry_id:int}", guards=[requires_member])
async def file(request: Page, venue: Venue, name: FromPath[str], entry_id: FromPath[int]) -> Response[bytes]:
    """A member sees the files that the member has sent, and nobody else's."""
    async with venue.reads() as session:
        found, side = await case_views.own(session, signed_in(request), _number(name, "cas"))
        return _file(await case_views.file_of(session, found.case.id, entry_id, side))


async def _show(request: Page, venue: Venue, name: str, typed: Typed, refusal: Refusal | None = None) -> Response[str]:
    async with venue.reads() as session:
        found, side = await case_views.own(session, signed_in(request), _number(name, "cas"))
    return page(
        request,
        "case.html",
        block="content",
        status=refusal.status if refusal else 200,
        found=found,
        case=found.case,
        side=side,
        member=signed_in(request),
        typed=_with_errors(request, typed, refusal),
    )


# Officers.


@get("/officer/cases", guards=[requires_officer])
async def desk(request: Page, venue: Venue) -> Response[str]:
    ended = queried(request).text("ended") == "yes"
    async with venue.reads() as session:
        found = await case_views.of_officer(session, signed_in_officer(request), ended=ended)
    return page(request, "officer_cases.html", cases=found, ended=ended, now=datetime.now(UTC))


@get("/officer/cases/{name:str}", guards=[requires_officer])
async def look(request: Page, venue: Venue, name: FromPath[str]) -> Response[str]:
    return await _look(request, venue, name, Typed())


@get("/officer/cases/{name:str}/files/{entry_id:int}", guards=[requires_officer])
async def officers_file(request: Page, venue: Venue, name: FromPath[str], entry_id: FromPath[int]) -> Response[bytes]:
    async with venue.reads() as session:
        found = await _seen(request, venue, name)
        return _file(await case_views.file_of(session, found.case.id, entry_id, None))


@post("/officer/cases/{name:str}/ask", guards=[requires_officer], status_code=200)
async def ask(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    typed, told = await _told(request)
    asked = cases.ask(
        venue,
        signed_in_officer(request),
        _number(name, "cas"),
        side=typed.side,
        words=told.words,
        now=datetime.now(UTC),
    )
    return await _done(request, venue, name, typed, asked)


@post("/officer/cases/{name:str}/decide", guards=[requires_officer], status_code=200)
async def decide(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    typed, told = await _told(request)
    try:
        amount = minor_units(typed.amount, venue.settings.currency)
    except ValueError:
        errors = {"amount": N_("Please enter an amount such as 3.50.")}
        return await _look(request, venue, name, Typed(words=typed.words, amount=typed.amount, errors=errors))
    decided = cases.decide(venue, signed_in_officer(request), _number(name, "cas"), amount, told.words)
    return await _done(request, venue, name, typed, decided)


@post("/officer/cases/{name:str}/confirm", guards=[requires_officer], status_code=200)
async def confirm(request: Page, venue: Venue, name: FromPath[str]) -> Response[Any]:
    confirmed = cases.confirm(venue, signed_in_officer(request), _number(name, "cas"))
    return await _done(request, venue, name, Typed(), confirmed)


async def _done(request: Page, venue: Venue, name: str, typed: Typed, act: Awaitable[None]) -> Response[Any]:
    await _seen(request, venue, name)
    try:
        await act
    except Refusal as refusal:
        return await _look(request, venue, name, typed, refusal)
    return see_other(f"/officer/cases/{name}")


async def _look(request: Page, venue: Venue, name: str, typed: Typed, refusal: Refusal | None = None) -> Response[str]:
    officer = signed_in_officer(request)
    found = await _seen(request, venue, name)
    return page(
        request,
        "officer_case.html",
        status=refusal.status if refusal else 400 if typed.errors else 200,
        found=found,
        case=found.case,
        officer=officer,
        may_act=halting.may_switch(officer),
        typed=_with_errors(request, typed, refusal),
    )


async def _seen(request: Page, venue: Venue, name: str) -> case_views.CaseView:
    """A case that the officer may see.

    Raises:
        NotFound: there is none, or it is another carrier's.
    """
    officer = signed_in_officer(request)
    async with venue.reads() as session:
        found = await case_views.view(session, _number(name, "cas"))
    if officer.carrier not in {None, found.carrier}:
        raise cases.unknown()
    return found


# Forms.


async def _told(request: Page) -> tuple[Typed, Told]:
    """What was typed, the words whole, and the file that came with it."""
    short, sent = await read(request), await request.form()
    words, upload = str(sent.get("words", ""))[: cases.LONGEST_WORDS + 1], sent.get("file")
    attachment = None
    if isinstance(upload, UploadFile) and upload.filename:
        attachment = Attachment(upload.filename, await upload.read())
    typed = Typed(reason=short.text("reason"), words=words, amount=short.text("amount"), side=short.text("side"))
    return typed, Told(words, attachment)


def _with_errors(request: Page, typed: Typed, refusal: Refusal | None) -> Typed:
    if refusal is None:
        return typed
    errors = errors_of(refusal, locale_of(request), FIELDS)
    return Typed(reason=typed.reason, words=typed.words, amount=typed.amount, side=typed.side, errors=errors)


def _number(name: str, prefix: str) -> int:
    number = number_of(name, prefix)
    if number is None:
        raise NotFound("There is no such case.") if prefix == "cas" else NotFound("You have no such trade.")
    return number


def _file(found: tuple[str, str, bytes]) -> Response[bytes]:
    """Always to be saved and never shown by us: it is a stranger's."""
    _, media_type, content = found
    ending = {"image/png": "png", "image/jpeg": "jpg", "application/pdf": "pdf"}[media_type]
    headers = {"Content-Disposition": f'attachment; filename="evidence.{ending}"', "Cache-Control": "no-store"}
    return Response(content, media_type=media_type, headers=headers)


routes: list[ControllerRouterHandler] = [
    index, form, open_case, show, say, withdraw, file,
    desk, look, officers_file, ask, decide, confirm,
]  # fmt: skip
