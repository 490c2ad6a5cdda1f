"""The course of every instrument over the last days, in a few points: for lists that show many at once."""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

SPAN = timedelta(days=7)
MOST_POINTS = 42
FINE = timedelta(days=2)
"""A market that is younger is drawn by its quarter hours, so that its first days show a course too."""

# Of each instrument the candles of the span are walked once; there are at most so many, however much was traded.
_POINTS = text(
    f"""
with begun as (
    select i.id, (select min(c.at) from candle c
                  where c.instrument_id = i.id and c.width_minutes = 60 and c.at >= :since) as at
    from instrument i where i.state <> 'closed' and i.closes_at > :now
)
select instrument_id, array_agg(close_minor order by step) as points from (
    select c.instrument_id,
           date_bin(greatest(interval '15 minutes', (cast(:now as timestamptz) - begun.at) / {MOST_POINTS}),
                    c.at, begun.at) as step,
           (array_agg(c.close_minor order by c.at desc))[1] as close_minor
    from begun join candle c on c.instrument_id = begun.id and c.at >= begun.at
        and c.width_minutes = case when begun.at > :fine then 15 else 60 end
    group by 1, 2
) steps group by instrument_id
"""  # noqa: S608 - the number is our own
)


async def read(session: AsyncSession, now: datetime) -> dict[int, tuple[int, ...]]:
    """By instrument the price at the end of each step that had trades, oldest first, in minor units per lot."""
    values = {"now": now, "since": now - SPAN, "fine": now - FINE}
    rows = await session.execute(_POINTS, values)
    return {row.instrument_id: tuple(row.points) for row in rows}
