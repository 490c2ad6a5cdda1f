"""Settlement reports for officers and the command line: collected, compared with the outside, written whole."""

import asyncio
import os
import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, date, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.installation import mark
from market.refusals import BadInput
from market.settings import Settings
from market.settling import outside_of
from market.venue import Venue, open_venue
from settlement.collecting import collect
from settlement.reconciling import reconcile
from settlement.report import ALL, Report, Span
from settlement.report_camt053 import write_camt053
from settlement.report_csv import write_csv
from settlement.report_json import write_json
from settlement.report_pdf import write_pdf
from settlement.report_xlsx import write_xlsx

Form = Literal["csv", "xlsx", "pdf", "json", "camt053"]
LINES = {"csv": write_csv, "json": write_json, "camt053": write_camt053}
"""The forms that are text."""
LONGEST_DAYS = 366
LONGEST_READ = "10min"

__all__ = ["Form", "main", "save", "settlement_report", "write", "write_csv", "write_json", "write_xlsx"]


def main(  # noqa: PLR0917 - in the order of the command line
    settings: Settings,
    carrier: str,
    from_date: date,
    to_date: date,
    form: str,
    output: Path | BinaryIO,
) -> None:
    """Write a report to a file or a binary stream; a file appears only when it is whole.

    Raises:
        BadInput: the carrier or the form is not known, or the days are not in order.
    """
    asyncio.run(_main(settings, carrier, (from_date, to_date), _form(form), output))


async def settlement_report(venue: Venue, carrier: str, from_date: date, to_date: date) -> Report:
    """Everything settled with a carrier, or with ``all``, on these days, and every break. The caller closes it.

    Raises:
        BadInput: the carrier is not known, or the days are not in order.
    """
    if carrier != ALL and carrier not in venue.carriers:
        raise BadInput(f"Choose one of {', '.join(sorted(venue.carriers))}, or {ALL}.", field="carrier")
    if to_date < from_date or (to_date - from_date).days >= LONGEST_DAYS:
        raise BadInput(f"Choose up to {LONGEST_DAYS} days, the first one first.", field="to")
    span = Span(from_date, to_date, venue.settings.timezone)
    report = Report(carrier, span, datetime.now(UTC), venue.settings.currency)
    try:
        installation = await _collect(venue, report)
        await reconcile(venue.sessions, outside_of(venue, installation), report)
    except BaseException:
        report.close()
        raise
    return report


def write(report: Report, form: Form, stream: BinaryIO) -> None:
    """Write a report to a binary stream that can be sought in, as XLSX needs it."""
    if form == "xlsx":
        write_xlsx(report, stream)
        return
    if form == "pdf":
        write_pdf(report, stream)
        return
    lines = TextIOWrapper(stream, encoding="utf-8", newline="")
    LINES[form](report, lines)
    lines.flush()
    lines.detach()


def save(report: Report, form: Form, path: Path) -> None:
    """Write a report to a file: beside it first, and in its place only when it is whole and on disk."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as beside:
        try:
            write(report, form, beside)  # type: ignore[arg-type]  # the wrapper of a file has all that a file has
            beside.flush()
            os.fsync(beside.fileno())
            Path(beside.name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(beside.name).unlink()
            raise


async def _main(settings: Settings, carrier: str, days: tuple[date, date], form: Form, output: Path | BinaryIO) -> None:
    async with open_venue(settings, pool_size=4) as venue:
        with await settlement_report(venue, carrier, *days) as report:
            if isinstance(output, Path):
                save(report, form, output)
                return
            with tempfile.TemporaryFile() as whole:
                write(report, form, whole)
                whole.seek(0)
                shutil.copyfileobj(whole, output)


async def _collect(venue: Venue, report: Report) -> str:
    """Read our books in one snapshot, so that rows and totals belong to the same moment; nobody outside is called."""
    async with venue.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with AsyncSession(connection) as session:
            for limit in ("statement_timeout", "transaction_timeout"):
                await session.execute(text(f"set local {limit} = '{LONGEST_READ}'"))
            installation = await mark(session)
            await collect(session, report, installation)
    return installation


def _form(form: str) -> Form:
    for known in get_args(Form):
        if form == known:
            return known  # type: ignore[no-any-return]
    raise BadInput(f"A settlement report comes as {', '.join(get_args(Form))}.", field="format")
