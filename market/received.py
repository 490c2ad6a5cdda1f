"""Data that a line has received, when its plan changes: kept back while the plan does not receive, then there again.

No standard tells of it: the carrier tells of the plan, and its rules say which plans receive. Purchases
for such a line are refused by the same rules.
"""

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import rules
from market.custody import month_start
from market.line_tables import ReceivedSuspensionRow
from market.tables import LineRow
from settlement.notices import tell
from settlement.tables import DeliveryRow


async def follow(session: AsyncSession, line: LineRow, plan: str, now: datetime) -> None:
    """Note what a changed plan means for what the line received this month, and tell its owner. The caller commits."""
    profile = await rules.profile(session, line.carrier, now)
    if any(receiver == plan for _, receiver in profile.plans):
        await _restore(session, line, now)
    else:
        await _suspend(session, line, now)


async def _suspend(session: AsyncSession, line: LineRow, now: datetime) -> None:
    since = month_start(now)
    received = select(func.sum(DeliveryRow.quantity)).where(
        DeliveryRow.receiver_line_id == line.id,
        DeliveryRow.status.in_(("delivered", "settled")),
        DeliveryRow.delivered_at >= since,
    )
    quantity_mb = await session.scalar(received)
    if not quantity_mb:
        return
    values = {"line_id": line.id, "month": since.date(), "quantity_mb": int(quantity_mb), "restored_at": None}
    again = insert(ReceivedSuspensionRow).values(values)
    await session.execute(again.on_conflict_do_update(index_elements=["line_id", "month"], set_=values))
    await tell(session, line.party_id, "received_suspended", "/", quantity_mb=int(quantity_mb))


async def _restore(session: AsyncSession, line: LineRow, now: datetime) -> None:
    """Only within the month: what was received before has run out meanwhile."""
    suspended = (
        update(ReceivedSuspensionRow)
        .where(
            ReceivedSuspensionRow.line_id == line.id,
            ReceivedSuspensionRow.month == month_start(now).date(),
            ReceivedSuspensionRow.restored_at.is_(None),
        )
        .values(restored_at=func.now())
        .returning(ReceivedSuspensionRow.quantity_mb)
    )
    quantity_mb = await session.scalar(suspended)
    if quantity_mb is not None:
        await tell(session, line.party_id, "received_restored", "/", quantity_mb=quantity_mb)
