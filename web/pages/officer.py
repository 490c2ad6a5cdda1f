"""The compliance desk: settlement reports, breaks, what was given up, what was noticed, sessions and halts."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any, Literal

from litestar import Response, get, post
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from market import audit, halting, reports, sessions, views
from market.parties import Officer
from market.refusals import BadInput, Forbidden, Refusal
from settlement import inbox, queues
from settlement.report import ALL, Report, Row, Total
from web.edge.sessions import requires_officer, signed_in_officer
from web.edge.venue import Venue
from web.i18n import CLOCK
from web.pages.forms import Form, errors_of, queried, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other

SHOWN_BREAKS = 200
NOTICED = timedelta(days=30)
EVENTS = 100
CHUNK_BYTES = 65_536
MEDIA = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
    "json": "application/json",
    "camt053": "application/xml",
}
EXTENSIONS = {"camt053": "camt053.xml"}
"""Where it is another than the form's own name."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The report form as it was filled in."""

    carrier: str
    first_day: str
    last_day: str
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def query(self) -> str:
        return f"carrier={self.carrier}&from={self.first_day}&to={self.last_day}"


@dataclass(frozen=True)
class Shown:
    """What a report comes to, for the screen."""

    totals: dict[str, Total]
    counts: dict[str, int]
    breaks: list[Row]
    made_at: datetime
    currency: str


@dataclass(frozen=True, kw_only=True)
class Switch:
    """The halt form as it was filled in."""

    symbol: str = ""
    state: str = "halted"
    reason: str = ""
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MarketSwitch:
    """One of the two forms for the whole market as it was filled in: ``to`` says which."""

    to: str = ""
    reason: str = ""
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)


@get("/officer", guards=[requires_officer])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, done=queried(request).text("done"))


@get("/officer/report", guards=[requires_officer])
async def report(request: Page, venue: Venue) -> Response[str]:
    """The report's totals and breaks on screen."""
    asked = _asked(request)
    try:
        shown = await _summary(request, venue, asked)
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("carrier", "from", "to"))
        refused = Asked(carrier=asked.carrier, first_day=asked.first_day, last_day=asked.last_day, errors=errors)
        return await _page(request, venue, status=refusal.status, asked=refused)
    return await _page(request, venue, asked=asked, shown=shown)


@get("/officer/report.csv", guards=[requires_officer])
async def report_csv(request: Page, venue: Venue) -> Stream:
    return await _download(request, venue, "csv")


@get("/officer/report.xlsx", guards=[requires_officer])
async def report_xlsx(request: Page, venue: Venue) -> Stream:
    return await _download(request, venue, "xlsx")


@get("/officer/report.pdf", guards=[requires_officer])
async def report_pdf(request: Page, venue: Venue) -> Stream:
    return await _download(request, venue, "pdf")


@get("/officer/report.json", guards=[requires_officer])
async def report_json(request: Page, venue: Venue) -> Stream:
    return await _download(request, venue, "json")


@get("/officer/report.camt053.xml", guards=[requires_officer])
async def report_camt053(request: Page, venue: Venue) -> Stream:
    return await _download(request, venue, "camt053")


@post("/officer/markets", guards=[requires_officer], status_code=200)
async def switch(request: Page, venue: Venue) -> Response[Any]:
    """Halt a market, or open it again."""
    form = await read(request)
    try:
        await halting.set_state(
            venue,
            signed_in_officer(request),
            symbol=form.text("symbol"),
            state=form.text("state"),
            reason=form.text("reason"),
            key=form.key(),
        )
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("symbol", "state", "reason"))
        typed = Switch(
            symbol=form.text("symbol"),
            state=form.text("state"),
            reason=form.text("reason"),
            key=form.same_key(refusal),
            errors=errors,
        )
        return await _page(request, venue, status=refusal.status, switching=typed)
    return see_other("/officer?done=switched#markets")


@post("/officer/markets/halt", guards=[requires_officer], status_code=200)
async def halt_every_market(request: Page, venue: Venue) -> Response[Any]:
    return await _switch_all(request, venue, "halted")


@post("/officer/markets/open", guards=[requires_officer], status_code=200)
async def open_every_market(request: Page, venue: Venue) -> Response[Any]:
    return await _switch_all(request, venue, "open")


