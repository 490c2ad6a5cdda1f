"""PostgreSQL's volume runs full under settlement workers: statements fail, or it dies, and nothing moves twice (F7)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.carrier.simulator import CarrierProcess
from tests.faults.servers import Mortal
from tests.faults.volumes import Volume, small_volume
from tests.faults.waiting import until
from tests.settlement.faults.conftest import Site, open_site
from tests.settlement.faults.ending import moved, settle_once
from web.embedded import PostgresServer, ServerTrouble

VOLUME_MB = 512
TRADES = 60
FULL = "No space left on device"
OPEN = "select count(*) from delivery where status in ('pending', 'delivered')"
CLAIMED = "select count(*) from instruction where status = 'claimed'"
SMALL_LOG = ("alter system set max_wal_size = '64MB'", "alter system set min_wal_size = '32MB'")
GREED = "insert into greed select repeat(md5(number::text), 60) from generate_series(1, 40000) number"
WORDY = "select pg_logical_emit_message(false, 'greed', repeat('x', 8000000))"
"""Nothing but log."""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def volume() -> Iterator[Volume]:
    with small_volume(VOLUME_MB) as volume:
        yield volume


@pytest.fixture(scope="module")
def server(volume: Volume) -> PostgresServer:
    return PostgresServer(volume.path / "postgres", durable=False)


@pytest.fixture(scope="module")
def log(server_directory: Path) -> Path:
    """Elsewhere, or it could not tell what happened."""
    return server_directory / "full.log"


@pytest.fixture(scope="module")
def mortal(server: PostgresServer, log: Path) -> Iterator[Mortal]:
    mortal = Mortal(server, log)
    mortal.start()
    yield mortal
    mortal.stop()


@pytest.fixture(scope="module")
async def ground(
    new_database: Callable[[str], str], own_carriers: CarrierProcess, valkey_url: str, log: Path, mortal: Mortal
) -> AsyncIterator[Site]:
    server = mortal.server
    assert isinstance(server, PostgresServer)
    server.create_database("site")
    for statement in (*SMALL_LOG, "select pg_reload_conf()", "create table greed (words text)"):
        server.query(statement)
    url = server.url("site")
    async with open_site(new_database, own_carriers, valkey_url, log.with_name("settlers.log"), url) as site:
        yield site


async def test_statements_that_find_no_room_are_done_later_and_settle_once(
    ground: Site, server: PostgresServer, volume: Volume, log: Path
) -> None:
    ground.estate.sim.faults(latency_ms=300)
    trades = await ground.estate.trade(TRADES)
    worker = await ground.settlers.start()
    await until(lambda: _is_claimed(ground))

    await asyncio.to_thread(_fill, server, volume)
    assert FULL in await asyncio.to_thread(log.read_text)
    await until(lambda: _more_moved(ground, trades))
    ground.estate.sim.faults()
    volume.make_room()

    await settle_once(ground, trades)
    await worker.kill()


async def test_a_server_that_dies_of_its_full_volume_and_comes_back_has_every_trade_settled_once(
    ground: Site, server: PostgresServer, mortal: Mortal, volume: Volume, log: Path
) -> None:
    ground.estate.sim.faults(latency_ms=300)
    trades = await ground.estate.trade(TRADES)
    worker = await ground.settlers.start()
    await until(lambda: _is_claimed(ground))

    await asyncio.to_thread(_fill, server, volume)
    await asyncio.to_thread(_use_up_the_log, server, volume)
    assert "PANIC:" in await asyncio.to_thread(log.read_text)
    ground.estate.sim.faults()
    volume.make_room()
    await asyncio.to_thread(mortal.stop)
    await asyncio.to_thread(mortal.start)

    await settle_once(ground, trades)
    await worker.kill()


def _fill(server: PostgresServer, volume: Volume) -> None:
    """Leave nothing, and have somebody write until the server refuses it."""
    volume.leave_nothing()
    with suppress(ServerTrouble):
        for _ in range(20):
            server.query(GREED)
            volume.leave_nothing()


def _use_up_the_log(server: PostgresServer, volume: Volume) -> None:
    """Write log until there is no room for its next file: that is the server's end."""
    with suppress(ServerTrouble):
        for _ in range(40):
            volume.leave_nothing()
            server.query(WORDY)


async def _is_claimed(site: Site) -> bool:
    return bool(await site.estate.scalar(CLAIMED))


async def _more_moved(site: Site, trades: list[int]) -> bool:
    """Whether the carriers moved data of which the books may not know yet."""
    return any((await moved(site, trades)).values())
