"""How much data a line uses a day, told from our own readings of its buckets.

No standard reports usage by day. Each time the buckets of a line are asked for anyway, and once a night for lines on
autopilot, what they show is kept: one row for each kind of data and day of the carrier. Usage is by how much they fell
from one row to the next, less what our own trades moved; reservations move nothing, for what is reserved counts as
being there. This works at every carrier. A journal of deductions, which few carriers offer and which may be long, is
read once for a line: it fills the days before the first reading.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import delete, exists, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market.forecast import DayUsage
from market.parties import Line, Member, lines
from market.tables import LineRow
from market.usage_days import Kind, Reading, Sort, backwards, by_day, day_of, kind_of, kinds
from market.usage_tables import DataReadingRow
from market.venue import Venue
from settlement.carriers.errors import CarrierError
from settlement.carriers.line_usage import Deduction, LineUsage
from settlement.carriers.values import Bucket

log = structlog.get_logger("surplusflow.usage")

LOOKBACK = timedelta(days=62)
"""This month and the last one."""
Daily = Mapping[Sort, Sequence[DayUsage]]


class Told(NamedTuple):
    """What a carrier says of a line: its buckets, and what was used of them as far as that was asked."""

    buckets: Sequence[Bucket]
    deductions: Sequence[Deduction] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A line with its buckets and its days. Without ``buckets`` the carrier did not answer in time."""

    line: Line
    buckets: Sequence[Bucket] | None
    daily: Daily = field(default_factory=dict)


async def look(
    venue: Venue, member: Member, now: datetime, *, patience_seconds: float, only: int | None = None
) -> list[Seen]:
    """The member's lines with what is left on them and what they use a day; the carriers are asked at once.

    ``only`` names the one line that is asked for.

    A carrier that takes longer than ``patience_seconds`` keeps nobody waiting: its line comes without buckets.
    """
    own = [line for line in await lines(venue, member) if only in {None, line.id}]
    async with venue.sessions() as session:
        found = select(LineRow.id, LineRow.number_sealed).where(LineRow.id.in_([line.id for line in own]))
        numbers = {row.id: venue.vault.open(row.number_sealed) for row in await session.execute(found)}
        begun = await _begun(session, numbers)
    answers = await asyncio.gather(
        *(_ask(venue, line.carrier, numbers[line.id], patience_seconds, now, begun=line.id in begun) for line in own)
    )
    async with venue.sessions.begin() as session:
        told = {line.id: answer for line, answer in zip(own, answers, strict=True) if answer is not None}
        await note(session, member.party_id, told, now)
        days = await daily(session, [line.id for line in own], now)
    return [
        Seen(
            line, None if answer is None else [each for each in answer.buckets if each.expires_at > now], days[line.id]
        )
        for line, answer in zip(own, answers, strict=True)
    ]


async def _begun(session: AsyncSession, line_ids: Iterable[int]) -> set[int]:
    """The lines that have a reading."""
    has_one = exists().where(DataReadingRow.line_id == LineRow.id)
    return set(await session.scalars(select(LineRow.id).where(LineRow.id.in_(list(line_ids)), has_one)))


async def _ask(
    venue: Venue, carrier: str, msisdn: str, patience_seconds: float, now: datetime, *, begun: bool
) -> Told | None:
    """A line's buckets, and its deductions when nothing is known of it yet; none when the carrier does not answer."""
    port = venue.carriers.get(carrier)
    if port is None:
        return None
    try:
        async with asyncio.timeout(patience_seconds):
            buckets = await port.buckets(msisdn)
    except (CarrierError, TimeoutError) as error:
        log.warning("buckets_not_known", carrier=carrier, error=type(error).__name__)
        return None
    if begun or not isinstance(port, LineUsage):
        return Told(buckets)
    try:
        async with asyncio.timeout(patience_seconds):
            return Told(buckets, await port.deductions(msisdn, now - LOOKBACK, now))
    except (CarrierError, TimeoutError) as error:
        log.info("deductions_not_known", carrier=carrier, error=type(error).__name__)
        return Told(buckets)


async def note(session: AsyncSession, party_id: int, told: Mapping[int, Told], now: datetime) -> None:
    """Keep what the buckets of a party's lines show as this day's reading, and the days before that a journal tells."""
    today = day_of(now)
    earlier = [
        {**row, "line_id": line_id, "read_at": now}
        for line_id, each in told.items()
        if each.deductions
        for row in _earlier(each, today)
    ]
    if earlier:
        await session.execute(insert(DataReadingRow).on_conflict_do_nothing(), earlier)
    seen = [
        (line_id, *kind, *amounts)
        for line_id, each in told.items()
        for kind, amounts in kinds(each.buckets).items()
        if kind.expires_at > now
    ]
    if seen:
        columns = ("lines", "scopes", "apps", "ends", "remaining", "reserved")
        arrays = dict(zip(columns, map(list, zip(*seen, strict=True)), strict=True))
        values = {"party": party_id, "day": today, "at": now, "since": today - LOOKBACK, **arrays}
        await session.execute(_NOTE, values)


