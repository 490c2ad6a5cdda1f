"""Before the data moves: a line that something happened to since the match gets and gives nothing (F32)."""

from datetime import UTC, datetime
from itertools import count

import pytest
from sqlalchemy import func, update

from settlement.line_event_tables import LineEventRow
from tests.settlement.making import Balance, balance, imbalance
from tests.settlement.world import World, until

EVENTS = count(1)


async def happened(world: World, line_id: int, status: str = "confirmed") -> int:
    """An event of a line, as it stands once it has been recorded, or asked about."""
    row = LineEventRow(
        carrier="CMCC", source="test", event_id=f"event-{next(EVENTS)}", line_id=line_id, party_id=1,
        kind="sim_swapped", plan=None, happened_at=datetime.now(UTC), status=status, pause_until=None, handled_at=None,
        asked_at=None if status == "received" else func.clock_timestamp(),
    )  # fmt: skip
    async with world.sessions.begin() as session:
        session.add(row)
    return row.id


@pytest.mark.parametrize("side", ["seller", "receiver"])
async def test_a_line_with_an_event_since_the_match_is_refused_before_anything_is_sent(world: World, side: str) -> None:
    custody = await world.reserved(1000)
    trade = await world.traded(custody, quantity=300, amount_minor=900)
    assert trade.receiver_line_id is not None
    moved = world.sim.totals()["movements"]

    await happened(world, custody.line_id if side == "seller" else trade.receiver_line_id)
    async with world.working():
        ended = await world.ended(trade.id)

    assert (ended.status, ended.carrier_reference) == ("refunded", None)
    assert "happened" in str(ended.reason)
    assert world.sim.totals()["movements"] == moved
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(900, 0)
        assert await balance(session, custody.account_id) == Balance(1000, 0)
        assert await imbalance(session) == {}


async def test_an_event_that_was_settled_before_the_match_keeps_nothing_back(world: World) -> None:
    custody = await world.reserved(1000)
    await happened(world, custody.line_id)
    await happened(world, custody.line_id, "denied")

    trade = await world.traded(custody, quantity=300)
    async with world.working():
        ended = await world.ended(trade.id)

    assert ended.status == "settled"


async def test_a_delivery_waits_until_the_carrier_was_asked_and_goes_on_when_it_denies(world: World) -> None:
    custody = await world.reserved(1000)
    trade = await world.traded(custody, quantity=300)
    event = await happened(world, custody.line_id, "received")

    async def waits() -> bool:
        row = await world.instruction("deliver", trade.id)
        return row is not None and "asked what happened" in str(row.reason)

    async with world.working():
        await until(waits)
        assert (await world.delivery(trade.id)).status == "pending"
        async with world.sessions.begin() as session:
            asked = {"status": "denied", "asked_at": func.now()}
            await session.execute(update(LineEventRow).where(LineEventRow.id == event).values(asked))
        ended = await world.ended(trade.id)

    assert ended.status == "settled"
