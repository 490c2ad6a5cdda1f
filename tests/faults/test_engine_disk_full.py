"""The database's volume runs full under a working engine: what was acknowledged stays, and asking again works (F7)."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.engine.factories import Floor, fresh_database
from tests.faults.conftest import Tally
from tests.faults.crowd import Crowd, trading_crowd
from tests.faults.engines import Nursery
from tests.faults.judging import broken_invariants, judge
from tests.faults.servers import Mortal
from tests.faults.volumes import Volume, small_volume
from tests.faults.waiting import until
from web.embedded import PostgresServer, ServerTrouble

VOLUME_MB = 512
FILLINGS = 3
INTERRUPTED = '"error": "DiskFullError"'
SMALL_LOG = ("alter system set max_wal_size = '64MB'", "alter system set min_wal_size = '32MB'")
GREED = "insert into greed select repeat(md5(number::text), 60) from generate_series(1, 40000) number"
_NUMBERS = count(1)

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def volume() -> Iterator[Volume]:
    with small_volume(VOLUME_MB) as volume:
        yield volume


@pytest.fixture(scope="module")
def server(volume: Volume, server_directory: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(volume.path / "postgres", durable=False)
    mortal = Mortal(server, server_directory / "full.log")
    mortal.start()
    for statement in (*SMALL_LOG, "select pg_reload_conf()", "create table greed (words text)"):
        server.query(statement)
    yield server
    mortal.stop()


@pytest.fixture
async def url(server: PostgresServer) -> str:
    def create(name: str) -> str:
        server.create_database(name)
        return server.url(name)

    return await fresh_database(create, f"full_{next(_NUMBERS)}")


@dataclass(frozen=True)
class Room:
    """The room under the server, and what the engines say when they find none."""

    server: PostgresServer
    volume: Volume
    log: Path

    async def take_until_refused(self, times: int) -> None:
        """Leave none until a batch of the engine was refused for it, then give it back."""
        await asyncio.to_thread(self._fill)

        async def was_refused() -> bool:
            self.volume.leave_nothing()
            return await self.refused() >= times

        await until(was_refused)
        self.volume.make_room()

    async def refused(self) -> int:
        return (await asyncio.to_thread(self.log.read_text)).count(INTERRUPTED)

    def _fill(self) -> None:
        self.volume.leave_nothing()
        with suppress(ServerTrouble):
            for _ in range(20):
                self.server.query(GREED)
                self.volume.leave_nothing()


@pytest.fixture
def room(server: PostgresServer, volume: Volume, tmp_path: Path) -> Room:
    return Room(server, volume, tmp_path / "engines.log")


async def test_a_batch_that_finds_no_room_is_taken_again_and_nothing_acknowledged_is_lost(
    floor: Floor, nursery: Nursery, room: Room, tally: Tally
) -> None:
    crowd = await _fill_in_mid_stream(floor, nursery, room, "plain")

    assert await judge(crowd) == []
    assert await broken_invariants(floor.dsn) == {}
    refused = await room.refused()
    tally(fillings=FILLINGS, batches_refused=refused, commands=len(crowd.commands), unknown=crowd.history.unknown)


async def test_an_engine_that_answers_before_it_has_found_room_is_caught(
    floor: Floor, nursery: Nursery, room: Room
) -> None:
    crowd = await _fill_in_mid_stream(floor, nursery, room, "answers_before_the_commit")

    assert {breach.kind for breach in await judge(crowd)} & {"lost", "changed"}


async def _fill_in_mid_stream(floor: Floor, nursery: Nursery, room: Room, variant: str) -> Crowd:
    async with trading_crowd(floor) as crowd:
        await nursery.start(variant=variant)
        for times in range(1, FILLINGS + 1):
            await crowd.hear(40)
            await room.take_until_refused(times)
        await crowd.hear(40)
    return crowd
