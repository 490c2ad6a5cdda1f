"""The whole market as `surplusflow up` runs it, for tests that look at it from outside."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from web.embedded import free_port

START_SECONDS = 150
STOP_SECONDS = 60
RUNNING = "Surplusflow is running"


@dataclass
class Running:
    """A running market: its addresses, its data directory, and what a person would read on the console."""

    process: "subprocess.Popen[bytes]"
    data_dir: Path
    console: Path

    @property
    def run(self) -> dict[str, Any]:
        return dict(json.loads((self.data_dir / "run.json").read_text(encoding="utf-8")))

    @property
    def web(self) -> str:
        return str(self.run["urls"]["web"])

    @property
    def phones(self) -> str:
        return str(self.run["urls"]["carrier_phones"]).rstrip("/")

    @property
    def officer_password(self) -> str:
        found = re.search(r"password (\S+)", (self.data_dir / "demo-logins.txt").read_text(encoding="utf-8"))
        assert found is not None
        return found[1]

    def command(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Run one of our commands on this market."""
        return subprocess.run(
            [sys.executable, "-m", "web.cli", *argv, "--data-dir", str(self.data_dir)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )


@contextmanager
def running_market(data_dir: Path, *options: str, settings: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start everything in a directory, wait until it says that it runs, and stop it in order."""
    data_dir.mkdir(parents=True, exist_ok=True)
    console = data_dir / "console.txt"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SURPLUSFLOW_")}
    with console.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "web.cli", "up", "--data-dir", str(data_dir), "--port", str(free_port()), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment | dict(settings or {}),
            start_new_session=True,
        )
    running = Running(process, data_dir, console)
    try:
        _wait_for(running, RUNNING)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(running: Running, words: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while words not in running.console.read_text(encoding="utf-8", errors="replace"):
        if running.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"The market did not start:\n{running.console.read_text(errors='replace')}")
        time.sleep(0.1)
