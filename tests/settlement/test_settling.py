"""The settlement program as it runs in life: woken through Redis, stopped by a signal, silent about numbers."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from sqlalchemy import select

from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.installation import mark
from market.reports import main as write_report
from market.settings import Settings
from market.tables import LineRow, PartyRow
from market.vault import Vault
from settlement.accounts import HOUSE
from tests.carrier.simulator import ROOT
from tests.payment.making import Provider, settings_for
from tests.settlement.world import World, until

SECRET = "demo_0123456789abcdefghijklmnopqrstuvwxyz"
PROGRAM = """
import os
from market.settings import Settings
from market.settling import main
main(Settings.from_environment(os.environ))
"""


def environment(world: World, database_url: str, valkey_url: str, payment: Provider) -> dict[str, str]:
    profile = world.carrier.profile
    carriers = f"""
        [[carrier]]
        code = "{profile.code}"
        name_zh = "{profile.name_zh}"
        name_en = "{profile.name_en}"
        base_url = "{profile.base_url}"
        credential = "{profile.credential}"
        timeout_seconds = 2.0
        max_in_flight_seconds = 2.0
    """
    ours = {
        "ENVIRONMENT": "demo",
        "DATABASE_URL": database_url.replace("+asyncpg", ""),
        "REDIS_URL": valkey_url,
        "SECRET_KEY": SECRET,
        "PUBLIC_URL": "http://127.0.0.1:8000",
        "CARRIERS": carriers,
        "STRIPE_API_KEY": settings_for(payment).api_key,
        "STRIPE_WEBHOOK_SECRET": "whsec_demo_secret",
        "STRIPE_API_BASE": payment.url,
    }
    return {f"SURPLUSFLOW_{name}": value for name, value in ours.items()}


async def found(world: World) -> str:
    """A house of our own; says the installation's mark."""
    async with world.sessions.begin() as session:
        session.add(
            PartyRow(
                kind="operator",
                name="House",
                group_id=HOUSE,
                customer_reference=None,
                payout_reference=None,
                last_signed_in_at=None,
                rewarded_on=None,
            )
        )
        await session.flush()
        return await mark(session)


async def line_of(world: World, line_id: int) -> int:
    """The world's line as a row of the market, its number sealed."""
    vault, number = Vault(SECRET), world.numbers[line_id]
    async with world.sessions.begin() as session:
        party = await session.scalar(select(PartyRow.id).order_by(PartyRow.id).limit(1))
        row = LineRow(
            party_id=party, carrier="CMCC", province="GD", plan="prepaid", base_mb=1000,
            number_hash=vault.lookup(number), number_sealed=vault.seal(number), verified_at=None,
        )  # fmt: skip
        session.add(row)
        await session.flush()
        return row.id


@asynccontextmanager
async def running(variables: dict[str, str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as output:
        environ = {**os.environ, **variables, "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, cwd=ROOT, env=environ, stderr=output
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_the_program_settles_what_is_announced_and_stops_cleanly(
    world: World, database_url: str, valkey_url: str, payment_simulator: Provider, tmp_path: Path
) -> None:
    world.mark = await found(world)
    variables, log = environment(world, database_url, valkey_url, payment_simulator), tmp_path / "settle.log"
    custody = await world.reserved(500)
    receiver = world.a_line("9001", remaining_mb=0)
    good = world.a_line(remaining_mb=0)

    async with (
        running(variables, log) as process,
        Redis.from_url(valkey_url) as redis,
        redis.pubsub(ignore_subscribe_messages=True) as heard,
    ):
        await heard.subscribe(party_channel(custody.party_id))
        await until(lambda: _says(log, "settlement_started"), 30)
        refused = await world.traded_to(custody, await line_of(world, receiver))
        settled = await world.traded_to(custody, await line_of(world, good))
        await redis.publish(SETTLEMENT_WAKE, b"")
        assert (await world.ended(refused.id, 20)).status == "refunded"
        assert (await world.ended(settled.id, 20)).status == "settled"
        assert await _hears(heard)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0

    text = log.read_text()
    assert "settlement_stopped" in text
    assert "RECEIVER_NOT_ELIGIBLE" in text
    assert not [number for number in world.numbers.values() if number in text or number[1:] in text]
    assert SECRET not in text

    today = datetime.now(Settings.from_environment(variables).timezone).date()
    path = tmp_path / "report.csv"
    arguments = Settings.from_environment(variables), "CMCC", today, today, "csv", path
    await asyncio.to_thread(write_report, *arguments)
    report = path.read_text(encoding="utf-8-sig")
    assert f"trd_{settled.id}" in report
    assert not [number for number in world.numbers.values() if number[1:] in report]
    assert sorted(os.listdir(tmp_path)) == ["report.csv", "settle.log"], "nothing half-written is left"  # noqa: PTH208


async def _says(log: Path, words: str) -> bool:
    said = await asyncio.to_thread(log.read_text)
    assert "Traceback" not in said, said
    return words in said


async def _hears(channel: PubSub) -> bool:
    """A message comes, saying nothing but that something is new."""
    async with asyncio.timeout(5):
        while (message := await channel.get_message(timeout=1)) is None:
            pass
    return bool(message["data"] == b"")


async def test_a_worker_does_not_start_under_a_secret_that_opens_no_number(
    world: World, database_url: str, valkey_url: str, payment_simulator: Provider, tmp_path: Path
) -> None:
    log = tmp_path / "settle.log"
    await line_of(world, world.a_line())
    variables = environment(world, database_url, valkey_url, payment_simulator)
    variables["SURPLUSFLOW_SECRET_KEY"] = SECRET[::-1] + "demo"

    async with running(variables, log) as process:
        assert await asyncio.wait_for(process.wait(), 30) != 0

    assert "VaultBroken" in log.read_text()
