"""How the lanes stand and what waits on them, for the desk and the metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.steps import HOUSE_LANE, PROVIDER_LANE

_LANES = text("""
    select coalesce(queue.lane, stands.lane) as lane, coalesce(state, 'closed') as state, since, next_try_at, reason,
        coalesce(waiting, 0) as waiting, oldest_at,
        coalesce(extract(epoch from now() - oldest_at), 0)::bigint as oldest_seconds
    from (
        select lane, count(*) as waiting, min(created_at) as oldest_at from instruction
        where status in ('ready', 'claimed', 'unknown') group by lane
    ) queue full join lane_state stands on stands.lane = queue.lane
    where cast(:lane as text) is null or coalesce(queue.lane, stands.lane) = :lane
    order by 1
""")


@dataclass(frozen=True, slots=True)
class Queue:
    """One lane: how its breaker stands, and the instructions on it that have not ended."""

    lane: str
    state: str
    since: datetime | None
    next_try_at: datetime | None
    reason: str | None
    waiting: int
    oldest_at: datetime | None
    oldest_seconds: int

    @property
    def is_carrier(self) -> bool:
        return self.lane not in {HOUSE_LANE, PROVIDER_LANE}


async def of_lanes(session: AsyncSession, lane: str | None = None) -> Sequence[Queue]:
    """The lanes that have something waiting or ever failed, by name; or the one that is named."""
    return [Queue(*row) for row in await session.execute(_LANES, {"lane": lane})]
