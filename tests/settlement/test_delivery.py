"""Delivery versus payment against a real database and a carrier over HTTP: both, or neither, and once."""

import asyncio

import pytest

from tests.settlement.making import Balance, balance, imbalance, instruct
from tests.settlement.world import World


async def test_data_and_money_change_hands_together(world: World) -> None:
    custody = await world.reserved(1000)
    trade = await world.traded(custody, quantity=300, amount_minor=900, fee_minor=45)

    async with world.working():
        ended = await world.ended(trade.id)

    assert (ended.status, ended.payment_reference) == ("settled", "wallet")
    assert ended.carrier_reference
    assert await world.received_mb(trade) == 300
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(0, 0)
        assert await balance(session, trade.proceeds_account_id) == Balance(855, 0)
        assert await balance(session, custody.account_id) == Balance(700, 0)
        assert await imbalance(session) == {}
    assert custody.party_id in world.told


async def test_a_refused_delivery_leaves_buyer_and_seller_whole(world: World) -> None:
    custody = await world.reserved(1000)
    trade = await world.traded(custody, "9001", quantity=300, amount_minor=900)
    async with world.sessions.begin() as session:
        await instruct(session, "release", custody.id, "CMCC")

    async with world.working():
        ended = await world.ended(trade.id)
        await world.status("release", custody.id, "done")

    assert ended.status == "refunded"
    assert "RECEIVER_NOT_ELIGIBLE" in str(ended.reason)
    assert await world.received_mb(trade) == 0
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(900, 0)
        assert await balance(session, custody.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}
    assert (await world.carrier.buckets(world.numbers[custody.line_id]))[0].remaining_mb == 1000


@pytest.mark.parametrize(
    ("suffix", "fault"),
    [
        ("9003", "a time-out after the work"),
        ("9002", "an error before the work, once"),
        ("9004", "known already, says the carrier"),
        ("9006", "an answer and work that come late"),
    ],
)
async def test_a_fault_is_waited_out_and_asked_and_settles_once(world: World, suffix: str, fault: str) -> None:
    custody = await world.reserved(500)
    before = world.sim.totals()["movements"]
    trade = await world.traded(custody, suffix, quantity=200)

    async with world.working():
        ended = await world.ended(trade.id)

    assert ended.status == "settled", fault
    assert await world.received_mb(trade) == 200
    assert world.sim.totals()["movements"] == before + 1
    async with world.sessions() as session:
        assert await imbalance(session) == {}


async def test_a_release_waits_for_the_deliveries_out_of_the_same_custody(world: World) -> None:
    custody = await world.reserved(1000)
    trade = await world.traded(custody, quantity=400)
    async with world.sessions.begin() as session:
        await instruct(session, "release", custody.id, "CMCC")

    async with world.working():
        await world.ended(trade.id)
        await world.status("release", custody.id, "done")

    assert await world.received_mb(trade) == 400
    (bucket,) = await world.carrier.buckets(world.numbers[custody.line_id])
    assert (bucket.remaining_mb, bucket.reserved_mb) == (600, 0)
    async with world.sessions() as session:
        assert await balance(session, custody.account_id) == Balance(0, 0)


async def test_two_workers_share_the_work_and_nothing_is_done_twice(world: World) -> None:
    custody = await world.reserved(3000)
    before = world.sim.totals()["movements"]
    trades = [await world.traded(custody, quantity=100, amount_minor=10, fee_minor=1) for _ in range(30)]

    async with world.working(workers=2):
        ended = await asyncio.gather(*(world.ended(trade.id, 30) for trade in trades))

    assert {one.status for one in ended} == {"settled"}
    assert world.sim.totals()["movements"] == before + 30
    async with world.sessions() as session:
        assert await balance(session, custody.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}
