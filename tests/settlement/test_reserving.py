"""A seller's data set aside: an instruction like any other, also when whoever waited for it has died."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict
from datetime import timedelta

import pytest
from sqlalchemy import func, update

from settlement.failpoints import VARIABLE
from settlement.funding import instruct
from settlement.tables import CustodyRow, InstructionRow
from tests.carrier.simulator import ROOT, only_bucket
from tests.payment.making import Provider, settings_for
from tests.settlement.making import Balance, a_custody, balance, imbalance
from tests.settlement.world import World, until


async def asked_for(world: World, suffix: str = "0000", quantity_mb: int = 500) -> CustodyRow:
    """A custody as a listing has just written it down."""
    line = world.a_line(suffix, remaining_mb=quantity_mb)
    bucket = await only_bucket(world.carrier, world.numbers[line])
    async with world.sessions.begin() as session:
        return await a_custody(session, quantity_mb=quantity_mb, bucket_id=bucket.id, line_id=line)


async def custody_of(world: World, row: CustodyRow) -> CustodyRow:
    async with world.sessions() as session:
        return await session.get_one(CustodyRow, row.id)


async def comes_to(world: World, row: CustodyRow, status: str) -> None:
    async def there() -> bool:
        return (await custody_of(world, row)).status == status

    await until(there)


async def die(
    world: World, row: CustodyRow, database_url: str, provider: Provider, failpoint: str, *, reckless: bool = False
) -> int:
    """Let a process that waits for the reservation kill itself; its exit status."""
    described = {
        "database_url": database_url, "profile": asdict(world.carrier.profile), "custody": row.id,
        "payment": asdict(settings_for(provider)), "mark": world.mark, "number": world.numbers[row.line_id],
        "reckless": reckless,
    }  # fmt: skip
    environment = {**os.environ, VARIABLE: f"{failpoint}:kill", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.settlement.one_seller", json.dumps(described)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
    return await asyncio.wait_for(process.wait(), 30)


async def hurry(world: World, row: CustodyRow) -> None:
    """Let the dead process's claim have lapsed, and its request be past its longest flight."""
    long_ago = func.now() - timedelta(minutes=1)
    claim = update(InstructionRow).where(InstructionRow.kind == "reserve", InstructionRow.subject_id == row.id)
    async with world.sessions.begin() as session:
        await session.execute(claim.values(claim_deadline=long_ago, not_before=long_ago))


async def has(world: World, row: CustodyRow) -> Balance:
    async with world.sessions() as session:
        assert await imbalance(session) == {}
        return await balance(session, row.account_id)


@pytest.mark.parametrize("failpoint", ["settle.after_claim", "settle.after_send"])
async def test_a_worker_takes_over_when_whoever_waited_has_died(
    world: World, database_url: str, payment_simulator: Provider, failpoint: str
) -> None:
    row = await asked_for(world)

    status = await die(world, row, database_url, payment_simulator, failpoint)
    left_behind = await world.instruction("reserve", row.id)
    await hurry(world, row)
    async with world.working():
        await comes_to(world, row, "reserved")

    assert status == -signal.SIGKILL
    assert left_behind is not None
    assert (left_behind.status, left_behind.attempt) == ("claimed", 1), "the intent was written before anything left"
    assert left_behind.request_hash is not None
    bucket = await only_bucket(world.carrier, world.numbers[row.line_id])
    assert (bucket.remaining_mb, bucket.reserved_mb) == (0, 500)
    assert await has(world, row) == Balance(500, 0)


async def test_what_is_asked_before_it_is_written_down_is_lost_with_its_process(
    world: World, database_url: str, payment_simulator: Provider
) -> None:
    """The negative control: the same death, and nobody knows of the reservation."""
    row = await asked_for(world)

    status = await die(world, row, database_url, payment_simulator, "settle.after_send", reckless=True)

    assert status == -signal.SIGKILL
    bucket = await only_bucket(world.carrier, world.numbers[row.line_id])
    assert bucket.reserved_mb == 500
    assert await world.instruction("reserve", row.id) is None


@pytest.mark.parametrize("suffix", ["0000", "9002", "9003", "9006"])
async def test_whatever_the_answer_data_is_set_aside_once(world: World, suffix: str) -> None:
    row = await asked_for(world, suffix)
    async with world.sessions.begin() as session:
        await instruct(session, "reserve", row.id, "CMCC")

    async with world.working():
        await comes_to(world, row, "reserved")

    assert await has(world, row) == Balance(500, 0)
    assert (await only_bucket(world.carrier, world.numbers[row.line_id])).reserved_mb == 500


async def test_what_the_carrier_refuses_is_not_set_aside(world: World) -> None:
    row = await asked_for(world, quantity_mb=500)
    async with world.sessions.begin() as session:
        await session.execute(update(CustodyRow).where(CustodyRow.id == row.id).values(quantity_mb=600))
        await instruct(session, "reserve", row.id, "CMCC")

    async with world.working():
        await comes_to(world, row, "refused")

    assert await has(world, row) == Balance(0, 0)
    assert (await only_bucket(world.carrier, world.numbers[row.line_id])).reserved_mb == 0
