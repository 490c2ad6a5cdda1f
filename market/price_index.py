"""The daily price index of each carrier: what 1 GB of its data cost, over all its instruments.

Each minute in which an instrument traded is one quote: its price weighted by volume, so
that a burst of small trades counts no more than one large one. The index's median is
that of the quotes. With three quotes or more those further than 5 % from it are left
out, and the average weighs by volume what remains. A day is Shanghai's.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

MB_PER_GB = 1_000
OUTLIER_PERCENT = 5
QUOTES_TO_JUDGE = 3
"""With fewer quotes nobody can say which is the odd one."""
PAUSE = timedelta(minutes=1)
"""A day that is traded on is reckoned up again this often."""
MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class IndexDay:
    """One carrier's index of one day. Prices are minor units for 1 GB (1,000 MB)."""

    carrier: str
    day: date
    currency: str
    median_minor: int
    average_minor: int
    volume_mb: int
    trades: int
    dropped_trades: int
    updated_at: datetime


# Days are reckoned up anew whole, from the daily candles that have changed since the last time; a minute before that is
# looked at again, for what was being written then. Doing it twice, or by two schedulers at once, changes nothing.
_KEEP = text(
    """
with newest as (
    select max(updated_at) as at from price_index
), due as (
    select distinct asset.carrier, instrument.currency, candle.at
    from candle join instrument on instrument.id = candle.instrument_id join asset on asset.id = instrument.asset_id
    where candle.width_minutes = 1440 and asset.kind = 'data'
      and candle.updated_at > coalesce((select at from newest) - interval '1 minute', 'epoch')
      and coalesce((select at from newest) <= now() - cast(:pause as interval), true)
), quote as (
    select due.carrier, due.currency, due.at, candle.turnover_minor as amount_minor, candle.trades,
           candle.lots * instrument.lot_units as units,
           greatest(candle.turnover_minor * :gb / (candle.lots * instrument.lot_units), 1) as price_minor
    from due join asset on asset.carrier = due.carrier and asset.kind = 'data'
    join instrument on instrument.asset_id = asset.id and instrument.currency = due.currency
    join candle on candle.instrument_id = instrument.id and candle.width_minutes = 1
     and candle.at >= due.at and candle.at < due.at + interval '1 day'
), middle as (
    select carrier, currency, at, count(*) as quotes,
           percentile_disc(0.5) within group (order by price_minor) as median_minor
    from quote group by 1, 2, 3
), judged as (
    select quote.*, median_minor,
           quotes < :enough or abs(price_minor - median_minor) * 100 <= :percent * median_minor as is_kept
    from quote join middle using (carrier, currency, at)
)
insert into price_index (carrier, day, currency, median_minor, average_minor, volume_mb, trades, dropped_trades,
    updated_at)
select carrier, (at at time zone 'Asia/Shanghai')::date, currency, min(median_minor),
       greatest(div(sum(amount_minor) filter (where is_kept) * :gb, sum(units) filter (where is_kept)), 1)::bigint,
       (sum(units) filter (where is_kept))::bigint, (sum(trades) filter (where is_kept))::bigint,
       coalesce(sum(trades) filter (where not is_kept), 0)::bigint, now()
from judged group by carrier, currency, at order by carrier, currency, at
on conflict (carrier, day, currency) do update set
    median_minor = excluded.median_minor, average_minor = excluded.average_minor, volume_mb = excluded.volume_mb,
    trades = excluded.trades, dropped_trades = excluded.dropped_trades, updated_at = excluded.updated_at
"""
)
_READ = text(
    """
select carrier, day, currency, median_minor, average_minor, volume_mb, trades, dropped_trades, updated_at
from price_index
where carrier = coalesce(cast(:carrier as text), carrier) and day between :first_day and :last_day
order by day desc, carrier, currency limit :limit
"""
)


async def keep(sessions: async_sessionmaker[AsyncSession], pause: timedelta = PAUSE) -> None:
    """Reckon up the days on which something was traded since the last time, but not more often than after a pause."""
    values = {"gb": MB_PER_GB, "enough": QUOTES_TO_JUDGE, "percent": OUTLIER_PERCENT, "pause": pause}
    async with sessions() as session:
        await session.execute(_KEEP, values)
        await session.commit()


async def read(
    session: AsyncSession, carrier: str | None, first_day: date, last_day: date, limit: int = MOST_ROWS
) -> list[IndexDay]:
    """The index of one carrier or of all, newest day first; both days are included. A day without trades has none."""
    values = {
        "carrier": carrier, "first_day": first_day, "last_day": last_day, "limit": max(1, min(limit, MOST_ROWS)),
    }  # fmt: skip
    return [IndexDay(**row) for row in (await session.execute(_READ, values)).mappings()]
