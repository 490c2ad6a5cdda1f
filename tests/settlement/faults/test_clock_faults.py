"""Workers whose wall clock jumps an hour forth and back, all the time (F29): deadlines are the database's."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.settlement.faults.conftest import Site
from tests.settlement.faults.ending import settle_once
from tests.settlement.faults.settlers import Surroundings, open_settlers

SOURCE = Path(__file__).with_name("jumping_clock.c")
COMPILER = shutil.which("cc")
SEEN = "import time; print(int(time.time()))"

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="the clock is replaced by a compiled file"),
]


@dataclass(frozen=True)
class Jumping(Surroundings):
    """Surroundings in which the wall clock is not to be trusted."""

    preloaded: Path = Path()

    def environment(self) -> dict[str, str]:
        return super().environment() | {"LD_PRELOAD": str(self.preloaded)}


@pytest.fixture
def preloaded(tmp_path: Path) -> Path:
    target = tmp_path / "jumping_clock.so"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", target, SOURCE, "-ldl"], check=True, timeout=60)
    return target


def seconds_seen(preloaded: Path) -> int:
    shown = subprocess.run(
        [sys.executable, "-c", SEEN], check=True, capture_output=True, timeout=60,
        env=os.environ | {"LD_PRELOAD": str(preloaded)},
    )  # fmt: skip
    return int(shown.stdout)


async def test_a_worker_whose_clock_jumps_by_hours_settles_each_trade_once(
    site: Site, preloaded: Path, tmp_path: Path
) -> None:
    seen = await asyncio.to_thread(seconds_seen, preloaded)
    assert abs(seen - time.time()) > 1800, "the clock has to jump, or the test shows nothing"
    values = {name: getattr(site.surroundings, name) for name in Surroundings.__dataclass_fields__}
    site.estate.sim.faults(timeout_after_work_percent=20, error_rate_percent=10, hang_ms=900)

    async with open_settlers(Jumping(**values, preloaded=preloaded), tmp_path / "log") as settlers:
        workers = [await settlers.start(), await site.settlers.start()]
        await settle_once(site, await site.estate.trade(60))
        for worker in workers:
            await worker.kill()
    site.estate.sim.faults()
