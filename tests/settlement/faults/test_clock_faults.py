"""Clocks that jump (F29): a worker's does not matter, as deadlines are the database's; the database's costs time."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from settlement.waiting import first
from tests.settlement.faults.conftest import Site
from tests.settlement.faults.ending import settle_once
from tests.settlement.faults.settlers import Surroundings, open_settlers

SOURCE = Path(__file__).with_name("jumping_clock.c")
COMPILER = shutil.which("cc")
SEEN = "import time; print(int(time.time()))"

NEEDS_COMPILER = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="the clock is replaced by a compiled file"
)
JUMPS_SECONDS = (3600, -3600, 3595, 0, -5, 3600, -3600, 1800, 0, 7200)
"""After the last what was put off before the clock went back is due."""
JUMP_EVERY_SECONDS = 1.0
FURTHER_SECONDS, FURTHER_EVERY_SECONDS = 1200, 5.0
"""From then on the clock goes forward alone. A question that stays unanswered is put again after a quarter of the time
that seems to have passed, a quarter of an hour at most: each of these jumps makes it due."""
# Statements find this `now` before the server's own.
JUMPING_DATABASE = """
create schema jumping;
create table jumping.by as select 0 as seconds;
create function jumping.now() returns timestamptz language sql stable
    return pg_catalog.now() + (select seconds from jumping.by) * interval '1 second';
"""

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Jumping(Surroundings):
    """Surroundings in which the wall clock is not to be trusted."""

    preloaded: Path = Path()

    def environment(self) -> dict[str, str]:
        return super().environment() | {"LD_PRELOAD": str(self.preloaded)}


@pytest.fixture
def preloaded(tmp_path: Path) -> Path:
    target = tmp_path / "jumping_clock.so"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", target, SOURCE, "-ldl"], check=True, timeout=60)
    return target


def seconds_seen(preloaded: Path) -> int:
    shown = subprocess.run(
        [sys.executable, "-c", SEEN], check=True, capture_output=True, timeout=60,
        env=os.environ | {"LD_PRELOAD": str(preloaded)},
    )  # fmt: skip
    return int(shown.stdout)


@NEEDS_COMPILER
async def test_a_worker_whose_clock_jumps_by_hours_settles_each_trade_once(
    site: Site, preloaded: Path, tmp_path: Path
) -> None:
    seen = await asyncio.to_thread(seconds_seen, preloaded)
    assert abs(seen - time.time()) > 1800, "the clock has to jump, or the test shows nothing"
    values = {name: getattr(site.surroundings, name) for name in Surroundings.__dataclass_fields__}
    site.estate.sim.faults(timeout_after_work_percent=20, error_rate_percent=10, hang_ms=900)

    async with open_settlers(Jumping(**values, preloaded=preloaded), tmp_path / "log") as settlers:
        workers = [await settlers.start(), await site.settlers.start()]
        await settle_once(site, await site.estate.trade(60))
        for worker in workers:
            await worker.kill()
    site.estate.sim.faults()


async def test_a_database_whose_clock_jumps_by_hours_settles_each_trade_once(site: Site) -> None:
    connection = await asyncpg.connect(site.dsn)
    name = await connection.fetchval("select current_database()")
    await connection.execute(JUMPING_DATABASE)
    await connection.execute(f'alter database "{name}" set search_path = jumping, pg_catalog, public')
    site.estate.sim.faults(timeout_after_work_percent=20, error_rate_percent=10, hang_ms=900)
    workers = [await site.settlers.start() for _ in range(2)]
    ended = asyncio.Event()
    jumps = asyncio.create_task(_keep_jumping(connection, ended))
    try:
        await settle_once(site, await site.estate.trade(60))
    finally:
        ended.set()
        await jumps
        for worker in workers:
            await worker.kill()
        site.estate.sim.faults()
        await connection.execute(f'alter database "{name}" reset search_path')
        await connection.close()


async def _keep_jumping(connection: asyncpg.Connection, ended: asyncio.Event) -> None:
    """Make the time that a worker reads off the database jump, ten times at least; its sessions see each jump."""
    for seconds in JUMPS_SECONDS:
        await connection.execute("update jumping.by set seconds = $1", seconds)
        await asyncio.sleep(JUMP_EVERY_SECONDS)
    while not ended.is_set():
        await first(ended.wait(), timeout_seconds=FURTHER_EVERY_SECONDS)
        await connection.execute("update jumping.by set seconds = seconds + $1", FURTHER_SECONDS)
