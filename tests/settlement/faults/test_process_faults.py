"""Workers, their transport and the carriers fail as real processes do: each trade is still settled once."""

import asyncio
import signal
from pathlib import Path

import asyncpg
import pytest

from tests.carrier.simulator import CarrierProcess, free_port
from tests.faults.proxy import Cut, open_proxy
from tests.faults.waiting import until
from tests.settlement.faults.conftest import Site
from tests.settlement.faults.ending import settle_once
from tests.settlement.faults.test_random_run import _sockets_of, _through

CLAIMED = "select count(*) from instruction where status = 'claimed'"
LEFT_ALONE = "select count(*) from lane_state where state <> 'closed'"

pytestmark = pytest.mark.timeout(240)  # some of it waits for time-outs that a machine in use needs


@pytest.mark.parametrize("cut", ["before", "after", "late"])
async def test_a_commit_of_unknown_outcome_is_read_again_and_nothing_is_sent_twice(
    site: Site, tmp_path: Path, cut: Cut
) -> None:
    async with open_proxy(_sockets_of(site.database_url), tmp_path / "cut") as proxy:
        worker = await site.settlers.start(database_url=_through(site.database_url, tmp_path / "cut"))
        trades = await site.estate.trade(20)
        await proxy.cut(cut)
        await proxy.cut(cut)
        await settle_once(site, trades)
        await worker.kill()

    assert proxy.met[cut] == 2


async def test_a_worker_that_was_stopped_past_its_claims_changes_nothing_when_it_goes_on(site: Site) -> None:
    """It may have been stopped inside a transaction, whose locks last until the server's patience ends."""
    site.estate.sim.faults(latency_ms=300)
    stalled = await site.settlers.start()
    trades = await site.estate.trade(20)

    async def has_claimed() -> bool:
        return bool(await site.estate.scalar(CLAIMED))

    await until(has_claimed)
    stalled.signal(signal.SIGSTOP)
    other = await site.settlers.start()
    try:
        site.estate.sim.faults()
        await settle_once(site, trades)
        stalled.signal(signal.SIGCONT)
        more = await site.estate.trade(5)
        await settle_once(site, trades + more)
    finally:
        await stalled.kill()
        await other.kill()


async def test_carriers_that_are_away_are_left_alone_and_everything_settles_when_they_are_back(
    site: Site, own_carriers: CarrierProcess
) -> None:
    worker = await site.settlers.start()
    await asyncio.to_thread(own_carriers.stop)
    trades = await site.estate.trade(60)

    async def is_left_alone() -> bool:
        return bool(await site.estate.scalar(LEFT_ALONE))

    try:
        await until(is_left_alone, 30)
    finally:
        await asyncio.to_thread(own_carriers.start)
    await settle_once(site, trades)
    assert not await site.estate.scalar(LEFT_ALONE)
    await worker.kill()


async def test_a_worker_without_its_transport_looks_by_itself(site: Site) -> None:
    worker = await site.settlers.start(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    trades = await site.estate.trade(5)

    await settle_once(site, trades)
    await worker.kill()


async def test_a_lock_that_lasts_costs_time_and_nothing_else(site: Site) -> None:
    worker = await site.settlers.start()
    connection = await asyncpg.connect(site.dsn)
    try:
        async with connection.transaction():
            await connection.execute("select id from account order by id desc for update")
            placing = asyncio.create_task(site.estate.trade(10))
            await asyncio.wait({placing}, timeout=1)
            assert not placing.done(), "everybody waits for this lock"
        trades = await placing
        await settle_once(site, trades)
    finally:
        await connection.close()
        await worker.kill()
