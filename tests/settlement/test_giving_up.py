"""A buyer who won't wait has the money back as soon as it is sure that nothing moved, and never when something did."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from settlement.delivery import GIVEN_UP
from settlement.giving_up import give_up
from settlement.tables import DeliveryRow
from tests.settlement.making import Balance, balance, imbalance
from tests.settlement.world import World, until

LANE_IS_OPEN = text("select exists (select from lane_state where lane = 'CMCC' and state <> 'closed')")


async def given_up(world: World, trade: DeliveryRow) -> bool:
    async with world.sessions.begin() as session:
        return await give_up(session, trade.id)


async def test_what_was_never_sent_is_refunded_while_its_carrier_is_away(world: World) -> None:
    custody = await world.reserved(1000)
    receiver = world.a_line(remaining_mb=0)

    async def is_left_alone() -> bool:
        async with world.sessions() as session:
            return bool(await session.scalar(LANE_IS_OPEN))

    await asyncio.to_thread(world.sim.stop)
    try:
        async with world.working():
            for _ in range(20):
                await world.traded_to(custody, receiver, quantity=10, amount_minor=30)
            await until(is_left_alone, 30)
            trade = await world.traded_to(custody, receiver, quantity=300, amount_minor=900)

            assert await given_up(world, trade)
            assert not await given_up(world, trade)
            ended = await world.ended(trade.id)
            assert await is_left_alone()
    finally:
        await asyncio.to_thread(world.sim.start)

    assert (ended.status, ended.reason) == ("refunded", GIVEN_UP)
    row = await world.instruction("deliver", trade.id)
    assert row is not None
    assert row.attempt == 1  # taken up once by the house, which sent nothing
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(900, 0)
        assert await imbalance(session) == {}
    assert await world.received_mb(trade) == 0


@pytest.mark.parametrize(("suffix", "status", "moved_mb"), [("9003", "settled", 300), ("9002", "refunded", 0)])
async def test_what_was_sent_without_an_answer_is_asked_about_before_anybody_is_paid_back(
    world: World, suffix: str, status: str, moved_mb: int
) -> None:
    patient = replace(world, patience=timedelta(seconds=1))
    custody = await patient.reserved(1000)
    trade = await patient.traded(custody, suffix, quantity=300, amount_minor=900, fee_minor=45)

    async with patient.working():
        await patient.status("deliver", trade.id, "unknown")
        await given_up(patient, trade)
        ended = await patient.ended(trade.id)

    assert ended.status == status
    assert await patient.received_mb(trade) == moved_mb
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(0 if moved_mb else 900, 0)
        assert await balance(session, custody.account_id) == Balance(1000 - moved_mb, 0)
        assert await imbalance(session) == {}


async def test_what_has_moved_stays_moved(world: World) -> None:
    custody = await world.reserved(500)
    trade = await world.traded(custody, quantity=200)
    async with world.working():
        await world.ended(trade.id)
        assert not await given_up(world, trade)

    ended = await world.delivery(trade.id)
    assert (ended.status, ended.given_up_at) == ("settled", None)
    assert await world.received_mb(trade) == 200
