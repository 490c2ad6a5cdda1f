"""What members were told: to read, to count, and to mark as read."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.notice_tables import NoticeRow
from settlement.notices import Fact, tell

__all__ = ["UNREAD", "Fact", "forget", "latest", "read_all", "tell", "unread"]

MOST_COUNTED = 99
KEPT = timedelta(days=180)
FORGOTTEN_AT_ONCE = 5_000

UNREAD = select(func.count()).select_from(
    select(NoticeRow.id)
    .where(NoticeRow.party_id == bindparam("party_id"), NoticeRow.read_at.is_(None))
    .limit(MOST_COUNTED + 1)
    .subquery()
)
"""How many notices the party ``party_id`` has not read, as `unread` counts them."""


async def unread(session: AsyncSession, party_id: int) -> int:
    """How many notices a party has not read; no more than 100 are counted."""
    return await session.scalar(UNREAD, {"party_id": party_id}) or 0


async def latest(session: AsyncSession, party_id: int, limit: int, before: int | None = None) -> Sequence[NoticeRow]:
    """A party's notices, newest first; ``before`` is the last id of the page before."""
    query = select(NoticeRow).where(NoticeRow.party_id == party_id)
    if before is not None:
        query = query.where(NoticeRow.id < before)
    return list(await session.scalars(query.order_by(NoticeRow.id.desc()).limit(limit)))


async def read_all(session: AsyncSession, party_id: int, up_to: int) -> None:
    """Mark what the member has seen; what came after ``up_to`` stays new. The caller commits."""
    await session.execute(
        update(NoticeRow)
        .where(NoticeRow.party_id == party_id, NoticeRow.read_at.is_(None), NoticeRow.id <= up_to)
        .values(read_at=func.now())
    )


async def forget(session: AsyncSession, now: datetime | None = None) -> None:
    """Delete what is older than half a year, some of it at a time. The caller commits."""
    old = select(NoticeRow.id).where(NoticeRow.at < (now or datetime.now(UTC)) - KEPT).limit(FORGOTTEN_AT_ONCE)
    await session.execute(delete(NoticeRow).where(NoticeRow.id.in_(old)))
