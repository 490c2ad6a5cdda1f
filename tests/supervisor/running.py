"""Starting real supervisors and servers for tests, and waiting for them with a deadline."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

SECONDS = 20.0


def until(happened: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Wait for something, and fail in words when it does not come."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"Not within {seconds:.0f} seconds: {what}"
        time.sleep(0.02)


def is_gone(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def at_work(directory: Path, program: str) -> list[int]:
    """The top processes of `program` that work in a directory: one for each server, however many helpers it has."""
    place = str(directory.resolve())
    found = {
        process.pid: process.ppid()
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == program and process.info["cwd"] == place
    }
    return [pid for pid, parent in found.items() if parent not in found]


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets and open enough for a server that does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="surplusflow-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def python(code: str, *arguments: object, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program in a process of its own, killed with what it started when the test ends."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    family = []
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