def _earlier(told: Told, today: date) -> Iterator[dict[str, object]]:
    """The readings that there would have been on the days before."""
    found = kinds(told.buckets)
    sources = {each.id: kind_of(each) for each in told.buckets}
    for kind, rows in backwards(found, sources, told.deductions, today).items():
        for day, remaining_mb in rows:
            amounts = {"remaining_mb": remaining_mb, "reserved_mb": found[kind][1], "moved_mb": 0}
            yield {**kind._asdict(), "day": day, **amounts}


async def forget(session: AsyncSession, now: datetime) -> None:
    """Delete readings that nobody looks at any more, some of them at a time. The caller commits."""
    old = select(DataReadingRow.line_id, DataReadingRow.day).where(DataReadingRow.day < day_of(now) - 2 * LOOKBACK)
    found = tuple_(DataReadingRow.line_id, DataReadingRow.day)
    await session.execute(delete(DataReadingRow).where(found.in_(old.limit(FORGOTTEN_AT_ONCE))))


FORGOTTEN_AT_ONCE = 5_000
MOST_TRADES = 500
"""Of each side, the newest ones: who trades more from one day to the next has no usage that anybody could tell."""

_NOTE = text(f"""
    with seen as (
        select * from unnest(
            cast(:lines as bigint[]), cast(:scopes as text[]), cast(:apps as text[]), cast(:ends as timestamptz[]),
            cast(:remaining as bigint[]), cast(:reserved as bigint[])
        ) as seen (line_id, scope, app_scope, expires_at, remaining_mb, reserved_mb)
    ), former as (
        select distinct on (line_id, scope, app_scope, expires_at)
            line_id, scope, app_scope, expires_at, moved_mb, read_at
        from data_reading where line_id = any(:lines) and day < :day and day >= :since
        order by line_id, scope, app_scope, expires_at, day desc
    ), sold as (
        select id, instrument_id, at from trade where seller_id = :party order by id desc limit {MOST_TRADES}
    ), bought as (
        select id, instrument_id, at from trade where buyer_id = :party order by id desc limit {MOST_TRADES}
    ), moved as (
        select custody.line_id, instrument_id, delivery.quantity as amount_mb, delivered_at
        from sold join delivery using (id) join custody on custody.id = custody_id
        where delivery.status in ('delivered', 'settled')
        union all
        select receiver_line_id, instrument_id, -delivery.quantity, delivered_at
        from bought join delivery using (id)
        where receiver_line_id is not null and delivery.status in ('delivered', 'settled')
    )
    insert into data_reading (line_id, scope, app_scope, expires_at, day, remaining_mb, reserved_mb, moved_mb, read_at)
    select seen.line_id, seen.scope, seen.app_scope, seen.expires_at, :day, remaining_mb, reserved_mb,
        coalesce(former.moved_mb, 0) + coalesce((
            select sum(amount_mb) from moved join instrument on instrument.id = instrument_id
            join asset on asset.id = asset_id
            where moved.line_id = seen.line_id and asset.scope = seen.scope
                and coalesce(asset.app_scope, '') = seen.app_scope and asset.expires_at = seen.expires_at
                and delivered_at > former.read_at and delivered_at <= :at
        ), 0), :at
    from seen left join former using (line_id, scope, app_scope, expires_at)
    where not exists (select from sold having count(*) = {MOST_TRADES} and min(at) > former.read_at)
        and not exists (select from bought having count(*) = {MOST_TRADES} and min(at) > former.read_at)
    on conflict on constraint pk_data_reading do update
        set remaining_mb = excluded.remaining_mb, reserved_mb = excluded.reserved_mb, moved_mb = excluded.moved_mb,
            read_at = excluded.read_at
        where data_reading.read_at < excluded.read_at
""")  # noqa: S608 - the number is our own

_READINGS = text("""
    select line_id, scope, app_scope, expires_at, day, remaining_mb + reserved_mb as whole_mb, moved_mb
    from data_reading where line_id = any(:lines) and day >= :since
    order by line_id, scope, app_scope, expires_at, day
""")


async def daily(session: AsyncSession, line_ids: Sequence[int], now: datetime) -> dict[int, dict[Sort, list[DayUsage]]]:
    """What each line used of each sort of data on the whole days of this month and the last, oldest first."""
    today = day_of(now)
    found: dict[int, dict[Kind, list[Reading]]] = {line_id: defaultdict(list) for line_id in line_ids}
    for row in await session.execute(_READINGS, {"lines": list(line_ids), "since": today - LOOKBACK}):
        kind = Kind(row.scope, row.app_scope, row.expires_at)
        found[row.line_id][kind].append(Reading(row.day, row.whole_mb, row.moved_mb))
    return {line_id: by_day(readings, today) for line_id, readings in found.items()}