async def _switch_all(request: Page, venue: Venue, to: Literal["halted", "open"]) -> Response[Any]:
    form = await read(request)
    try:
        await halting.switch(
            venue,
            signed_in_officer(request),
            to=to,
            reason=form.text("reason"),
            confirmed=form.text("confirmed") == "yes",
            key=form.key(),
        )
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("reason", "confirmed"))
        typed = MarketSwitch(to=to, reason=form.text("reason"), key=form.same_key(refusal), errors=errors)
        return await _page(request, venue, status=refusal.status, switching_all=typed)
    return see_other(f"/officer?done=all-{to}#switch")


async def _page(
    request: Page,
    venue: Venue,
    *,
    status: int = 200,
    asked: Asked | None = None,
    shown: Shown | None = None,
    switching: Switch | None = None,
    switching_all: MarketSwitch | None = None,
    done: str = "",
) -> Response[str]:
    officer = signed_in_officer(request)
    now = datetime.now(UTC)
    async with venue.reads() as session:
        backlog = await views.backlog(session, officer.carrier)
        letters = await views.dead_letters(session, officer.carrier)
        lanes = await queues.of_lanes(session, officer.carrier)
        parked = 0 if officer.carrier else await inbox.count_parked(session)
        events = await views.surveillance(session, now - NOTICED, EVENTS, officer.carrier)
        instruments = await views.instruments(session, now)
        markets = await sessions.overview(session, officer.carrier)
    return page(
        request,
        "officer.html",
        status=status,
        officer=officer,
        carriers=[officer.carrier] if officer.carrier else [ALL, *sorted(venue.carriers)],
        asked=asked or _month_so_far(officer, now),
        shown=shown,
        backlog=backlog,
        letters=letters,
        lanes=lanes,
        parked=parked,
        events=events,
        instruments=[each for each in instruments if officer.carrier in {None, each.carrier}],
        switching=switching or Switch(),
        states=halting.STATES,
        markets=markets,
        may_switch=halting.may_switch(officer),
        switching_all=switching_all or MarketSwitch(),
        new_key=new_key,
        currency=venue.settings.currency,
        done=done,
    )


def _month_so_far(officer: Officer, now: datetime) -> Asked:
    today = now.astimezone(CLOCK).date()
    return Asked(carrier=officer.carrier or ALL, first_day=today.replace(day=1).isoformat(), last_day=today.isoformat())


def _asked(request: Page) -> Asked:
    form: Form = queried(request)
    return Asked(carrier=form.text("carrier"), first_day=form.text("from"), last_day=form.text("to"))


async def _made(request: Page, venue: Venue, asked: Asked) -> Report:
    """The report that was asked for; the caller closes it.

    Raises:
        Forbidden: it is another carrier's than the officer watches.
        BadInput: a day is none.
    """
    officer = signed_in_officer(request)
    if officer.carrier not in {None, asked.carrier}:
        raise Forbidden("You may see the reports of your own carrier.", field="carrier")
    return await reports.settlement_report(
        venue, asked.carrier, _day(asked.first_day, "from"), _day(asked.last_day, "to")
    )


async def _summary(request: Page, venue: Venue, asked: Asked) -> Shown:
    with await _made(request, venue, asked) as made:
        return Shown(
            dict(sorted(made.totals.items())),
            dict(made.counts),
            made.breaks[:SHOWN_BREAKS],
            made.made_at,
            made.currency,
        )


async def _download(request: Page, venue: Venue, form: reports.Form) -> Stream:
    """The whole report as a file, written to disk first and sent piece by piece."""
    asked = _asked(request)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been sent
    try:
        with await _made(request, venue, asked) as made:
            await asyncio.to_thread(reports.write, made, form, file)
        await _note_download(request, venue, asked, form)
    except BaseException:
        file.close()
        raise
    name = f"settlement-{asked.carrier}-{asked.first_day}-{asked.last_day}.{EXTENSIONS.get(form, form)}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Stream(_pieces(file), media_type=MEDIA[form], headers=headers)


async def _note_download(request: Page, venue: Venue, asked: Asked, form: str) -> None:
    """Who took which figures out of the house is part of the audit trail."""
    detail = {"carrier": asked.carrier, "from": asked.first_day, "to": asked.last_day, "form": form}
    async with venue.sessions.begin() as session:
        await audit.append(
            session, audit.officer(signed_in_officer(request).id), "download", "report:settlement", detail
        )


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        file.seek(0)
        while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield piece


def _day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput("Please choose a day.", field=name) from None


routes: list[ControllerRouterHandler] = [
    index,
    report,
    report_csv,
    report_xlsx,
    report_pdf,
    report_json,
    report_camt053,
    switch,
    halt_every_market,
    open_every_market,
]
