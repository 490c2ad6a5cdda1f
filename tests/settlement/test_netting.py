"""Netting: trades of one pair move by one call, whose answer is split back to the unit; what is lost is asked."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from settlement import netting
from settlement.carriers.client import Carrier
from settlement.carriers.values import Action, Impact
from settlement.delivery import Delivery
from settlement.lane_tables import BundleMemberRow, BundleRow
from settlement.naming import external_id
from settlement.netting import netted, split
from settlement.tables import DeliveryRow
from tests.settlement.making import Balance, balance, imbalance
from tests.settlement.world import World, until


def a_delivery(number: int, custody: int = 1, line: int = 1, quantity: int = 100, **changes: str | None) -> Delivery:
    return replace(
        Delivery(
            id=number,
            external_id=f"d{number}",
            carrier="CMCC",
            custody_id=custody,
            reservation_id=f"r{custody}",
            custody_account_id=1,
            asset_id=1,
            quantity=quantity,
            receiver_line_id=line,
            coin_account_id=None,
            money_account_id=2,
            money_asset_id=2,
            payment_id=None,
            amount_minor=1,
            fee_minor=0,
            charge_minor=0,
            proceeds_account_id=3,
        ),
        **changes,  # type: ignore[arg-type]
    )


many = st.lists(
    st.builds(
        a_delivery,
        number=st.integers(1, 10**6),
        custody=st.integers(1, 3),
        line=st.integers(1, 3),
        quantity=st.integers(1, 10**6),
        line_event=st.sampled_from([None, None, None, "received"]),
        bundle=st.sampled_from([None, None, None, "apart", "open", "done"]),
    ),
    max_size=40,
    unique_by=lambda one: one.id,
)


@given(many, st.integers(2, 8))
def test_netting_keeps_every_trade_whole_and_in_one_bundle_of_its_own_pair(trades: list[Delivery], size: int) -> None:
    bundles = netted(trades, size)

    members = [one for bundle in bundles for one in bundle]
    assert len({one.id for one in members}) == len(members)
    assert set(members) <= set(trades)
    assert all(2 <= len(bundle) <= size for bundle in bundles)
    assert all(len({(one.custody_id, one.receiver_line_id) for one in bundle}) == 1 for bundle in bundles)
    assert all(one.line_event is None and one.bundle is None for one in members)


@given(st.integers(-(10**9), 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_what_is_split_comes_to_the_whole_and_a_whole_sum_gives_each_its_own(total: int, weights: list[int]) -> None:
    assert sum(split(total, weights)) == total
    assert split(sum(weights), weights) == weights


@pytest.fixture
async def bulk(world: World) -> AsyncIterator[World]:
    """The same world, with a carrier that moves up to four trades of a pair by one call."""
    async with Carrier(replace(world.carrier.profile, bulk_size=4)) as carrier:
        yield replace(world, carrier=carrier)


async def bundles_of(world: World, trades: list[DeliveryRow]) -> list[BundleRow]:
    query = select(BundleRow).where(
        BundleRow.id.in_(
            select(BundleMemberRow.bundle_id).where(BundleMemberRow.delivery_id.in_([trade.id for trade in trades]))
        )
    )
    async with world.sessions() as session:
        return list(await session.scalars(query.order_by(BundleRow.id)))


async def a_pair(world: World, trades: int, suffix: str = "0000", quantity: int = 100) -> list[DeliveryRow]:
    """Trades out of one reservation to one line."""
    custody, line = await world.reserved(1000), world.a_line(suffix, remaining_mb=0)
    return [await world.traded_to(custody, line, quantity=quantity, amount_minor=50 + n) for n in range(trades)]


async def test_trades_of_a_pair_move_by_one_call_and_each_is_settled(bulk: World) -> None:
    trades = await a_pair(bulk, 6)
    before = bulk.sim.totals()["movements"]

    async with bulk.working():
        ended = [await bulk.ended(trade.id) for trade in trades]

    first, second = await bundles_of(bulk, trades)
    assert [(one.status, one.quantity) for one in (first, second)] == [("done", 400), ("done", 200)]
    assert bulk.sim.totals()["movements"] == before + 2
    assert [one.carrier_reference for one in ended] == [first.carrier_reference] * 4 + [second.carrier_reference] * 2
    assert await bulk.received_mb(trades[0]) == 600
    async with bulk.sessions() as session:
        assert [await balance(session, one.money_account_id) for one in ended] == [Balance(0, 0)] * 6
        assert await balance(session, ended[0].proceeds_account_id) == Balance(6 * (50 - 25) + 15, 0)
        assert await imbalance(session) == {}
    for trade in trades:
        assert (await bulk.status("deliver", trade.id, "done")).attempt == 0


async def test_other_pairs_and_carriers_without_bulk_have_calls_of_their_own(bulk: World, world: World) -> None:
    custody = await bulk.reserved(1000)
    apart = [await bulk.traded(custody), await bulk.traded(custody)]
    async with bulk.working():
        assert {(await bulk.ended(trade.id)).status for trade in apart} == {"settled"}
    single = await a_pair(world, 2)
    async with world.working():
        assert {(await world.ended(trade.id)).status for trade in single} == {"settled"}

    assert await bundles_of(bulk, [*apart, *single]) == []


@pytest.mark.parametrize("suffix", ["9003", "9002", "9004", "9006"])
async def test_an_answer_that_is_lost_is_asked_for_and_the_sum_moves_once(bulk: World, suffix: str) -> None:
    trades = await a_pair(bulk, 3, suffix)
    before = bulk.sim.totals()["movements"]

    async with bulk.working():
        ended = [await bulk.ended(trade.id) for trade in trades]

    assert {one.status for one in ended} == {"settled"}
    assert bulk.sim.totals()["movements"] == before + 1
    assert await bulk.received_mb(trades[0]) == 300
    (bundle,) = await bundles_of(bulk, trades)
    assert (bundle.status, bundle.quantity) == ("done", 300)
    async with bulk.sessions() as session:
        assert await imbalance(session) == {}


async def test_a_refused_bundle_falls_apart_and_each_trade_has_its_own_answer(bulk: World) -> None:
    trades = await a_pair(bulk, 3, "9001")

    async with bulk.working():
        ended = [await bulk.ended(trade.id) for trade in trades]

    assert {one.status for one in ended} == {"refunded"}
    (bundle,) = await bundles_of(bulk, trades)
    assert (bundle.status, bundle.carrier_reference) == ("apart", None)
    for trade in trades:
        assert (await bulk.status("deliver", trade.id, "refused")).attempt == 1
    async with bulk.sessions() as session:
        assert await imbalance(session) == {}


async def test_what_was_apart_is_not_bundled_again_and_what_can_be_delivered_is(bulk: World) -> None:
    """The sum is more than the reservation has; the first trades fit singly, the last does not."""
    trades = await a_pair(bulk, 3, quantity=300)
    held = await bulk.carrier.find_reservation(external_id(bulk.mark, "reserve", trades[0].custody_id or 0))
    assert held is not None
    await bulk.carrier.resize(held.id, 600)

    async with bulk.working():
        ended = [await bulk.ended(trade.id) for trade in trades]

    assert sorted(one.status for one in ended) == ["refunded", "settled", "settled"]
    assert [one.status for one in await bundles_of(bulk, trades)] == ["apart"]
    assert await bulk.received_mb(trades[0]) == 600
    async with bulk.sessions() as session:
        assert await imbalance(session) == {}


async def test_members_are_written_down_before_anything_is_sent_and_never_grow(bulk: World) -> None:
    trades = await a_pair(bulk, 2, "9006")

    async def on_its_way() -> bool:
        found = await bundles_of(bulk, trades)
        return bool(found) and bulk.sim.totals()["movements"] == before

    before = bulk.sim.totals()["movements"]
    async with bulk.working():
        await until(on_its_way)
        async with bulk.sessions.begin() as session:
            custody = await session.get_one(type(await bulk.reserved(100)), trades[0].custody_id)
        trades.append(await bulk.traded_to(custody, trades[0].receiver_line_id or 0))
        for trade in trades:
            assert (await bulk.ended(trade.id)).status == "settled"

    (bundle,) = await bundles_of(bulk, trades)
    assert bundle.quantity == 200
    assert bulk.sim.totals()["movements"] == before + 2


async def test_a_journal_line_of_a_bundle_is_split_to_its_trades(bulk: World) -> None:
    trades = await a_pair(bulk, 2)
    async with bulk.working():
        ended = [await bulk.ended(trade.id) for trade in trades]
    (bundle,) = await bundles_of(bulk, trades)
    impact = Impact("b", "remaining", 500, 700)
    name = external_id(bulk.mark, "bundle", bundle.id)
    action = Action("a", "reversal", None, name, 200, None, None, ended[0].created_at, [impact])

    async with bulk.sessions() as session:
        parts = await netting.unbundled(session, bulk.mark, [action, replace(action, external_id="another's")])

    assert [(part.external_id, part.amount_mb) for part in parts] == [
        *((external_id(bulk.mark, "deliver", trade.id), 100) for trade in trades),
        ("another's", 200),
    ]
    assert [part.impacts[0].after_mb - part.impacts[0].before_mb for part in parts] == [100, 100, 200]
