"""Engines as processes that a test may kill: forked from the nursery, or started by the command line."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 30
END_SECONDS = 20
CARRIERS = """
[[carrier]]
code = "CMCC"
name_zh = "中国移动"
name_en = "China Mobile"
base_url = "http://127.0.0.1:9/cmcc"
credential = "none"
"""


def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """What an engine must be told; carriers and provider are named, but no engine ever calls them."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SURPLUSFLOW_")}
    return ours | {
        "SURPLUSFLOW_ENVIRONMENT": "demo",
        "SURPLUSFLOW_DATABASE_URL": database_url,
        "SURPLUSFLOW_REDIS_URL": redis_url,
        "SURPLUSFLOW_SECRET_KEY": "demo_kq7Zt0aVd3LwP9xRmB2uYh5JcNsE8fGo",
        "SURPLUSFLOW_PUBLIC_URL": "http://127.0.0.1:9",
        "SURPLUSFLOW_CARRIERS": CARRIERS,
        "SURPLUSFLOW_STRIPE_API_KEY": "sk_test_sim_1",
        "SURPLUSFLOW_STRIPE_API_BASE": "http://127.0.0.1:9",
        "SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": "whsec_1",
    }


@dataclass(frozen=True)
class Engine:
    """One engine process of the nursery."""

    process_id: int
    nursery: "Nursery"

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process_id, number)

    async def ended(self) -> int:
        """Its exit code, minus the signal's number if it was killed."""
        return await self.nursery.order({"wait": self.process_id}, END_SECONDS)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL


class Nursery:
    """The test's end of `tests.faults.nursery`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._one_at_a_time = asyncio.Lock()

    async def start(self, *, variant: str = "plain", failpoint: str = "") -> Engine:
        return Engine(await self.order({"variant": variant, "failpoint": failpoint}, START_SECONDS), self)

    async def order(self, order: dict[str, str] | dict[str, int], seconds: float) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._one_at_a_time, asyncio.timeout(seconds):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            return int(await self._process.stdout.readline())


@asynccontextmanager
async def open_nursery(database_url: str, redis_url: str, log: Path) -> AsyncIterator[Nursery]:
    """Engines for one database, their output in a file; none outlives the block."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.nursery",
            cwd=REPOSITORY,
            env=environment(database_url, redis_url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Nursery(process)
    finally:
        await _end(process)


@asynccontextmanager
async def engine_program(database_url: str, redis_url: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """One engine just as an operator starts it."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "web.cli", "engine", "--shard", "0/1"),
            cwd=REPOSITORY,
            env=environment(database_url, redis_url),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _end(nursery: asyncio.subprocess.Process) -> None:
    """Let it end its engines; what hangs is killed with all of its group."""
    assert nursery.stdin is not None
    nursery.stdin.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(nursery.wait(), END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(nursery.pid, signal.SIGKILL)
    await nursery.wait()
