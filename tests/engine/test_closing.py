"""A market with more orders than one command ends closes at once, and lets go of them bit by bit."""

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis

from market.engine.commands import PlaceTogether, SetState
from market.engine.sessions import LET_GO_AT_ONCE
from market.verify import verify
from tests.engine.factories import Floor, Member, fresh_database, open_floor, running_engine

ORDERS = LET_GO_AT_ONCE + 200
OF_ONE = 400


async def _a_full_book(floor: Floor) -> list[Member]:
    members = [await floor.member() for _ in range(ORDERS // OF_ONE)]
    for member in members:
        orders = tuple(floor.order(member, "sell", 300 + 5 * (at % 7), 1, instrument_id=2) for at in range(OF_ONE))
        placed = await floor.gateway.submit(PlaceTogether(member.id, f"all-{member.id}", b"", 2, orders))
        assert placed.accepted, placed.detail
    return members


async def _open_orders(floor: Floor) -> int:
    found: int = await floor.connection.fetchval("select count(*) from open_order")
    return found


async def _until_none_is_open(floor: Floor) -> None:
    async with asyncio.timeout(10):
        while await _open_orders(floor):  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(0.02)


async def test_closing_ends_the_first_orders_and_the_clock_the_rest(floor: Floor) -> None:
    members = await _a_full_book(floor)

    closed = await floor.gateway.submit(SetState(1, "close-2", b"", 2, "closed"))
    late = await floor.place(members[0], "sell", 300, 1, instrument_id=2)
    await _until_none_is_open(floor)

    assert (closed.state, closed.ended_orders) == ("closed", LET_GO_AT_ONCE)
    assert late.code == "market_closed"
    assert {await floor.balance(member.data) for member in members} == {(100_000, 0)}
    reasons = await floor.connection.fetch("select reason, count(*) from ended_order group by reason")
    assert [tuple(row) for row in reasons] == [("closed", ORDERS)]
    found = {finding.id: finding.breaches for finding in await verify(floor.dsn)}
    assert found["B5"] == [], "the journal, done again, ends the same orders in the same batches"


async def test_an_engine_that_starts_in_a_closed_market_lets_go_of_what_is_left(
    new_database: Callable[[str], str], valkey_url: str
) -> None:
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    url = await fresh_database(new_database)
    async with open_floor(url, valkey_url) as floor:
        async with running_engine(floor.dsn, floor.redis):
            members = await _a_full_book(floor)
        await floor.connection.execute("update instrument set state = 'closed' where id = 2")
        async with running_engine(floor.dsn, floor.redis):
            await _until_none_is_open(floor)

        assert {await floor.balance(member.data) for member in members} == {(100_000, 0)}
