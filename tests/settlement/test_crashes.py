"""Workers that die at the worst moment, and the policies that would have moved data twice."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace

import pytest

from settlement.carriers.client import Carrier
from settlement.delivery import DELIVER
from settlement.failpoints import VARIABLE, Failed
from settlement.instructions import Absent, Outcome, seconds
from settlement.steps import Numbers, Outside
from tests.carrier.simulator import ROOT
from tests.payment.making import Provider, settings_for
from tests.settlement.conftest import HANG_MS
from tests.settlement.making import imbalance
from tests.settlement.world import QUICK, World, until


async def die(world: World, database_url: str, payment_simulator: Provider, failpoint: str) -> int:
    """Run a worker as its own process that kills itself at a failpoint; its exit status."""
    described = {
        "database_url": database_url,
        "profile": asdict(world.carrier.profile),
        "payment": asdict(settings_for(payment_simulator)),
        "numbers": world.numbers,
        "mark": world.mark,
    }
    environment = {**os.environ, VARIABLE: f"{failpoint}:kill", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.settlement.one_worker", json.dumps(described)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
    return await asyncio.wait_for(process.wait(), 30)


@pytest.mark.parametrize("failpoint", ["settle.after_claim", "settle.after_send", "settle.before_write"])
async def test_a_worker_killed_anywhere_leaves_exactly_one_movement(
    world: World, database_url: str, payment_simulator: Provider, failpoint: str
) -> None:
    custody = await world.reserved(500)
    before = world.sim.totals()["movements"]
    trade = await world.traded(custody, quantity=200)

    status = await die(world, database_url, payment_simulator, failpoint)
    left_behind = await world.instruction("deliver", trade.id)
    async with world.working():
        ended = await world.ended(trade.id, 20)

    assert status == -signal.SIGKILL
    assert left_behind is not None
    assert (left_behind.status, left_behind.attempt) == ("claimed", 1), "the intent was written before anything left"
    assert left_behind.request_hash is not None
    assert ended.status == "settled"
    assert world.sim.totals()["movements"] == before + 1
    assert await world.received_mb(trade) == 200
    async with world.sessions() as session:
        assert await imbalance(session) == {}


async def test_a_worker_that_fails_inside_stops_as_a_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    custody = await world.reserved(500)
    trade = await world.traded(custody)
    monkeypatch.setenv(VARIABLE, "settle.after_send:raise")

    with pytest.raises(ExceptionGroup) as failed:
        async with world.working():
            await world.ended(trade.id)

    assert failed.group_contains(Failed)
    assert (await world.delivery(trade.id)).status == "pending"


async def _never_asks(outside: Outside, request: object, numbers: Numbers) -> Outcome:
    return Absent()


async def test_sending_again_without_asking_moves_the_data_twice_and_is_noticed(world: World) -> None:
    """The negative control: the same fault, a carrier that does not know ids, and a policy that never asks."""
    world.sim.faults(hang_ms=HANG_MS, idempotent=False)
    reckless = {**QUICK, "deliver": replace(DELIVER, ask=_never_asks, delays=seconds(0.1))}
    before = world.sim.totals()["movements"]

    async with _without_patience(world) as hasty:
        trade = await hasty.traded(await hasty.reserved(1000), "9003", quantity=200)
        async with hasty.working(steps=reckless):
            await until(lambda: _moved(world, before + 2))

    assert await world.received_mb(trade) > 200


async def test_asking_too_early_and_sending_again_moves_the_data_twice(world: World) -> None:
    """The second control: a policy that asks, but does not wait until a late request can no longer land."""
    world.sim.faults(late_ms=HANG_MS, idempotent=False)
    before = world.sim.totals()["movements"]

    async with _without_patience(world) as hasty:
        trade = await hasty.traded(await hasty.reserved(1000), "9006", quantity=200)
        async with hasty.working():
            await until(lambda: _moved(world, before + 2))

    assert await world.received_mb(trade) > 200


@pytest.mark.parametrize("suffix", ["9003", "9006"])
async def test_with_patience_the_same_carrier_moves_it_once(world: World, suffix: str) -> None:
    world.sim.faults(hang_ms=HANG_MS, late_ms=HANG_MS, idempotent=False)
    before = world.sim.totals()["movements"]
    custody = await world.reserved(500)
    trade = await world.traded(custody, suffix, quantity=200)

    async with world.working():
        ended = await world.ended(trade.id)

    assert ended.status == "settled"
    assert world.sim.totals()["movements"] == before + 1


@asynccontextmanager
async def _without_patience(world: World) -> AsyncIterator[World]:
    """The same world, with a worker that believes nothing is ever late."""
    async with Carrier(world.sim.profile(timeout_seconds=0.6, max_in_flight_seconds=0.0)) as carrier:
        yield replace(world, carrier=carrier)


async def _moved(world: World, movements: int) -> bool:
    return world.sim.totals()["movements"] >= movements
