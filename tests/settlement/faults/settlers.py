"""Settlement workers as processes that a test may kill, stop and let go on."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.engines import END_SECONDS, REPOSITORY, START_SECONDS, Engine, Nursery
from tests.settlement.test_settling import SECRET

CARRIER = """
[[carrier]]
code = "{code}"
name_zh = "移动"
name_en = "Mobile"
base_url = "{url}/{path}"
credential = "{credential}"
timeout_seconds = {timeout}
max_in_flight_seconds = {in_flight}
"""
TIMEOUT_SECONDS = 0.6
IN_FLIGHT_SECONDS = 3.0
"""Late requests of the simulated carriers land well within it, also on a busy machine."""


@dataclass(frozen=True)
class Surroundings:
    """All that a worker is told by its environment."""

    database_url: str
    redis_url: str
    carriers_url: str
    provider_url: str
    credentials: dict[str, str]
    api_key: str

    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SURPLUSFLOW_")}
        tables = (
            CARRIER.format(
                code=code, path=code.lower(), url=self.carriers_url, credential=credential,
                timeout=TIMEOUT_SECONDS, in_flight=IN_FLIGHT_SECONDS,
            )
            for code, credential in self.credentials.items()
        )  # fmt: skip
        return ours | {
            "SURPLUSFLOW_ENVIRONMENT": "demo",
            "SURPLUSFLOW_DATABASE_URL": self.database_url.replace("+asyncpg", ""),
            "SURPLUSFLOW_REDIS_URL": self.redis_url,
            "SURPLUSFLOW_SECRET_KEY": SECRET,
            "SURPLUSFLOW_PUBLIC_URL": "http://127.0.0.1:9",
            "SURPLUSFLOW_CARRIERS": "\n".join(tables),
            "SURPLUSFLOW_STRIPE_API_KEY": self.api_key,
            "SURPLUSFLOW_STRIPE_API_BASE": self.provider_url,
            "SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": "whsec_demo_secret",
        }


@dataclass(frozen=True)
class Settlers:
    """Where workers come from."""

    nursery: Nursery

    async def start(
        self, *, failpoint: str = "", database_url: str = "", redis_url: str = "", files: int = 0,
        without: Sequence[str] = (),
    ) -> Engine:  # fmt: skip
        """A worker, told to die at a failpoint, to use another way to its servers, or given so few open files.

        One of an older release knows nothing of the kinds of steps that it is ``without``.
        """
        settings = {"database_url": database_url, "redis_url": redis_url}
        order: dict[str, Any] = {"failpoint": failpoint, "files": files, "settings": settings, "without": [*without]}
        return Engine(await self.nursery.order(order, START_SECONDS), self.nursery)


@asynccontextmanager
async def open_settlers(surroundings: Surroundings, log: Path) -> AsyncIterator[Settlers]:
    """Workers for one installation, their output in a file; none outlives the block."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.settlement.faults.nursery",
            cwd=REPOSITORY,
            env=surroundings.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Settlers(Nursery(process))
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
