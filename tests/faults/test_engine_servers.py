"""The servers die under a working engine: what was acknowledged stays, and asking again works."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from market.engine.commands import stream_of
from tests.engine.factories import Floor, fresh_database, open_floor
from tests.faults.conftest import Tally
from tests.faults.crowd import Crowd, trading_crowd
from tests.faults.engines import Engine, Nursery, open_nursery
from tests.faults.judging import broken_invariants, judge
from tests.faults.servers import Mortal
from tests.faults.waiting import until
from web.embedded import PostgresServer

FLUSHES = 5
TRANSPORT_KILLS = 5
DATABASE_KILLS = 8
QUEUED = 10
_NUMBERS = count(1)


async def test_losing_all_of_the_transport_loses_nothing_acknowledged(
    floor: Floor, nursery: Nursery, transport: Mortal, tally: Tally
) -> None:
    lost, waiting = 0, 0
    async with trading_crowd(floor) as crowd:
        engine = await nursery.start()
        for _ in range(FLUSHES):
            await crowd.hear(20)
            lost += await _flush_with_commands_queued(floor, engine)
        for _ in range(TRANSPORT_KILLS):
            await crowd.hear(20)
            waiting += crowd.in_flight
            transport.kill()
            await asyncio.to_thread(transport.start)
        await crowd.hear(20)

    assert await judge(crowd) == []
    assert await broken_invariants(floor.dsn) == {}
    tally(flushes=FLUSHES, commands_flushed=lost, kills=TRANSPORT_KILLS, requests_waiting=waiting, **_work(crowd))
    assert lost >= FLUSHES * QUEUED
    assert waiting


async def _flush_with_commands_queued(floor: Floor, engine: Engine) -> int:
    """Hold the engine while commands queue up, flush them away, and let it go on; gives how many were lost."""

    async def queued() -> bool:
        return int(await floor.redis.xlen(stream_of(0))) >= QUEUED

    engine.signal(signal.SIGSTOP)
    try:
        await until(queued)
        lost = int(await floor.redis.xlen(stream_of(0)))
        await floor.redis.flushall()
    finally:
        engine.signal(signal.SIGCONT)
    return lost


async def test_killing_the_database_loses_nothing_acknowledged(
    durable_postgres: Mortal, transport_url: str, tmp_path: Path, tally: Tally
) -> None:
    async with _durable_floor(durable_postgres, transport_url) as (url, floor):
        async with open_nursery(url, transport_url, tmp_path / "engines.log") as nursery:
            crowd, waiting = await _kill_in_mid_stream(durable_postgres, floor, nursery)
            assert await judge(crowd) == []
        assert await broken_invariants(floor.dsn, durable=True) == {}

    tally(kills=DATABASE_KILLS, requests_waiting=waiting, **_work(crowd))
    assert waiting


async def test_a_database_that_answers_before_it_has_written_is_caught(
    durable_postgres: Mortal, transport_url: str, tmp_path: Path, tally: Tally
) -> None:
    async with _durable_floor(durable_postgres, transport_url) as (url, floor):
        name = await floor.connection.fetchval("select quote_ident(current_database())")
        await floor.connection.execute(f"alter database {name} set synchronous_commit = off")
        async with open_nursery(url, transport_url, tmp_path / "engines.log") as nursery:
            crowd, _ = await _kill_in_mid_stream(durable_postgres, floor, nursery)
            breaches = await judge(crowd)

    tally(kills=DATABASE_KILLS, breaches_found=len(breaches), **_work(crowd))
    assert {breach.kind for breach in breaches} & {"lost", "changed"}


async def _kill_in_mid_stream(postgres: Mortal, floor: Floor, nursery: Nursery) -> tuple[Crowd, int]:
    """Kill the server again and again; gives the crowd, and how many requests waited for answers at the kills."""
    waiting = 0
    async with trading_crowd(floor) as crowd:
        await nursery.start()
        for _ in range(DATABASE_KILLS):
            await crowd.hear(40)
            waiting += crowd.in_flight
            postgres.kill()
            await asyncio.to_thread(postgres.start)
        await crowd.hear(40)
    return crowd, waiting


@asynccontextmanager
async def _durable_floor(postgres: Mortal, transport_url: str) -> AsyncIterator[tuple[str, Floor]]:
    server = postgres.server
    assert isinstance(server, PostgresServer)

    def create(name: str) -> str:
        server.create_database(name)
        return server.url(name)

    url = await fresh_database(create, f"faults_{next(_NUMBERS)}")
    async with open_floor(url, transport_url) as floor:
        yield url, floor


def _work(crowd: Crowd) -> dict[str, int]:
    return {"commands": len(crowd.commands), "unknown": crowd.history.unknown}
