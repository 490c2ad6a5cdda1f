"""Carriers at which nothing new is opened for a while, and why. The caller commits."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.carrier_stop_tables import CarrierStopRow

AWAY = "away"
"""It has not answered for too long; ends by itself when it answers."""
BREAKS = "breaks"
"""Its books contradict ours too often; an officer ends it."""
SERIOUS = (
    "missing_there", "missing_here", "amount_differs", "status_differs", "done_twice", "unreadable", "custody_lapsed",
)  # fmt: skip
"""Breaks that speak against a carrier. What is in flight, or could not be compared, does not."""

_AWAY = text("""
    insert into carrier_stop (carrier, cause, detail)
    select lane, 'away', coalesce(reason, '') from lane_state
    where state <> 'closed' and since < now() - cast(:limit as interval) and lane = any (cast(:carriers as text[]))
    on conflict (carrier, cause) where ended_at is null do nothing returning carrier
""")
_BACK = text("""
    update carrier_stop set ended_at = now()
    where cause = 'away' and ended_at is null and not exists (
        select from lane_state where lane = carrier and state <> 'closed'
    ) returning carrier
""")
_CONTRADICTED = text("""
    insert into carrier_stop (carrier, cause, detail)
    select counterparty, 'breaks', format('run %s: %s new breaks', first_run_id, count(*)) from break_item
    where first_run_id = :run and counterparty = any (cast(:carriers as text[]))
        and cause = any (cast(:causes as text[]))
    group by counterparty, first_run_id having count(*) >= :limit
    on conflict (carrier, cause) where ended_at is null do nothing returning carrier
""")


async def look(session: AsyncSession, carriers: Sequence[str], limit: timedelta) -> tuple[list[str], list[str]]:
    """Stop carriers whose lane has been open for longer than ``limit``, and let go of those that answer again."""
    away = list(await session.scalars(_AWAY, {"carriers": list(carriers), "limit": limit}))
    return away, list(await session.scalars(_BACK))


async def look_at_breaks(session: AsyncSession, run_id: int, carriers: Sequence[str], limit: int) -> list[str]:
    """Stop the carriers of which a reconciliation has found ``limit`` new breaks or more; says which those are."""
    values = {"run": run_id, "carriers": list(carriers), "limit": limit, "causes": list(SERIOUS)}
    return list(await session.scalars(_CONTRADICTED, values))


async def in_force(session: AsyncSession) -> list[CarrierStopRow]:
    """The stops at present, oldest first."""
    query = select(CarrierStopRow).where(CarrierStopRow.ended_at.is_(None)).order_by(CarrierStopRow.id)
    return list(await session.scalars(query))


async def thaw(session: AsyncSession, carrier: str, officer_id: int) -> bool:
    """An officer trusts the carrier again; says whether it was stopped for its breaks."""
    ended = (
        update(CarrierStopRow)
        .where(CarrierStopRow.carrier == carrier, CarrierStopRow.cause == BREAKS, CarrierStopRow.ended_at.is_(None))
        .values(ended_at=text("now()"), ended_by=officer_id)
        .returning(CarrierStopRow.id)
    )
    return await session.scalar(ended) is not None
