"""Claims: taken once, kept until the deadline, and worth nothing after it."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import custody as books
from settlement.claims import Claim, conclude, judged, next_due, reopen, take
from settlement.delivery import DELIVER
from settlement.instructions import Done
from settlement.tables import InstructionRow
from settlement.worker import STEPS
from tests.settlement.making import a_custody, a_trade, instruct
from tests.settlement.test_custody import a_reservation

Sessions = async_sessionmaker[AsyncSession]
PATIENCE = timedelta(seconds=60)
RULES = DELIVER.rules(PATIENCE)


async def trades(sessions: Sessions, lane: str, count: int) -> None:
    """Some trades at a carrier of their own, so that no other test takes them."""
    async with sessions.begin() as session:
        row = await a_custody(session, lane, 1000)
        await books.book_reservation(session, row.id, a_reservation(row))
        for _ in range(count):
            await a_trade(session, row, quantity=10, amount_minor=10, fee_minor=1)


async def taken(sessions: Sessions, lane: str, holder: str, limit: int = 10) -> list[Claim]:
    budget = timedelta(seconds=30)
    async with sessions.begin() as session:
        return await take(
            session, STEPS, lane, limit=limit, holder=holder, patience=PATIENCE, budget=budget, mark="test"
        )


async def lapse(sessions: Sessions, lane: str) -> None:
    """Let the deadline of every claim on the lane have passed."""
    past = InstructionRow.claim_deadline - timedelta(minutes=5)
    async with sessions.begin() as session:
        claimed = update(InstructionRow).where(InstructionRow.lane == lane, InstructionRow.status == "claimed")
        await session.execute(claimed.values(claim_deadline=past, not_before=past))


async def states(sessions: Sessions, lane: str) -> list[str]:
    async with sessions() as session:
        query = select(InstructionRow.status).where(InstructionRow.lane == lane)
        return list(await session.scalars(query.order_by(InstructionRow.id)))


async def test_workers_at_once_never_take_the_same_instruction(sessions: Sessions) -> None:
    await trades(sessions, "C1", 40)

    shares = await asyncio.gather(*(taken(sessions, "C1", f"w{number}", limit=7) for number in range(8)))

    ids = [claim.id for share in shares for claim in share]
    assert len(ids) == len(set(ids)) == 40


async def test_the_attempt_its_deadline_and_what_is_sent_are_written_before_it_is_sent(sessions: Sessions) -> None:
    await trades(sessions, "C2", 1)

    (claim,) = await taken(sessions, "C2", "w1")

    async with sessions() as session:
        row = await session.get_one(InstructionRow, claim.id)
    assert (row.status, row.claimed_by, row.attempt) == ("claimed", "w1", 1)
    assert row.claim_deadline is not None
    assert row.last_sent_at is not None
    assert row.claim_deadline - row.last_sent_at == timedelta(seconds=30)
    assert row.request_hash is not None
    assert await taken(sessions, "C2", "w2") == []


async def test_a_lapsed_claim_becomes_unknown_and_is_never_just_sent_again(sessions: Sessions) -> None:
    await trades(sessions, "C3", 1)
    await taken(sessions, "C3", "w1")
    await lapse(sessions, "C3")

    assert await taken(sessions, "C3", "w2") == []
    assert await states(sessions, "C3") == ["unknown"]
    (asking,) = await taken(sessions, "C3", "w2")

    assert asking.attempt.asking
    assert asking.attempt.number == 1


async def test_a_result_that_comes_after_the_claim_has_lapsed_counts_for_nothing(sessions: Sessions) -> None:
    await trades(sessions, "C4", 1)
    (late,) = await taken(sessions, "C4", "w1")
    await lapse(sessions, "C4")
    await taken(sessions, "C4", "w2")

    async with sessions.begin() as session:
        standing = await conclude(session, [judged(late, Done("m-1"), RULES, late.attempt.last_sent_at)])

    assert standing == []
    assert await states(sessions, "C4") == ["unknown"]


async def test_an_instruction_without_a_subject_ends_with_a_person_and_one_of_no_known_kind_waits(
    sessions: Sessions,
) -> None:
    async with sessions.begin() as session:
        await instruct(session, "deliver", 10**12, "C5")
        await instruct(session, "juggle", 10**12, "C5")

    claims = await taken(sessions, "C5", "w1")
    async with sessions.begin() as session:
        results = [judged(claim, claim.outcome, RULES, claim.attempt.last_sent_at) for claim in claims if claim.outcome]
        await conclude(session, results)

    assert await states(sessions, "C5") == ["dead", "ready"]


async def test_a_changed_request_under_an_old_name_ends_with_a_person(sessions: Sessions) -> None:
    await trades(sessions, "C6", 1)
    async with sessions.begin() as session:
        other = update(InstructionRow).where(InstructionRow.lane == "C6")
        await session.execute(other.values(request_hash=b"another"))

    (claim,) = await taken(sessions, "C6", "w1")

    assert "not what we sent before" in repr(claim.outcome)


async def test_the_dead_are_asked_for_when_a_person_reopens_them(sessions: Sessions) -> None:
    await trades(sessions, "C7", 1)
    (claim,) = await taken(sessions, "C7", "w1")
    async with sessions.begin() as session:
        dead = update(InstructionRow).where(InstructionRow.id == claim.id)
        await session.execute(dead.values(status="dead"))

    async with sessions.begin() as session:
        assert await reopen(session, claim.id) == "C7"
        assert await reopen(session, claim.id) is None
    (asking,) = await taken(sessions, "C7", "w2")

    assert asking.attempt.asking


@pytest.mark.parametrize(("lane", "count"), [("C8", 2), ("C9", 0)])
async def test_a_lane_says_when_it_is_due(sessions: Sessions, lane: str, count: int) -> None:
    await trades(sessions, lane, count)

    async with sessions() as session:
        due = await next_due(session, [lane])

    assert [name for name, pause in due.items() if pause <= timedelta()] == ([lane] if count else [])
