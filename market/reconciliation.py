"""Reconciliation for officers, command line and scheduler: a run a day, breaks explained, two-person corrections."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, stops
from market.installation import mark
from market.parties import Officer
from market.refusals import BadInput, Conflict, Forbidden, NotAllowed, NotFound
from market.rounds import Rounds, beside
from market.settings import Settings
from market.settling import outside_of
from market.venue import Venue, open_venue
from settlement.ledger import LedgerRefusal
from settlement.reconciliation import adjusting
from settlement.reconciliation.documents import BILLS
from settlement.reconciliation.runs import ALL, Outcome, Run, begin, connected, fail
from settlement.reconciliation.tables import AdjustmentRow, BreakRow, ReconciliationRow
from settlement.reconciliation.window import Window

log = structlog.get_logger()

DAILY_AFTER = timedelta(minutes=10)
"""How long after midnight the day before is compared."""
LOOK_SECONDS = 60
SHOWN = 200
RUNS = 14


def main(settings: Settings, day: date | None, carrier: str | None) -> tuple[str, bool]:
    """Compare a day; gives what came of it in words, and whether anything differs.

    Raises:
        BadInput: the carrier is not known, or the day has not come yet.
    """
    return asyncio.run(_main(settings, day, carrier))


async def _main(settings: Settings, day: date | None, carrier: str | None) -> tuple[str, bool]:
    async with open_venue(settings, pool_size=4) as venue:
        now = datetime.now(UTC)
        outcome = await reconcile(venue, day or now.astimezone(settings.timezone).date(), carrier or ALL, now)
    assert outcome is not None
    lines = [f"run {outcome.run_id}: {outcome.breaks} breaks, {outcome.closed} closed, {outcome.escalated} escalated"]
    for total in outcome.totals:
        causes = ", ".join(f"{cause} {count}" for cause, count in total.causes.items()) or "agrees"
        lines.append(f"  {total.counterparty}: {total.ours} here, {total.theirs} there; {causes}")
    return "\n".join(lines), outcome.breaks > 0


async def reconcile(venue: Venue, day: date, scope: str, now: datetime, *, daily: bool = False) -> Outcome | None:
    """Compare a day with one carrier, or with everybody (``all``); none when the day's own run has been made.

    Raises:
        BadInput: the carrier is not known, or the day has not come yet.
    """
    window = Window(day, venue.settings.timezone, now)
    if scope != ALL and scope not in venue.carriers:
        raise BadInput(f"Choose one of {', '.join(sorted(venue.carriers))}, or {ALL}.", field="carrier")
    if window.since >= now:
        raise BadInput("This day has not come yet.", field="day")
    async with venue.sessions() as session:
        outside = outside_of(venue, await mark(session))
    async with connected(venue.settings.database_dsn) as connection:
        run_id = await begin(connection, window, scope, daily=daily)
        if run_id is None:
            return None
        try:
            outcome = await Run(connection, outside, window, run_id, venue.settings.currency).carry_out(scope)
        except BaseException as error:
            if not connection.is_closed():
                await fail(connection, run_id, type(error).__name__)
            raise
    await stops.look_at_breaks(venue, run_id)
    return outcome


def daily(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Compare each day once, beside whatever else a program does."""
    return beside(venue, Rounds("reconciliation", lambda venue: keep(venue, datetime.now(UTC)), LOOK_SECONDS))


async def keep(venue: Venue, now: datetime) -> None:
    """Compare the day before, once, some minutes after it has ended. A second scheduler finds its row and leaves it."""
    day = (now - DAILY_AFTER).astimezone(venue.settings.timezone).date() - timedelta(days=1)
    async with venue.sessions() as session:
        made = select(ReconciliationRow.id).where(
            ReconciliationRow.day == day, ReconciliationRow.daily, ReconciliationRow.status == "done"
        )
        if await session.scalar(made) is not None:
            return
        try:
            await mark(session)
        except LookupError:
            return
    outcome = await reconcile(venue, day, ALL, now, daily=True)
    if outcome is not None:
        log.info("reconciled", day=day.isoformat(), breaks=outcome.breaks, escalated=outcome.escalated)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the page shows: the newest runs, the breaks that were asked for, and what waits for a second officer."""

    runs: Sequence[ReconciliationRow]
    breaks: Sequence[BreakRow]
    proposals: Sequence[AdjustmentRow]


async def desk(session: AsyncSession, officer: Officer, *, status: str, cause: str) -> Desk:
    """An officer of a carrier sees that carrier's breaks alone, and no corrections. The oldest are shown first."""
    breaks = select(BreakRow).order_by(BreakRow.at, BreakRow.id).limit(SHOWN)
    if officer.carrier:
        breaks = breaks.where(BreakRow.counterparty.in_((officer.carrier, officer.carrier + BILLS)))
    if status:
        breaks = breaks.where(BreakRow.status == status)
    if cause:
        breaks = breaks.where(BreakRow.cause == cause)
    runs = select(ReconciliationRow).order_by(ReconciliationRow.id.desc()).limit(RUNS)
    waiting = select(AdjustmentRow).where(AdjustmentRow.status == "proposed").order_by(AdjustmentRow.id).limit(SHOWN)
    return Desk(
        [] if officer.carrier else list(await session.scalars(runs)),
        list(await session.scalars(breaks)),
        [] if officer.carrier else list(await session.scalars(waiting)),
    )


