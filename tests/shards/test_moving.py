"""A unit goes to another engine while it trades: no command is lost, none is done twice, no order loses its place."""

import asyncio

import pytest
from click.testing import CliRunner

from market import market_data
from market.engine import meeting
from market.engine.commands import (
    BookUpdate,
    CancelOrder,
    Envelope,
    ExpireOrders,
    HandOver,
    decode_book,
    encode,
    market_channel,
    stream_of,
)
from market.engine.handover import batch_length
from market.engine.intake import Entry
from market.moving import move_unit
from market.refusals import BadInput
from settlement.accounts import HOUSE
from tests.engine.factories import Floor, Member
from tests.faults.engines import environment
from tests.faults.waiting import until
from tests.shards.making import COIN, DATA, engines, judged, seat, shard_in_table, trading_crowds
from web.cli import surplusflow

MOVES = 6
_ASSIGNED = "select epoch, shard, former from assignment where unit = $1 order by epoch"
_SERVED = "select distinct shard from journal where party_id <> 1 order by shard"


async def test_orders_keep_their_place_and_new_ones_come_behind_them_on_an_engine_with_lower_numbers(
    floor: Floor,
) -> None:
    await seat(floor, COIN=0, CMCC=1)
    seller, late, buyer = [await floor.member() for _ in range(3)]
    async with engines(floor):
        for _ in range(5):
            await floor.place(buyer, "sell", 900, 1)
        first = await floor.place(seller, "sell", 100, 2)
        await move_unit(floor.gateway, "COIN", 1)

        second = await floor.place(late, "sell", 100, 2)
        await move_unit(floor.gateway, "COIN", 0)  # which loads both, in the order of their numbers
        bought = await floor.place(buyer, "buy", 100, 3)

    assert first.order_id is not None
    assert second.order_id is not None
    assert (first.order_id % 1024, second.order_id % 1024) == (0, 1)
    assert [fill.quantity for fill in bought.fills] == [2, 1]
    makers = await floor.connection.fetch("select sell_order_id, quantity from trade order by id")
    assert [tuple(row) for row in makers] == [(first.order_id, 2), (second.order_id, 1)]
    assert [tuple(row) for row in await floor.connection.fetch(_ASSIGNED, "COIN")] == [(1, 1, 0), (2, 0, 1)]
    assert await judged(floor, []) == []


async def test_an_order_can_be_cancelled_by_its_id_wherever_its_book_is(floor: Floor) -> None:
    member = await floor.member()
    async with engines(floor):
        placed = await floor.place(member, "sell", 300, 2, instrument_id=DATA)
        assert placed.order_id is not None
        await move_unit(floor.gateway, "CMCC", 1)
        amended = await floor.place(member, "sell", 305, 1, instrument_id=DATA)
        await move_unit(floor.gateway, "CMCC", 0)

        for answer in (placed, amended):
            command = _cancel(member, answer.order_id or 0)
            assert (await floor.gateway.submit(command)).state == "cancelled"

    assert await judged(floor, []) == []


def _cancel(member: Member, order_id: int) -> CancelOrder:
    return CancelOrder(member.id, f"cancel-{order_id}", b"cancel", DATA, order_id)


async def test_a_unit_moved_back_and_forth_under_load_loses_and_doubles_nothing(floor: Floor) -> None:
    async with engines(floor), trading_crowds(floor) as crowds:
        for turn in range(MOVES):
            for crowd in crowds:
                await crowd.hear(25)
            await move_unit(floor.gateway, "COIN", (turn + 1) % 2)
            await move_unit(floor.gateway, "CMCC", turn % 2)

        for crowd in crowds:
            await crowd.hear(25)

    assert await judged(floor, crowds) == []
    assert [row[0] for row in await floor.connection.fetch(_SERVED)] == [0, 1]
    assert len(await floor.connection.fetch(_ASSIGNED, "COIN")) > MOVES


async def test_a_reader_of_a_book_hears_ever_higher_epochs_and_numbers_and_finds_the_book_whole(floor: Floor) -> None:
    member = await floor.member()
    await seat(floor, COIN=0, CMCC=1)
    heard: list[BookUpdate] = []
    async with engines(floor), floor.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(market_channel(COIN))
        for turn in range(4):
            for price in (100, 101):
                await floor.place(member, "sell", price + 10 * turn, 1)
            assert await move_unit(floor.gateway, "COIN", (turn + 1) % 2)
        await floor.place(member, "sell", 150, 1)
        async with asyncio.timeout(10):
            while 150 not in {price for update in heard for price, _, _ in update.asks}:
                if (message := await pubsub.get_message(timeout=1)) is not None:
                    heard.append(decode_book(message["data"]))
        shard = await floor.gateway.shard_of(COIN)
        found = await market_data.find(floor.redis, floor.gateway.sessions, shard, COIN)

    numbers = [(update.epoch, update.seq) for update in heard]
    assert numbers == sorted(set(numbers))
    assert [update.seq for update in heard] == sorted(update.seq for update in heard)
    assert len({update.epoch for update in heard}) == 5
    assert sorted(found.asks) == [100, 101, 110, 111, 120, 121, 130, 131, 150]
    assert (found.epoch, found.seq) == numbers[-1]


