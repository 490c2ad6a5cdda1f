"""Candles: each trade is read once, behind a mark, and the wider candles are made of the narrower.

Whoever reads candles adds the few trades behind the mark, so that the running candle is
right however late the scheduler is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market import data_tables  # noqa: F401 - the tables register themselves
from market.refusals import BadInput

WIDTHS = {"1m": 1, "15m": 15, "1h": 60, "1d": 1440}
"""Minutes of each width."""
MOST_CANDLES = 500
MOST_AT_ONCE = 1_000
"""Trades of one instrument that one pass takes in, so that catching up is many short transactions."""
MOST_BEHIND = 10_000
"""Trades behind the mark that a reader adds up. There are more only after a long time without a scheduler."""

ORIGIN = "timestamptz '2020-01-01 00:00:00+08'"
"""A midnight in Shanghai, where there is no summer time: all widths are counted from it."""


@dataclass(frozen=True, slots=True)
class Candle:
    """The trades of one period that had any; days begin at midnight in Shanghai."""

    at: datetime
    open_minor: int
    high_minor: int
    low_minor: int
    close_minor: int
    lots: int
    turnover_minor: int
    trades: int


def _rolled(name: str, finer: str, minutes: int) -> str:
    """Candles of one width, made of narrower ones."""
    return f"""
{name} as (
    select instrument_id, date_bin(interval '{minutes} minutes', at, {ORIGIN}) as at,
           (array_agg(open_minor order by at))[1] as open_minor, max(high_minor) as high_minor,
           min(low_minor) as low_minor, (array_agg(close_minor order by at desc))[1] as close_minor,
           sum(lots)::bigint as lots, sum(turnover_minor)::bigint as turnover_minor, sum(trades)::bigint as trades
    from {finer} group by 1, 2
)"""  # noqa: S608 - the names are our own


_NEW_MARKS = text(
    """
insert into candle_mark (instrument_id, at, trade_id, last_minor, is_final)
select id, 'epoch', 0, null, false from instrument
where state <> 'closed' and not exists (select from candle_mark where instrument_id = instrument.id)
on conflict do nothing
"""
)
# A mark that another scheduler holds is passed over: that one takes these trades in. A mark that has just been moved
# is read as it is now, so that no trade is taken twice.
_TAKE_IN = text(
    f"""
with going_on as (
    select mark.instrument_id, mark.at, mark.trade_id, instrument.state = 'closed' as is_closed
    from candle_mark mark join instrument on instrument.id = mark.instrument_id
    where not mark.is_final
    for update of mark skip locked
), fresh as materialized (
    select going_on.instrument_id, found.id, found.at, found.price_minor, found.quantity
    from going_on cross join lateral (
        select id, at, price_minor, quantity from trade
        where trade.instrument_id = going_on.instrument_id
          and (trade.at, trade.id) > (going_on.at, going_on.trade_id)
        order by trade.at, trade.id limit :most
    ) found
), minute as (
    select instrument_id, date_bin(interval '1 minute', fresh.at, {ORIGIN}) as at,
           (array_agg(price_minor order by fresh.at, id))[1] as open_minor, max(price_minor) as high_minor,
           min(price_minor) as low_minor,
           (array_agg(price_minor order by fresh.at desc, id desc))[1] as close_minor,
           sum(quantity)::bigint as lots, sum(price_minor * quantity)::bigint as turnover_minor, count(*) as trades
    from fresh group by 1, 2
), {_rolled("quarter", "minute", 15)}, {_rolled("hour", "quarter", 60)}, {_rolled("day", "hour", 1440)}, kept as (
    insert into candle (width_minutes, instrument_id, at, open_minor, high_minor, low_minor, close_minor, lots,
        turnover_minor, trades)
    select 1, * from minute union all select 15, * from quarter
    union all select 60, * from hour union all select 1440, * from day
    on conflict (instrument_id, width_minutes, at) do update set
        high_minor = greatest(candle.high_minor, excluded.high_minor),
        low_minor = least(candle.low_minor, excluded.low_minor),
        close_minor = excluded.close_minor,
        lots = candle.lots + excluded.lots,
        turnover_minor = candle.turnover_minor + excluded.turnover_minor,
        trades = candle.trades + excluded.trades,
        updated_at = now()
), moved as (
    update candle_mark mark set at = last.at, trade_id = last.id, last_minor = last.price_minor
    from (
        select distinct on (instrument_id) instrument_id, at, id, price_minor
        from fresh order by instrument_id, at desc, id desc
    ) last where mark.instrument_id = last.instrument_id
), ended as (
    update candle_mark mark set is_final = true from going_on
    where mark.instrument_id = going_on.instrument_id and going_on.is_closed
      and not exists (select from fresh where fresh.instrument_id = going_on.instrument_id)
)
select coalesce(sum(taken), 0)::bigint as taken, coalesce(max(taken), 0) as longest
from (select count(*) as taken from fresh group by instrument_id) counted
"""  # noqa: S608 - the names are our own
)
_READ = text(
    f"""
