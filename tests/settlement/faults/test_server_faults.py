"""PostgreSQL fails under a settlement worker: it dies, it breaks a deadlock, its disk flips a bit."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from tests.carrier.simulator import CarrierProcess
from tests.faults.judging import broken_invariants
from tests.faults.servers import Mortal
from tests.faults.waiting import until
from tests.settlement.faults.conftest import Site, open_site
from tests.settlement.faults.ending import settle_once
from web.embedded import PostgresServer

CLAIMED = "select count(*) from instruction where status = 'claimed'"
DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"
WAITING_FOR = "select count(*) from pg_stat_activity where $1 = any(pg_blocking_pids(pid))"
CHECK_SECONDS = 60
TUPLE_BYTE = 8192 - 40
"""In the first page of a table, where its first rows are."""

pytestmark = pytest.mark.timeout(240)


@dataclass
class Ground:
    """A site whose database server is its own, to be killed and spoilt."""

    site: Site
    server: PostgresServer
    mortal: Mortal

    def check_files(self) -> None:
        """Recompute every page's checksum; the server must not run.

        Raises:
            subprocess.CalledProcessError: a page is not what was written.
        """
        folder = self.server.directory
        program = Path(self.server.argv[0]).with_name("pg_checksums")
        self.server.account.run([program, "--check", "-D", folder], CHECK_SECONDS)

    def flip_a_bit(self, file: Path) -> None:
        page = bytearray(file.read_bytes())
        page[TUPLE_BYTE] ^= 1
        file.write_bytes(page)


@pytest.fixture(scope="module")
async def ground(
    new_database: Callable[[str], str], own_carriers: CarrierProcess, valkey_url: str, server_directory: Path
) -> AsyncIterator[Ground]:
    server = PostgresServer(server_directory / "ground", durable=False)
    mortal = Mortal(server, server_directory / "ground.log")
    await asyncio.to_thread(mortal.start)
    try:
        server.create_database("site")
        log, url = server_directory / "settlers.log", server.url("site")
        async with open_site(new_database, own_carriers, valkey_url, log, url) as site:
            yield Ground(site, server, mortal)
    finally:
        await asyncio.to_thread(mortal.stop)


async def test_a_database_that_is_killed_under_a_worker_costs_time_and_nothing_else(ground: Ground) -> None:
    site = ground.site
    site.estate.sim.faults(latency_ms=300)
    worker = await site.settlers.start()
    trades = await site.estate.trade(40)

    async def has_claimed() -> bool:
        return bool(await site.estate.scalar(CLAIMED))

    for _ in range(2):
        await until(has_claimed)
        ground.mortal.kill()
        await asyncio.to_thread(ground.mortal.start)
    site.estate.sim.faults()
    await settle_once(site, trades)
    await worker.kill()


async def test_a_bit_that_flips_on_the_disk_is_noticed_and_never_read_as_a_balance(ground: Ground) -> None:
    site = ground.site
    file = ground.server.directory / str(await site.estate.scalar("select pg_relation_filepath('account')"))
    await asyncio.to_thread(ground.mortal.stop)
    ground.check_files()

    ground.flip_a_bit(file)

    with pytest.raises(subprocess.CalledProcessError):
        ground.check_files()
    await asyncio.to_thread(ground.mortal.start)
    with pytest.raises(asyncpg.DataCorruptedError):
        await broken_invariants(site.dsn)
    await asyncio.to_thread(ground.mortal.stop)
    ground.flip_a_bit(file)
    await asyncio.to_thread(ground.mortal.start)
    assert await broken_invariants(site.dsn) == {}


async def test_a_bit_that_flips_in_an_index_is_noticed_and_finds_no_wrong_row(ground: Ground) -> None:
    site = ground.site
    file = ground.server.directory / str(await site.estate.scalar("select pg_relation_filepath('pk_account')"))
    await asyncio.to_thread(ground.mortal.stop)

    ground.flip_a_bit(file)

    with pytest.raises(subprocess.CalledProcessError):
        ground.check_files()
    await asyncio.to_thread(ground.mortal.start)
    connection = await asyncpg.connect(site.dsn)
    try:
        await connection.execute("set enable_seqscan = off")
        with pytest.raises(asyncpg.DataCorruptedError):
            await connection.fetch("select from account where id = 1")
    finally:
        await connection.close()
    await asyncio.to_thread(ground.mortal.stop)
    ground.flip_a_bit(file)
    ground.check_files()
    await asyncio.to_thread(ground.mortal.start)


async def test_a_worker_that_loses_a_deadlock_writes_its_outcome_again(site: Site) -> None:
    (trade,) = await site.estate.trade(1)
    account = await site.estate.scalar(f"select money_account_id from delivery where id = {trade}")  # noqa: S608 - a number
    connection = await asyncpg.connect(site.dsn)
    before = await connection.fetchval(DEADLOCKS)
    await connection.execute("set deadlock_timeout = '60s'")  # so that it is the worker who finds it, and gives way

    async def waits_for_us() -> bool:
        return bool(await site.estate.scalar(WAITING_FOR.replace("$1", str(connection.get_server_pid()))))

    async def was_broken() -> bool:
        return bool(await connection.fetchval(DEADLOCKS) > before)

    try:
        async with connection.transaction():
            await connection.execute("select from account where id = $1 for update", account)
            worker = await site.settlers.start()
            await until(waits_for_us)
            await connection.execute("select from instruction where subject_id = $1 for update", trade)
        await settle_once(site, [trade])
        await until(was_broken)
    finally:
        await connection.close()
    await worker.kill()
