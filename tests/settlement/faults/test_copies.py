"""Two releases at work at once, and books that were restored from a backup (F33, F35)."""

import asyncio
import subprocess
from pathlib import Path

import asyncpg
import pytest

from market.database import raw_dsn
from tests.carrier.simulator import CREDENTIALS
from tests.faults.judging import broken_invariants
from tests.faults.waiting import until
from tests.settlement.faults.conftest import Site
from tests.settlement.faults.ending import END_SECONDS, moved, settle_once
from tests.settlement.faults.test_random_run import _sockets_of
from web.embedded import PostgresServer

DUMP_SECONDS = 60
OPEN = "select count(*) from delivery where status in ('pending', 'delivered')"
HOME = "select count(*) from books_home"

pytestmark = pytest.mark.timeout(240)


async def test_an_older_release_leaves_a_newer_ones_steps_alone_and_the_newer_one_does_them(site: Site) -> None:
    older = await site.settlers.start(without=["handout"])
    await site.estate.hand_out(4)
    trades = await site.estate.trade(20)
    await settle_once(site, trades)
    left = await site.estate.rows("select status from instruction where kind = 'handout'")
    newer = await site.settlers.start()

    async def handed_out() -> bool:
        return not await site.estate.scalar("select count(*) from handout where status <> 'done'")

    await until(handed_out, END_SECONDS)
    await older.kill()
    await newer.kill()

    assert {status for (status,) in left} == {"ready"}
    assert await broken_invariants(site.dsn) == {}


def copied(site: Site, programs: Path, target: str, file: Path) -> str:
    """The books of this moment, in a database of their own; gives its address."""
    host = ("-h", _sockets_of(site.database_url), "-U", "postgres")
    source = site.dsn.partition("?")[0].rpartition("/")[2]
    for command in (
        (programs / "pg_dump", *host, "-Fc", "-f", file, source),
        (programs / "createdb", *host, target),
        (programs / "pg_restore", *host, "-d", target, file),
    ):
        subprocess.run(command, check=True, timeout=DUMP_SECONDS)
    return site.database_url.replace(f"/{source}?", f"/{target}?")


async def settled_in(site: Site, dsn: str, trades: list[int], settlers_url: str) -> dict[int, int]:
    """Let a worker end everything in these books; how often the carriers have moved each trade's data."""
    connection = await asyncpg.connect(dsn)
    worker = await site.settlers.start(database_url=settlers_url)

    async def nothing_is_open() -> bool:
        return not await connection.fetchval(OPEN)

    try:
        await until(nothing_is_open, END_SECONDS)
    finally:
        await connection.close()
    await worker.kill()
    return await moved(site, trades)


async def has_a_home(site: Site) -> None:
    """A worker has been at these books, as it has wherever there is something to restore."""
    worker = await site.settlers.start()

    async def so() -> bool:
        return bool(await site.estate.scalar(HOME))

    await until(so)
    await worker.kill()


async def backed_up(site: Site, server_directory: Path, name: str, file: Path) -> tuple[list[int], str]:
    """Trades that were settled after the backup was taken, at carriers that know no ids; and the copy's address."""
    await has_a_home(site)
    for code in CREDENTIALS:
        site.estate.sim.raw("PUT", "/admin/faults", code=code, json={"idempotent": False})
    trades = await site.estate.trade(12)
    programs = Path(PostgresServer(server_directory / "programs", durable=False).argv[0]).parent
    url = await asyncio.to_thread(copied, site, programs, name, file)
    await settled_in(site, site.dsn, trades, "")
    return trades, url


async def test_restored_books_ask_before_they_send(site: Site, tmp_path: Path, server_directory: Path) -> None:
    trades, url = await backed_up(site, server_directory, "copy_noticed", tmp_path / "backup")

    times = await settled_in(site, raw_dsn(url), trades, url)

    assert times == dict.fromkeys(trades, 1)
    assert await broken_invariants(raw_dsn(url)) == {}


async def test_restored_books_that_do_not_know_it_move_data_again(
    site: Site, tmp_path: Path, server_directory: Path
) -> None:
    """The negative control."""
    trades, url = await backed_up(site, server_directory, "copy_unnoticed", tmp_path / "backup")
    connection = await asyncpg.connect(raw_dsn(url))
    await connection.execute(
        "update books_home set place = (select format('%s/%s/%s', system_identifier, timeline_id, pg_database.oid)"
        " from pg_control_system(), pg_control_checkpoint(), pg_database where datname = current_database())"
    )
    await connection.close()
    worker = await site.settlers.start(database_url=url)

    async def moved_again() -> bool:
        return max((await moved(site, trades)).values()) > 1

    await until(moved_again, END_SECONDS)
    await worker.kill()
