"""Engines killed while a unit goes from one to the other: it is at the one or at the other, with all its orders."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from market import gateway
from market.moving import move_unit
from tests.engine.factories import Floor
from tests.shards.making import COIN, judged, shard_in_table, trading_crowds
from tests.shards.processes import Processes, open_processes

pytestmark = pytest.mark.timeout(180)  # every engine is a program that has to start, perhaps on a busy machine
KILLED = -9
KILLS = 3
LONGEST_SECONDS = 0.04


@pytest.fixture(autouse=True)
def _hasty_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that gives up sooner, so that what is lost is asked for again sooner."""
    monkeypatch.setattr(gateway, "ANSWER_SECONDS", 2.0)


@pytest.fixture
async def processes(url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Processes]:
    async with open_processes(url, valkey_url, tmp_path / "engines.log") as processes:
        yield processes


@pytest.mark.parametrize("failpoint", ["engine.handing_over:kill", "engine.handed_over:kill"])
async def test_a_death_on_either_side_of_the_commit_leaves_the_unit_with_one_engine_and_all_its_orders(
    floor: Floor, processes: Processes, failpoint: str
) -> None:
    await processes.start(0, 2, failpoint=failpoint)
    await processes.start(1, 2)
    async with trading_crowds(floor) as crowds:
        for crowd in crowds:
            await crowd.hear(20)
        moving = asyncio.create_task(move_unit(floor.gateway, "COIN", 1))

        assert await processes.ended(0) == KILLED
        handed = failpoint.startswith("engine.handed_over")
        assert await shard_in_table(floor, COIN) == int(handed)
        if handed:
            await crowds[0].hear(20)  # the new engine serves while the old one lies dead
        await processes.start(0, 2)
        assert await moving
        for crowd in crowds:
            await crowd.hear(20)

    assert await shard_in_table(floor, COIN) == 1
    assert await judged(floor, crowds) == []


async def test_random_kills_of_the_old_engine_while_a_unit_moves_lose_and_double_nothing(
    floor: Floor, processes: Processes
) -> None:
    draw = random.Random(KILLS)
    await processes.start(0, 2)
    await processes.start(1, 2)
    async with trading_crowds(floor) as crowds:
        for turn in range(KILLS):
            for crowd in crowds:
                await crowd.hear(20)
            old = await shard_in_table(floor, COIN)
            assert old is not None
            moving = asyncio.create_task(move_unit(floor.gateway, "COIN", 1 - old))
            await asyncio.sleep(draw.uniform(0, LONGEST_SECONDS))
            await processes.kill(old)
            await processes.start(old, 2)
            assert await moving, turn
            assert await shard_in_table(floor, COIN) == 1 - old

    assert await judged(floor, crowds) == []
