"""Floors with several engines, and members who trade coins and data on them."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

import asyncpg
from msgspec.structs import replace

from market.database import connect, raw_dsn, sessions
from market.engine import lease, meeting
from market.engine.batch import Seat
from market.engine.commands import Answer, Command, PlaceOrder
from market.engine.desk import Desk
from market.engine.engine import Engine
from market.gateway import Gateway
from market.transport import open_redis
from tests.engine.factories import Floor, Member, running_engine
from tests.faults.crowd import Crowd
from tests.faults.history import Terms
from tests.faults.judging import broken_invariants, judge

COIN, DATA = 1, 2
"""The factories' instruments; each is a unit of its own."""


@asynccontextmanager
async def open_wide_floor(url: str, redis_url: str, *, shards: int) -> AsyncIterator[Floor]:
    """A floor whose gateway knows of so many engines."""
    engine = connect(url)
    redis = open_redis(redis_url, socket_connect_timeout=5)
    connection = await asyncpg.connect(raw_dsn(url))
    try:
        async with Gateway(redis, sessions(engine), shards) as gateway:
            yield Floor(raw_dsn(url), redis, gateway, connection, shards)
    finally:
        await connection.close()
        await redis.aclose()
        await engine.dispose()


@asynccontextmanager
async def engines(floor: Floor, shards: int = 2) -> AsyncIterator[Sequence[Engine]]:
    """All engines of a floor, as tasks."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_engine(floor.dsn, floor.redis, shard=shard, shards=shards))
            for shard in range(shards)
        ]


@asynccontextmanager
async def engines_seat(floor: Floor, shard: int, shards: int) -> AsyncIterator[Seat]:
    """What an engine has when it has just taken its seat, for a test that carries its batches out by hand."""
    settings = {"plan_cache_mode": "force_generic_plan"}
    first = await asyncpg.connect(floor.dsn, server_settings=settings)
    second = await asyncpg.connect(floor.dsn, server_settings=settings)
    try:
        held = await lease.take(first, shard, "by hand")
        assert held is not None
        desk = Desk(shard, seq=held.last_seq or shard, trade=held.last_trade or shard)
        await meeting.meet(first, floor.redis, held, desk, shards)
        yield Seat((first, second), held, desk, shards, held.stream_id)
    finally:
        await first.close()
        await second.close()


async def seat(floor: Floor, **shards: int) -> None:
    """Say which engine has which unit, as if it had been so from the start."""
    for unit, shard in shards.items():
        await floor.connection.execute(
            "update instrument set shard = $1 from asset where asset.id = asset_id and coalesce(carrier, code) = $2",
            shard,
            unit,
        )


async def shard_in_table(floor: Floor, instrument_id: int) -> int | None:
    found: int | None = await floor.connection.fetchval("select shard from instrument where id = $1", instrument_id)
    return found


class DataCrowd(Crowd):
    """A crowd whose members trade data instead of coins."""

    def _order(self, member: Member, key: str, draw: random.Random) -> PlaceOrder:
        side: Literal["buy", "sell"] = draw.choice(("buy", "sell"))
        price, lots = 5 * draw.randint(19, 21), draw.randint(1, 5)
        return self.floor.order(member, side, price, lots, instrument_id=DATA, key=key, body_hash=key.encode())

    async def _do(self, command: Command, terms: Terms | None, draw: random.Random) -> Answer:
        about_data = replace(command, instrument_id=DATA)
        return await super()._do(about_data, terms and terms._replace(instrument_id=DATA), draw)


async def two_crowds(floor: Floor, *, members: int = 8) -> tuple[Crowd, Crowd]:
    """One that trades coins and one that trades data."""
    return (
        Crowd(floor=floor, members=[await floor.member() for _ in range(members)], seed=1),
        DataCrowd(floor=floor, members=[await floor.member() for _ in range(members)], seed=2),
    )


def again(crowd: Crowd, floor: Floor) -> Crowd:
    """The same people with the same history, on a floor with other engines."""
    return dataclasses.replace(crowd, floor=floor, seed=crowd.seed + 10, _stopping=asyncio.Event())


@asynccontextmanager
async def at_work(crowds: Sequence[Crowd]) -> AsyncIterator[None]:
    """All trade for the length of the block; after it, each request has its answer."""
    async with asyncio.TaskGroup() as group:
        for crowd in crowds:
            group.create_task(crowd.trade())
        yield
        for crowd in crowds:
            crowd.stop()


@asynccontextmanager
async def trading_crowds(floor: Floor, *, members: int = 8) -> AsyncIterator[tuple[Crowd, Crowd]]:
    """Both at work for the length of the block."""
    crowds = await two_crowds(floor, members=members)
    async with at_work(crowds):
        yield crowds


async def judged(floor: Floor, crowds: Sequence[Crowd]) -> list[object]:
    """Everything that is wrong: a promise to a member, an invariant, a journal that does not give the same books."""
    broken = [breach for crowd in crowds for breach in await judge(crowd)]
    invariants = await broken_invariants(floor.dsn)
    strange = await floor.connection.fetch(
        "select key from journal where convert_from(answer, 'utf8') like '%unknown_instrument%'"
    )
    return [
        *broken,
        *invariants.items(),
        *(f"{row['key']} was refused by an engine that has no such book" for row in strange),
    ]