async def break_of(session: AsyncSession, officer: Officer, break_id: int) -> tuple[BreakRow, list[AdjustmentRow]]:
    """One break and the corrections that were proposed for it, the newest first.

    Raises:
        NotFound: there is none, or it is another carrier's.
    """
    row = await session.get(BreakRow, break_id)
    if row is None or officer.carrier not in {None, row.counterparty, row.counterparty.removesuffix(BILLS)}:
        raise NotFound("There is no such break.")
    made = select(AdjustmentRow).where(AdjustmentRow.break_id == break_id).order_by(AdjustmentRow.id.desc())
    return row, list(await session.scalars(made.limit(SHOWN)))


async def explain(session: AsyncSession, officer: Officer, break_id: int, explanation: str) -> None:
    """End a break in words. It opens again when its amounts change. The caller commits.

    Raises:
        NotFound: there is none, or it is another carrier's.
        Conflict: it is not open.
        BadInput: there are no words, or a phone number is among them.
    """
    _check_words(explanation, "explanation")
    await break_of(session, officer, break_id)
    row = await session.get_one(BreakRow, break_id, with_for_update=True, populate_existing=True)
    if row.status != "open":
        raise Conflict("This break is not open any more.")
    row.status, row.explanation, row.owner_id = "explained", explanation, officer.id
    row.ended_at = datetime.now(UTC)
    await audit.append(
        session, audit.officer(officer.id), "explain_break", f"break:{break_id}", {"explanation": explanation}
    )


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A correction as an officer wants it; amounts are minor units."""

    break_id: int | None
    category: str
    source: str
    target: str
    amount_minor: int
    reason: str
    key: str


async def propose(session: AsyncSession, officer: Officer, wish: Proposal, currency: str) -> None:
    """Put a correction before the other officers; nothing moves yet. The same key does it once. The caller commits.

    Raises:
        Forbidden: it takes an officer of the house.
        NotFound: there is no such break.
        BadInput: there is no reason, or the category does not allow it.
    """
    if wish.break_id is not None:
        await break_of(session, officer, wish.break_id)
    if officer.carrier is not None:
        raise Forbidden("Only an officer of the house may correct the books.")
    _check_words(wish.reason, "reason")
    try:
        adjusting.check(wish.category, wish.source, wish.target, wish.amount_minor)
    except adjusting.NotAdjustable as error:
        raise BadInput(str(error), field="category") from error
    values = {
        "key": wish.key, "break_id": wish.break_id, "category": wish.category, "source": wish.source,
        "target": wish.target, "amount_minor": wish.amount_minor, "currency": currency, "reason": wish.reason,
        "proposed_by": officer.id,
    }  # fmt: skip
    added = insert(AdjustmentRow).values(values).on_conflict_do_nothing().returning(AdjustmentRow.id)
    adjustment_id = await session.scalar(added)
    if adjustment_id is not None:
        detail = {name: values[name] for name in ("category", "source", "target", "amount_minor", "reason")}
        subject = f"adjustment:{adjustment_id}"
        await audit.append(session, audit.officer(officer.id), "propose_adjustment", subject, detail)


async def decide(session: AsyncSession, officer: Officer, adjustment_id: int, *, confirmed: bool) -> None:
    """Confirm or reject what another officer has proposed. The caller commits.

    Raises:
        NotFound: it is nothing that an officer of a carrier may see.
        NotAllowed: it was decided before, or proposed by the same officer, or a wallet lacks the money.
    """
    if officer.carrier is not None:
        raise NotFound("There is no such proposal.")
    try:
        await adjusting.decide(session, adjustment_id, officer.id, confirmed=confirmed, at=datetime.now(UTC))
    except (adjusting.NotAdjustable, LedgerRefusal) as error:
        raise NotAllowed(str(error)) from error
    action = "confirm_adjustment" if confirmed else "reject_adjustment"
    await audit.append(session, audit.officer(officer.id), action, f"adjustment:{adjustment_id}", {})


def _check_words(words: str, field: str) -> None:
    if not words:
        raise BadInput("Please say why. The reason is kept on the record.", field=field)
    if audit.NUMBER.search(words):
        raise BadInput("Please leave phone numbers out: the record is kept for good.", field=field)
