"""The statement of a member's wallet for a month: on screen and on paper, and as files to keep."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import IO

from litestar import Response, get
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from market import limits, statements
from market.limits import Limit
from market.refusals import BadInput
from market.statements import Entry, Month, Statement
from web import statement_files
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import CLOCK
from web.pages.forms import queried
from web.pages.rendering import Page, locale_of, page
from web.pages.words import said

A_PAGE = 200
"""Entries on screen; the files have the others."""
CHUNK_BYTES = 65_536
FILES = Limit("statement files", 10, 300)
"""Of one member: each costs a worker some of its time."""
MEDIA = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}


@get("/wallet/statement", guards=[requires_member])
async def show(request: Page, venue: Venue) -> Response[str]:
    """One month: the sums, the kinds, and the first entries."""
    now, chosen, refused = datetime.now(UTC), queried(request).text("month"), ""
    try:
        month = Month.named(chosen, CLOCK) if chosen else Month.of(now, CLOCK)
    except BadInput as refusal:
        month, refused = Month.of(now, CLOCK), said(refusal, locale_of(request))
    member, currency = signed_in(request), venue.settings.currency
    async with statements.snapshot(venue) as session:
        months = await statements.months(session, member, currency, CLOCK, now)
        statement = await statements.head(session, member, month, currency)
        shown = [entry async for entry in statements.entries(session, statement, A_PAGE)]
    words = statement_files.Words(locale_of(request))
    return page(
        request,
        "statement.html",
        status=400 if refused else 200,
        statement=statement,
        entries=shown,
        months=months if month in months else [*months, month],
        title=words.title(statement),
        facts=list(words.facts(statement)),
        cut=words.cut(len(shown), statement),
        refused=refused,
    )


@get("/wallet/statement.csv", guards=[requires_member])
async def as_csv(request: Page, venue: Venue) -> Stream:
    return await _file(request, venue, "csv")


@get("/wallet/statement.xlsx", guards=[requires_member])
async def as_xlsx(request: Page, venue: Venue) -> Stream:
    return await _file(request, venue, "xlsx")


@get("/wallet/statement.pdf", guards=[requires_member])
async def as_pdf(request: Page, venue: Venue) -> Stream:
    return await _file(request, venue, "pdf")


async def _file(request: Page, venue: Venue, form: str) -> Stream:
    """The statement as a file, made on disk first and sent piece by piece.

    Raises:
        BadInput: there is no such month.
        LimitReached: too many files in a short time.
    """
    member, chosen = signed_in(request), queried(request).text("month")
    month = Month.named(chosen, CLOCK) if chosen else Month.of(datetime.now(UTC), CLOCK)
    await limits.take(venue.redis, venue.vault, FILES.of(str(member.party_id)))
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been sent
    try:
        async with statements.snapshot(venue) as session:
            statement = await statements.head(session, member, month, venue.settings.currency)
            if form == "csv":
                entries = statements.entries(session, statement)
                await statement_files.write_csv(statement, entries, file, locale_of(request))
            else:
                most = statement_files.MOST_IN_DOCUMENT if form == "pdf" else statement_files.MOST_IN_WORKBOOK
                held = [entry async for entry in statements.entries(session, statement, most)]
        if form != "csv":
            await asyncio.to_thread(_make, form, statement, held, file, locale_of(request))
    except BaseException:
        file.close()
        raise
    headers = {"Content-Disposition": f'attachment; filename="statement-{month.name}.{form}"'}
    return Stream(_pieces(file), media_type=MEDIA[form], headers=headers)


def _make(form: str, statement: Statement, entries: list[Entry], file: IO[bytes], locale: str) -> None:
    if form == "pdf":
        file.write(statement_files.as_pdf(statement, entries, locale))
    else:
        statement_files.write_xlsx(statement, entries, file, locale)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        file.seek(0)
        while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield piece


routes: list[ControllerRouterHandler] = [show, as_csv, as_xlsx, as_pdf]
