"""Nothing is late in silence: after a quarter of an hour it is said why, and no longer when it has ended."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from market.database import raw_dsn
from market.verify import verify
from settlement import escalation
from settlement.tables import DeliveryRow
from tests.settlement.world import World

LATE = timedelta(minutes=16)


async def _late_trade(world: World, instruction: str, attempt: int = 1) -> DeliveryRow:
    custody = await world.reserved(300)
    trade = await world.traded(custody, quantity=300)
    values = {"id": trade.id, "late": LATE, "status": instruction, "attempt": attempt}
    async with world.sessions.begin() as session:
        await session.execute(
            text("update delivery set created_at = now() - cast(:late as interval) where id = :id"),
            {"id": trade.id, "late": LATE},
        )
        await session.execute(
            text(
                "update instruction set status = :status, attempt = :attempt,"
                " created_at = now() - cast(:late as interval) where kind = 'deliver' and subject_id = :id"
            ),
            values,
        )
    return trade


@pytest.mark.parametrize(
    ("instruction", "attempt", "cause"),
    [("unknown", 1, "unconfirmed"), ("ready", 0, "waiting"), ("ready", 3, "trying"), ("dead", 1, "person")],
)
async def test_a_late_delivery_is_escalated_with_the_class_of_its_reason(
    world: World, instruction: str, attempt: int, cause: str
) -> None:
    trade = await _late_trade(world, instruction, attempt)

    async with world.sessions.begin() as session:
        told = await escalation.look(session)
        found = await escalation.of_subjects(session, "delivery", [trade.id])
        again = await escalation.look(session)

    assert found[trade.id].cause == cause
    assert len(told) >= 2
    assert again == set()


async def test_a_delivery_in_time_is_not_escalated_and_one_that_has_ended_no_longer(world: World) -> None:
    custody = await world.reserved(300)
    fresh = await world.traded(custody, quantity=300)
    late = await _late_trade(world, "dead")
    async with world.sessions.begin() as session:
        await escalation.look(session)
        found = await escalation.of_subjects(session, "delivery", [fresh.id, late.id])
        assert set(found) == {late.id}
        await session.execute(text("update delivery set status = 'refunded' where id = :id"), {"id": late.id})

    async with world.sessions.begin() as session:
        await escalation.look(session)
        assert await escalation.of_subjects(session, "delivery", [late.id]) == {}
        await session.execute(text("update delivery set status = 'pending' where id = :id"), {"id": late.id})


async def test_verify_finds_what_is_late_in_silence(world: World, database_url: str) -> None:
    trade = await _late_trade(world, "unknown")
    async with world.sessions.begin() as session:
        await session.execute(
            text("update delivery set created_at = now() - interval '2 hours' where id = :id"), {"id": trade.id}
        )

    async def breaches() -> list[str]:
        findings = await verify(raw_dsn(database_url))
        return [line for finding in findings if finding.id == "T12" for line in finding.breaches]

    assert any(f"trade {trade.id} is pending" in line for line in await breaches())
    async with world.sessions.begin() as session:
        await escalation.look(session)
    assert not any(f"trade {trade.id} " in line for line in await breaches())