async def test_what_still_comes_to_the_old_engine_is_sent_on_and_answered(floor: Floor) -> None:
    member = await floor.member()
    async with engines(floor):
        await floor.place(member, "sell", 100, 1)
        await move_unit(floor.gateway, "COIN", 1)
        order = floor.order(member, "sell", 101, 1)

        await floor.redis.xadd(stream_of(0), {"c": encode(Envelope(order, "", 0))})
        await until(lambda: _journaled(floor, order.key))

    assert await _shard(floor, order.key) == 1


async def test_an_engine_that_does_not_send_on_what_comes_late_is_caught(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep(*_: object) -> None:
        """Let them drop."""

    monkeypatch.setattr(meeting, "send_on", keep)
    member = await floor.member()
    async with engines(floor):
        await floor.place(member, "sell", 100, 1)
        await move_unit(floor.gateway, "COIN", 1)
        order = floor.order(member, "sell", 101, 1)

        await floor.redis.xadd(stream_of(0), {"c": encode(Envelope(order, "", 0))})
        with pytest.raises(TimeoutError):
            await until(lambda: _journaled(floor, order.key), seconds=1.5)


async def _journaled(floor: Floor, key: str) -> bool:
    return await _shard(floor, key) is not None


async def _shard(floor: Floor, key: str) -> int | None:
    found: int | None = await floor.connection.fetchval("select shard from journal where key = $1", key)
    return found


async def test_the_new_engine_does_what_the_clock_asks_of_a_book_that_nobody_trades(floor: Floor) -> None:
    member = await floor.member()
    async with engines(floor):
        soon = 2_000_000 + int(await floor.connection.fetchval("select extract(epoch from now())::bigint * 1000000"))
        placed = await floor.place(member, "sell", 100, 1, time_in_force="gtd", expires_at_us=soon)
        assert placed.state == "open", placed
        await move_unit(floor.gateway, "COIN", 1)

        async def ended() -> bool:
            return bool(await floor.connection.fetchval("select exists (select from ended_order)"))

        await until(ended)

    assert await floor.connection.fetchval("select shard from journal where party_id = 1 order by at desc limit 1") == 1
    assert await judged(floor, []) == []


async def test_moving_refuses_what_is_not_there_and_says_when_nothing_has_to_move(floor: Floor) -> None:
    async with engines(floor):
        assert await move_unit(floor.gateway, "COIN", 1)
        assert not await move_unit(floor.gateway, "COIN", 1)
        with pytest.raises(BadInput, match="no unit"):
            await move_unit(floor.gateway, "NOBODY", 1)
        with pytest.raises(BadInput, match="no engine 2"):
            await move_unit(floor.gateway, "COIN", 2)

        answer = await floor.gateway.submit(HandOver(HOUSE, "twice", b"twice", COIN, "COIN", 1))
        assert (answer.accepted, answer.code) == (False, "already_there")


async def test_an_operator_moves_a_unit_with_one_command(
    floor: Floor, url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (environment(url, valkey_url) | {"SURPLUSFLOW_SHARDS": "2"}).items():
        monkeypatch.setenv(name, value)
    move = ["move-instruments", "--unit", "COIN", "--to"]
    async with engines(floor):
        done, again, refused = [
            await asyncio.to_thread(CliRunner().invoke, surplusflow, [*move, shard]) for shard in ("1", "1", "2")
        ]

    assert (done.exit_code, done.output) == (0, "Engine 1 serves COIN from now on.\n")
    assert (again.exit_code, again.output) == (0, "Engine 1 serves COIN already.\n")
    assert isinstance(refused.exception, BadInput)
    assert await shard_in_table(floor, COIN) == 1


def test_a_handover_is_a_batch_alone() -> None:
    handing = _entry(HandOver(HOUSE, "key", b"", COIN, "COIN", 1))
    other = _entry(ExpireOrders(HOUSE, "key", b"", COIN))

    assert batch_length([other, other]) == 2
    assert batch_length([other, other, handing, other]) == 2
    assert batch_length([handing, other, handing]) == 1
    assert batch_length([]) == 0


def _entry(command: HandOver | ExpireOrders) -> Entry:
    return Entry("1-0", Envelope(command, "", 0))


async def test_what_is_listed_later_goes_where_its_unit_is(floor: Floor) -> None:
    member = await floor.member()
    async with engines(floor):
        await move_unit(floor.gateway, "CMCC", 1)
        await floor.connection.execute(
            "insert into asset (id, code, kind, carrier, scope, expires_at) overriding system value "
            "values (50, 'CMCC-GD-3001', 'data', 'CMCC', 'GD', '2030-01-31T16:00:00Z')"
        )
        await floor.connection.execute(
            "insert into instrument (id, symbol, asset_id, currency, lot_units, tick_minor, floor_minor, "
            "ceiling_minor, reference_minor, maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at) "
            "overriding system value values (50, 'CMCC-GD-3001', 50, 'CNY', 100, 5, 5, 1000, 300, 100000, 500, 1, "
            "'2020-01-01', '2030-01-31')"
        )
        answer = await floor.gateway.submit(ExpireOrders(HOUSE, "look", b"", 50))
        placed = await floor.place(member, "buy", 300, 1, instrument_id=50, line_id=7, proceeds_account_id=None)

    assert answer.accepted
    assert placed.state == "open", placed
    assert await shard_in_table(floor, 50) == 1
    assert await asyncio.to_thread(lambda: True)
