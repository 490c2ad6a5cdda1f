"""Payouts that nobody has to ask for: daily or weekly, when enough is free, each of them once."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import structlog
from sqlalchemy import Select, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, notices, step_up
from market.assets import asset_id
from market.kept_back import kept_back
from market.parties import Member, member
from market.payout_tables import PayoutRunRow, PayoutScheduleRow
from market.purses import lock_party, midnight
from market.refusals import BadInput, Refusal, Unavailable
from market.rounds import Rounds, beside
from market.venue import Venue
from market.withdrawals import SMALLEST_WITHDRAWAL_MINOR, WITHDRAWALS_A_DAY_MINOR, withdraw
from settlement.ledger_tables import AccountRow

log = structlog.get_logger()

Every = Literal["daily", "weekly", "manual"]
EVERY: tuple[Every, ...] = ("daily", "weekly", "manual")
HOUR = 10
"""Payouts are due from ten o'clock by the clock that our members live by, weekly ones on Mondays."""
QUIET = timedelta(hours=24)
"""After a change nothing is paid for so long: whoever took an account over can't empty it before its owner notices."""
LOOK_SECONDS = 60.0
BATCH = 100
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Schedule:
    """A member's setting; ``effective_at`` is empty as long as nothing was ever set."""

    every: Every
    minimum_minor: int
    effective_at: datetime | None


def due_day(every: str, now: datetime) -> date | None:
    """The day of the latest payout that has come due, by Beijing time; none for those who ask themselves."""
    if every == "manual":
        return None
    today = midnight(now)
    latest = today if now >= today + timedelta(hours=HOUR) else today - timedelta(days=1)
    return (latest - timedelta(days=latest.weekday() if every == "weekly" else 0)).date()


def due_at(day: date, now: datetime) -> datetime:
    """The moment at which the payout of a day comes due."""
    return midnight(now).replace(year=day.year, month=day.month, day=day.day) + timedelta(hours=HOUR)


async def schedule_of(session: AsyncSession, member: Member) -> Schedule:
    """The member's setting; by hand when nothing was set."""
    row = await session.get(PayoutScheduleRow, member.party_id)
    if row is None:
        return Schedule("manual", SMALLEST_WITHDRAWAL_MINOR, None)
    every = next(each for each in EVERY if each == row.every)
    return Schedule(every, row.minimum_minor, row.effective_at)


async def runs(session: AsyncSession, member: Member) -> Sequence[PayoutRunRow]:
    """What came of the latest scheduled payouts, newest first."""
    query = select(PayoutRunRow).where(PayoutRunRow.party_id == member.party_id)
    return list(await session.scalars(query.order_by(PayoutRunRow.due.desc()).limit(SHOWN)))


async def change(venue: Venue, member: Member, every: str, minimum_minor: int, now: datetime) -> Schedule:
    """Set when a member is paid out, and from how much on. Payouts by it begin 24 hours later; stopping is at once.

    Raises:
        BadInput: there is no such rhythm, or the minimum can't be paid out.
        StepUpNeeded: the session has to prove itself first.
    """
    if every not in EVERY:
        raise BadInput("Choose daily, weekly or by hand.", field="every")
    if not SMALLEST_WITHDRAWAL_MINOR <= minimum_minor <= WITHDRAWALS_A_DAY_MINOR:
        raise BadInput("Please enter an amount that can be withdrawn.", field="minimum")
    await step_up.demand(venue, member, step_up.PAYOUT)
    values = {"every": every, "minimum_minor": minimum_minor, "effective_at": now + QUIET}
    async with venue.sessions.begin() as session:
        await lock_party(session, member)
        made = insert(PayoutScheduleRow).values(party_id=member.party_id, **values)
        await session.execute(made.on_conflict_do_update(index_elements=["party_id"], set_=values))
        await notices.tell(session, member.party_id, "payouts_changed", about="/wallet/payouts")
        detail: audit.Detail = {"every": every, "minimum_minor": minimum_minor}
        await audit.append(session, audit.party(member.party_id), "payout_schedule", f"party:{member.party_id}", detail)
        return await schedule_of(session, member)


async def keep(venue: Venue, now: datetime) -> int:
    """Begin what has come due, and take up again what could not be finished; says how many were looked at."""
    looked = 0
    for every in EVERY:
        day = due_day(every, now)
        if day is None:
            continue
        async with venue.sessions() as session:
            parties = list(await session.scalars(_due(every, day, now)))
        for party_id in parties:
            await _pay(venue, party_id, day)
        looked += len(parties)
    return looked


def _due(every: str, day: date, now: datetime) -> Select[int]:
    ended = exists().where(
        PayoutRunRow.party_id == PayoutScheduleRow.party_id, PayoutRunRow.due == day, PayoutRunRow.outcome.is_not(None)
    )
    query = select(PayoutScheduleRow.party_id).where(
        PayoutScheduleRow.every == every, PayoutScheduleRow.effective_at <= due_at(day, now), ~ended
    )
    return query.order_by(PayoutScheduleRow.party_id).limit(BATCH)


async def _pay(venue: Venue, party_id: int, day: date) -> None:
    """Begin one payout. How much is written down first, so that a second try asks for the same under the same key."""
    async with venue.sessions.begin() as session:
        who = await member(session, party_id)
        await lock_party(session, who)
        run = await session.get(PayoutRunRow, (party_id, day))
        if run is None:
            run = PayoutRunRow(party_id=party_id, due=day, amount_minor=await _payable(venue, session, who))
            session.add(run)
            run.outcome = None if run.amount_minor else "below_minimum"
        if run.outcome is not None:
            return
        amount_minor = run.amount_minor
    try:
        made = await withdraw(venue, who, amount_minor, f"payout-{day:%Y%m%d}")
    except Unavailable:
        return  # nothing was set aside; the next look asks again
    except Refusal as refusal:
        outcome = refusal.code
    else:
        outcome = made.status
    async with venue.sessions.begin() as session:
        run = await session.get_one(PayoutRunRow, (party_id, day))
        run.outcome = outcome
    log.info("scheduled_payout", party=party_id, outcome=outcome)


async def _payable(venue: Venue, session: AsyncSession, who: Member) -> int:
    """What is free in the wallet, as far as a day allows; nothing below the member's minimum."""
    money = await asset_id(session, venue.settings.currency)
    free = select(func.coalesce(func.sum(AccountRow.available), 0)).where(
        AccountRow.party_id == who.party_id, AccountRow.asset_id == money, AccountRow.kind.in_(("wallet", "debt"))
    )
    kept = await kept_back(session, who.party_id, datetime.now(UTC), venue.settings.phone_bill_wait_days)
    amount_minor = min(int(await session.scalar(free) or 0) - kept.minor, WITHDRAWALS_A_DAY_MINOR)
    return amount_minor if amount_minor >= (await schedule_of(session, who)).minimum_minor else 0


def paying(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Pay beside whatever else a program does."""
    return beside(venue, Rounds("payouts by schedule", lambda venue: keep(venue, datetime.now(UTC)), LOOK_SECONDS))
