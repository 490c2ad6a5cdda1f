"""Engines killed at any moment under a stream of orders: nothing acknowledged is lost, nothing is done twice."""

import asyncio
import random
import signal
from collections import Counter

from tests.engine.factories import Floor
from tests.faults.conftest import Tally
from tests.faults.crowd import Crowd, trading_crowd
from tests.faults.engines import Nursery
from tests.faults.judging import broken_invariants, judge
from tests.faults.nursery import CRASHED

KILLS = 120
ROUND, ROUNDS = 15, 5
"""A planted fault must show within so many kills, and so many times that."""
LONGEST_LIFE_SECONDS = 0.06
ON_AN_ANSWER_SHARE = 0.5
DEATHS = 3
FAILPOINTS = (
    "engine.before_batch:kill",
    "engine.before_batch:raise",
    "engine.after_commit:kill",
    "engine.after_commit:raise",
)
CODES = {"kill": -signal.SIGKILL, "raise": CRASHED}


async def _kill_in_mid_stream(nursery: Nursery, crowd: Crowd, kills: int, *, variant: str = "plain") -> int:
    """Kill engine after engine, each after it has served, half of them with an answer just out.

    Gives how many of them were killed while clients waited for answers.
    """
    draw, with_work = random.Random(kills), 0
    engine = await nursery.start(variant=variant)
    for _ in range(kills):
        await crowd.hear(draw.randint(1, 20))
        if draw.random() > ON_AN_ANSWER_SHARE:
            await asyncio.sleep(draw.uniform(0, LONGEST_LIFE_SECONDS))
        with_work += crowd.in_flight > 0
        await engine.kill()
        engine = await nursery.start(variant=variant)
    await crowd.hear()
    return with_work


async def test_a_hundred_random_kills_lose_and_double_nothing(floor: Floor, nursery: Nursery, tally: Tally) -> None:
    async with trading_crowd(floor) as crowd:
        with_work = await _kill_in_mid_stream(nursery, crowd, KILLS)

    assert await judge(crowd) == []
    assert await broken_invariants(floor.dsn) == {}
    tally(kills=KILLS, with_work_in_flight=with_work, commands=len(crowd.commands), unknown=crowd.history.unknown)
    assert with_work > KILLS / 3
    assert crowd.history.unknown


async def test_an_engine_that_answers_before_it_commits_is_caught(floor: Floor, nursery: Nursery, tally: Tally) -> None:
    for seed in range(1, ROUNDS + 1):
        async with trading_crowd(floor, seed=seed) as crowd:
            await _kill_in_mid_stream(nursery, crowd, ROUND, variant="answers_before_the_commit")
        if breaches := await judge(crowd):
            break

    tally(kills=seed * ROUND, breaches_found=len(breaches))
    assert {breach.kind for breach in breaches} & {"lost", "changed"}


async def test_a_death_before_a_batch_or_after_its_commit_loses_and_doubles_nothing(
    floor: Floor, nursery: Nursery, tally: Tally
) -> None:
    deaths = Counter[str]()
    async with trading_crowd(floor) as crowd:
        for failpoint in FAILPOINTS * DEATHS:
            doomed = await nursery.start(failpoint=failpoint)
            code = await doomed.ended()
            deaths[f"{failpoint} {code}"] += 1
            engine = await nursery.start()
            await crowd.hear(20)
            await engine.kill()
        await nursery.start()

    assert await judge(crowd) == []
    assert await broken_invariants(floor.dsn) == {}
    tally(**deaths, commands=len(crowd.commands), unknown=crowd.history.unknown)
    assert set(deaths) == {f"{failpoint} {CODES[failpoint.rpartition(':')[2]]}" for failpoint in FAILPOINTS}
