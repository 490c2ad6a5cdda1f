"""Engines of several shards as processes, started as an operator starts them."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from settlement.failpoints import VARIABLE
from tests.faults.engines import END_SECONDS, REPOSITORY, environment


@dataclass
class Processes:
    """Engine processes by shard; a test may kill one and start it again."""

    url: str
    redis_url: str
    log: Path
    running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, shard: int, shards: int, *, failpoint: str = "") -> None:
        with self.log.open("ab") as output:
            self.running[shard] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "web.cli", "engine", "--shard", f"{shard}/{shards}"),
                cwd=REPOSITORY,
                env=environment(self.url, self.redis_url) | {VARIABLE: failpoint},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def kill(self, shard: int) -> None:
        self.running[shard].kill()
        assert await self.ended(shard) == -signal.SIGKILL

    async def stop(self, shard: int) -> None:
        """Tell it to stop, as the supervisor does."""
        self.running[shard].terminate()
        assert await self.ended(shard) == 0

    async def ended(self, shard: int) -> int:
        """Its exit code, minus the signal's number if it was killed."""
        return await asyncio.wait_for(self.running.pop(shard).wait(), END_SECONDS)


@asynccontextmanager
async def open_processes(url: str, redis_url: str, log: Path) -> AsyncIterator[Processes]:
    """No engine outlives the block."""
    processes = Processes(url, redis_url, log)
    try:
        yield processes
    finally:
        for process in processes.running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
