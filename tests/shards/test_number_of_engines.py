"""Any number of engines serves what another number has left, and one that is none any more writes nothing."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.engine import batch, writing
from market.engine.commands import Envelope, encode, stream_of
from market.engine.lease import Fenced
from market.sharding import Seated, shard_by_rule, shard_of
from tests.engine.factories import Floor, running_engine
from tests.faults.crowd import Crowd
from tests.faults.waiting import until
from tests.shards.making import (
    COIN,
    DATA,
    again,
    at_work,
    engines,
    engines_seat,
    judged,
    open_wide_floor,
    seat,
    shard_in_table,
    two_crowds,
)

UNITS = [f"U{number}" for number in range(50)]


def test_the_rule_is_written_down_for_ever() -> None:
    by_rule = [[shard_by_rule(unit, shards) for unit in ("COIN", "CMCC", "CUCC", "CTCC")] for shards in (1, 2, 3)]

    assert by_rule == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 2]]


@given(st.text(min_size=1), st.integers(1, 30))
def test_one_engine_more_takes_some_units_and_leaves_all_others_where_they_are(unit: str, shards: int) -> None:
    assert shard_by_rule(unit, shards + 1) in {shard_by_rule(unit, shards), shards}


def test_the_rule_gives_every_engine_something() -> None:
    assert {shard_by_rule(unit, 8) for unit in UNITS} == set(range(8))


@pytest.mark.parametrize(
    ("shard", "former", "shards", "served_by"),
    [(1, None, 2, 1), (1, 0, 2, 1), (None, 1, 2, 1), (3, 1, 2, 1), (3, 4, 2, 0), (None, None, 2, 0)],
)
def test_the_table_comes_before_the_unit_and_the_unit_before_the_rule(
    shard: int | None, former: int | None, shards: int, served_by: int
) -> None:
    assert shard_of(Seated(1, "COIN", shard, former), shards) == served_by


async def test_any_number_of_engines_goes_on_with_what_another_number_left(
    floor: Floor, url: str, valkey_url: str
) -> None:
    await seat(floor, COIN=1, CMCC=0)
    served: list[dict[int, int | None]] = []
    crowds: Sequence[Crowd] = await two_crowds(floor, members=4)
    for shards in (2, 1, 3):
        async with open_wide_floor(url, valkey_url, shards=shards) as wide, engines(wide, shards):
            crowds = [again(crowd, wide) for crowd in crowds]
            async with at_work(crowds):
                for crowd in crowds:
                    await crowd.hear(40)
            served.append({unit: await shard_in_table(floor, unit) for unit in (COIN, DATA)})

    assert served == [{COIN: 1, DATA: 0}, {COIN: 0, DATA: 0}, {COIN: 0, DATA: 0}]
    async with engines(floor):
        assert await judged(floor, [again(crowd, floor) for crowd in crowds]) == []


async def test_what_waits_in_the_stream_of_an_engine_that_is_none_any_more_is_taken_over(
    floor: Floor, url: str, valkey_url: str
) -> None:
    await seat(floor, COIN=1)
    member = await floor.member()
    async with engines(floor):
        done = floor.order(member, "sell", 100, 1)
        await floor.gateway.submit(done)
    left = floor.order(member, "sell", 101, 1)
    await floor.redis.xadd(stream_of(1), {"c": encode(Envelope(left, "", 0))})

    async with open_wide_floor(url, valkey_url, shards=1) as narrow, engines(narrow, 1):
        await until(lambda: _journaled(floor, left.key))

    assert await floor.redis.xlen(stream_of(1)) <= 1
    assert await floor.connection.fetchval("select count(*) from journal where key = $1", done.key) == 1


async def _journaled(floor: Floor, key: str) -> bool:
    return bool(await floor.connection.fetchval("select exists (select from journal where key = $1)", key))


async def test_the_late_batch_of_an_engine_whose_units_were_adopted_commits_nothing(floor: Floor) -> None:
    await seat(floor, COIN=1)
    member = await floor.member()
    async with engines_seat(floor, shard=1, shards=2) as late:
        order = floor.order(member, "sell", 100, 1)
        prepared = await batch.prepare(late, [Envelope(order, "", 0)], {})
        decided = await batch.decide(late, prepared, "1-0")

        async with running_engine(floor.dsn, floor.redis, shard=0, shards=1):
            assert await shard_in_table(floor, COIN) == 0
            with pytest.raises(Fenced):
                await batch.write(late, decided)
            await decided.transaction.rollback()
            answer = await floor.gateway.submit(order)

    assert answer.accepted
    assert await floor.connection.fetchval("select shard from journal where key = $1", order.key) == 0


async def test_an_adoption_waits_for_a_batch_whose_commit_is_under_way_and_has_its_orders(floor: Floor) -> None:
    await seat(floor, COIN=1)
    member = await floor.member()
    async with engines_seat(floor, shard=1, shards=2) as old:
        order = floor.order(member, "sell", 100, 1)
        prepared = await batch.prepare(old, [Envelope(order, "", 0)], {})
        decided = await batch.decide(old, prepared, "1-0")
        assert decided.written is not None
        statement, parameters = decided.written.statement, decided.written.parameters
        writing.check_fence(await decided.connection.fetchval(statement, *parameters), old.lease)
        async with asyncio.TaskGroup() as group:
            engine = running_engine(floor.dsn, floor.redis, shard=0, shards=1)
            starting = group.create_task(engine.__aenter__())
            await asyncio.sleep(0.5)
            assert not starting.done()
            await decided.transaction.commit()
            adopter = await starting
            taken = await floor.place(member, "buy", 90, 1)
            await engine.__aexit__(None, None, None)

    assert taken.accepted
    assert adopter.commands == 1
    assert await judged(floor, []) == []
