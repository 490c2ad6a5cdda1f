"""One writer a shard: another engine takes over when the first dies or stops, and then the first commits nothing."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from market.engine import engine, lease
from tests.engine.factories import Floor, running_engine
from tests.faults.conftest import Tally
from tests.faults.crowd import ask_until_told, trading_crowd
from tests.faults.engines import Engine, Nursery, engine_program
from tests.faults.judging import broken_invariants, judge
from tests.faults.waiting import until

_EPOCH = "select epoch from engine_lease where shard = 0"
_HOLDER = "select holder from engine_lease where shard = 0"
_STANDS_BY = """
select exists (select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
    and query like '%update engine_lease set epoch%')
"""
_COMMITTED_UNDER = "select count(*) from journal where epoch = $1"
FENCED = 1
SHORT_LEASE_SECONDS = 0.5


async def test_a_second_engine_stands_by_and_takes_over_when_the_first_is_killed(
    floor: Floor, url: str, transport_url: str, tmp_path: Path, tally: Tally
) -> None:
    log = tmp_path / "engines.log"
    async with trading_crowd(floor) as crowd, engine_program(url, transport_url, log) as first:
        await crowd.hear()
        epoch = await floor.connection.fetchval(_EPOCH)
        async with engine_program(url, transport_url, log) as second:
            await until(lambda: floor.connection.fetchval(_STANDS_BY))
            await crowd.hear(100)
            assert await floor.connection.fetchval(_EPOCH) == epoch

            waiting = crowd.in_flight
            first.kill()
            await first.wait()
            await crowd.hear(100)
            crowd.stop()
            assert (await floor.connection.fetchval(_HOLDER)).endswith(f":{second.pid}")
            assert await floor.connection.fetchval(_EPOCH) == epoch + 1
            assert await judge(crowd) == []

    assert await broken_invariants(floor.dsn) == {}
    tally(kills=1, requests_waiting=waiting, commands=len(crowd.commands))


@pytest.mark.parametrize(
    ("where", "code"), [("stops_before_a_batch", FENCED), ("stops_before_the_commit", -signal.SIGKILL)]
)
async def test_an_engine_that_was_stopped_past_its_lease_commits_nothing_when_it_goes_on(
    floor: Floor, nursery: Nursery, tally: Tally, where: str, code: int
) -> None:
    # Stopped between batches it finds itself fenced, and ends. Stopped inside one it finds its connection gone, and
    # stands by until it is killed here.
    async with trading_crowd(floor) as crowd:
        stopped = await nursery.start(variant=where)
        await until(lambda: asyncio.to_thread(_has_stopped, stopped))
        epoch = await floor.connection.fetchval(_EPOCH)
        await nursery.start()
        await crowd.hear(50)

        stopped.signal(signal.SIGCONT)
        await crowd.hear(50)
        if code == -signal.SIGKILL:
            await until(lambda: floor.connection.fetchval(_STANDS_BY))
            stopped.signal(signal.SIGKILL)
        assert await stopped.ended() == code
        assert await floor.connection.fetchval(_COMMITTED_UNDER, epoch) == 0

    assert await judge(crowd) == []
    assert await broken_invariants(floor.dsn) == {}
    tally(stops=1, commands=len(crowd.commands), unknown=crowd.history.unknown)


def _has_stopped(engine: Engine) -> bool:
    return psutil.Process(engine.process_id).status() == psutil.STATUS_STOPPED


async def test_an_engine_that_only_repeats_its_answers_keeps_its_shard(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", SHORT_LEASE_SECONDS)
    order = floor.order(await floor.member(), "sell", 100, 1)
    loop = asyncio.get_running_loop()

    async with running_engine(floor.dsn, floor.redis, holder="first"):
        answer = await ask_until_told(floor.gateway, order)
        epoch = await floor.connection.fetchval(_EPOCH)
        second = engine.Engine(floor.dsn, floor.redis, 0, 1, holder="second")
        standing_by = asyncio.create_task(second.run())
        end = loop.time() + 3 * SHORT_LEASE_SECONDS
        while loop.time() < end:
            assert await ask_until_told(floor.gateway, order) == answer
        assert await floor.connection.fetchval(_EPOCH) == epoch
        second.stopping.set()
        await standing_by