with mark as (
    select coalesce(max(at), 'epoch') as at, coalesce(max(trade_id), 0) as trade_id
    from candle_mark where instrument_id = :instrument_id
), behind as (
    select at, id, price_minor, quantity from trade
    where instrument_id = :instrument_id and (at, id) > ((select at from mark), (select trade_id from mark))
    order by at, id limit :most_behind
), fresh as (
    select date_bin(:minutes * interval '1 minute', behind.at, {ORIGIN}) as at,
           (array_agg(price_minor order by behind.at, id))[1] as open_minor, max(price_minor) as high_minor,
           min(price_minor) as low_minor,
           (array_agg(price_minor order by behind.at desc, id desc))[1] as close_minor,
           sum(quantity) as lots, sum(price_minor * quantity) as turnover_minor, count(*) as trades
    from behind group by 1
), kept as (
    select at, open_minor, high_minor, low_minor, close_minor, lots, turnover_minor, trades from candle
    where instrument_id = :instrument_id and width_minutes = :minutes and at >= :since and at < :until
    order by at limit :limit
)
select at, (array_agg(open_minor order by part))[1] as open_minor, max(high_minor) as high_minor,
       min(low_minor) as low_minor, (array_agg(close_minor order by part desc))[1] as close_minor,
       sum(lots)::bigint as lots, sum(turnover_minor)::bigint as turnover_minor, sum(trades)::bigint as trades
from (
    select 1 as part, * from kept union all
    select 2, * from fresh where at >= :since and at < :until
) both_parts
group by at order by at limit :limit
"""  # noqa: S608 - the names are our own
)


async def keep(sessions: async_sessionmaker[AsyncSession]) -> int:
    """Bring the candles of all instruments up to their trades; gives how many trades were taken in.

    Each pass is one transaction. Two schedulers at once share the work.
    """
    taken = 0
    while True:
        async with sessions() as session:
            await session.execute(_NEW_MARKS)
            row = (await session.execute(_TAKE_IN, {"most": MOST_AT_ONCE})).one()
            await session.commit()
        taken += int(row.taken)
        if row.longest < MOST_AT_ONCE:
            return taken


def minutes_of(width: str) -> int:
    """The minutes of a width by its name.

    Raises:
        BadInput: there is no such width.
    """
    if width not in WIDTHS:
        raise BadInput(f"The period is one of {', '.join(WIDTHS)}.", field="width")
    return WIDTHS[width]


async def between(
    session: AsyncSession,
    instrument_id: int,
    width: str,
    *,
    since: datetime,
    until: datetime,
    limit: int = MOST_CANDLES,
) -> list[Candle]:
    """The first candles that begin in a span, oldest first, without empty ones. The running one is as of now.

    Raises:
        BadInput: there is no such width.
    """
    values = {
        "instrument_id": instrument_id, "minutes": minutes_of(width), "since": since, "until": until,
        "limit": max(1, min(limit, MOST_CANDLES)), "most_behind": MOST_BEHIND,
    }  # fmt: skip
    rows = (await session.execute(_READ, values)).mappings()
    return [Candle(**row) for row in rows]


async def latest(session: AsyncSession, instrument_id: int, width: str, limit: int, now: datetime) -> list[Candle]:
    """The candles of the last so many periods, oldest first, without empty ones.

    Raises:
        BadInput: there is no such width.
    """
    span = timedelta(minutes=minutes_of(width) * max(1, min(limit, MOST_CANDLES)))
    return await between(session, instrument_id, width, since=now - span, until=now + timedelta(days=1), limit=limit)
