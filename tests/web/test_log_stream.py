"""Log lines whose reader is gone."""

import os
import subprocess
import sys

SPEAKER = """
import sys
import structlog
from {module} import {configure}
{configure}()
sys.stdin.readline()
for _ in range(3):
    structlog.get_logger().info("said")
print("still here")
"""


def _speaks_on(module: str, configure: str) -> str:
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKER.format(module=module, configure=configure)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
    ) as process:
        os.close(writing)
        os.close(reading)
        said, _ = process.communicate("go\n", timeout=30)
    return said


def test_a_program_goes_on_when_nobody_reads_its_log() -> None:
    assert _speaks_on("market.logs", "configure") == "still here\n"
    assert _speaks_on("web.edge.logs", "configure_logs") == "still here\n"
