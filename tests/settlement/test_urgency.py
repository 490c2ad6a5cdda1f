"""Near the end of a month, what expires first is claimed first."""

from datetime import timedelta
from uuid import uuid4

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import custody as books
from settlement import urgency
from settlement.claims import take
from settlement.tables import CustodyRow, InstructionRow
from settlement.worker import STEPS
from tests.settlement.making import a_custody, a_trade
from tests.settlement.test_custody import a_reservation

Sessions = async_sessionmaker[AsyncSession]


async def a_reserved(session: AsyncSession, expires_in: timedelta) -> CustodyRow:
    row = await a_custody(session, carrier="RUSH")
    row = await books.book_reservation(session, row.id, a_reservation(row))
    await session.execute(update(CustodyRow).where(CustodyRow.id == row.id).values(expires_at=func.now() + expires_in))
    return row


async def waiting(session: AsyncSession, expires_in: timedelta) -> tuple[str, int]:
    """A custody that waits to be given back."""
    row = await a_reserved(session, expires_in)
    await books.give_back(session, row.id)
    return "release", row.id


async def claimed(sessions: Sessions, limit: int) -> list[tuple[str, int]]:
    async with sessions.begin() as session:
        claims = await take(
            session, STEPS, "RUSH", limit=limit, holder=uuid4().hex, patience=timedelta(), budget=timedelta(minutes=5),
            mark="m",
        )  # fmt: skip
    return [(claim.kind, claim.subject_id) for claim in claims]


async def test_what_expires_first_is_claimed_first_and_before_what_is_not_urgent(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        later = await waiting(session, timedelta(days=20))
        evening = await waiting(session, timedelta(hours=9))
        noon = await waiting(session, timedelta(hours=3))
        seller = await a_reserved(session, timedelta(hours=6))
        trade = await a_trade(session, seller)
        tried = await waiting(session, timedelta(hours=1))
        named = (InstructionRow.kind == "release") & (InstructionRow.subject_id == tried[1])
        pause = {"attempt": 1, "not_before": func.now() + timedelta(minutes=1)}
        await session.execute(update(InstructionRow).where(named).values(pause))

    async with sessions.begin() as session:
        moved = await urgency.hurry(session), await urgency.hurry(session)

    assert moved == (3, 0)
    in_turn = [one for _ in range(4) for one in await claimed(sessions, 1)]
    assert in_turn == [noon, ("deliver", trade.id), evening, later]
