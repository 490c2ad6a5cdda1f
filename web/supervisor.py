"""Keeps a set of programs running: starts them in order, starts again what ends by itself, stops all in reverse."""

import asyncio
import contextlib
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from web.leash import signal_group, spawn
from web.trouble import Trouble

POLL_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 15.0
STEADY_SECONDS = 30.0
"""A program that ran this long is taken to be well; when it ends, the next pause is a short one again."""
EARLY_ENDS = 3
"""A program that ends this often before it was ever ready will not get ready by trying more."""
KILL_SECONDS = 5.0
LAST_WORDS_SECONDS = 1.0
"""How long the output of a program that ended is still read."""
LOG_BYTES = 5_000_000
LOG_FILES = 3
TAIL_BYTES = 3_000
LINE_CHARACTERS = 300

ALARM = re.compile(
    rb'\b(WARNING|ERROR|CRITICAL|FATAL|PANIC)\b|"level": ?"(warning|error|critical)"|^\S*(Error|Exception):'
)
# A server that is killed or starts says FATAL once for each client; that is for its log.
SERVER_ALARM = re.compile(rb"PANIC:|FATAL: +(?!terminating connection|the database system)|# (Fatal|Bad|Can't)")


class NotReady(Trouble):
    """A program did not get ready; the message carries the end of its log."""


@dataclass(frozen=True)
class Child:
    """A program to keep: how it is started, when it counts as ready, and how it is asked to stop."""

    name: str
    argv: tuple[str | Path, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path
    owner: tuple[int, int] | None = None
    """User and group id that it runs under; ours when None."""
    prepare: Callable[[], None] | None = None
    """Done before every start, off the event loop."""
    ready: Callable[[int], bool] | None = None
    """Asked with the process id, off the event loop; without it a program is ready once it is started."""
    ready_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    alarm: re.Pattern[bytes] = ALARM
    """The lines of its output that belong on the console as well as in its log."""


class Log:
    """A program's output in a file that is put aside at `LOG_BYTES`, with the last few kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)

    def write(self, chunk: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk costs lines, and never the program that writes them
            if self._file.tell() + len(chunk) > LOG_BYTES:
                self._put_aside()
            self._file.write(chunk)

    def tail(self) -> str:
        return self.path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()

    def close(self) -> None:
        self._file.close()

    def _put_aside(self) -> None:
        self._file.close()
        for number in range(LOG_FILES - 1, 0, -1):
            older = self._aside(number)
            if older.exists():
                older.replace(self._aside(number + 1))
        self.path.replace(self._aside(1))
        self._file = self.path.open("ab", buffering=0)

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


class Supervisor:
    """Keeps programs. `note` is told the process ids by name when they change, `say` what the operator should know."""

    def __init__(self, logs: Path, *, note: Callable[[Mapping[str, int]], None], say: Callable[[str], None]) -> None:
        self._logs = logs
        self._note = note
        self._say = say
        self._kept: list[_Kept] = []

    async def start(self, child: Child) -> None:
        """Start a program, keep it from now on, and return when it is ready.

        Raises:
            NotReady: when it keeps ending, or is not ready in time. It is stopped with the others.
        """
        kept = _Kept(child, Log(self._logs / f"{child.name}.log"), changed=self._changed, say=self._say)
        self._kept.append(kept)
        kept.begin()
        await kept.wait_ready()

    async def finish(self, child: Child, seconds: float) -> None:
        """Run a program to its end.

        Raises:
            NotReady: when it fails, or is not done in time.
        """
        kept = _Kept(child, Log(self._logs / f"{child.name}.log"), changed=lambda: None, say=self._say)
        try:
            code = await asyncio.wait_for(kept.run_once(), seconds)
        except TimeoutError:
            raise kept.not_ready(f"is not done after {seconds:g} seconds") from None
        finally:
            await kept.stop()
        if code:
            raise kept.not_ready(_ending(code))

    async def stop(self) -> None:
        """Stop all, the last started first, each within its own bounded time."""
        while self._kept:
            await self._kept[-1].stop()
            self._kept.pop()
        self._note({})

    def _changed(self) -> None:
        self._note({kept.child.name: kept.process.pid for kept in self._kept if kept.process is not None})


class _Kept:
    """One program being kept."""

    def __init__(self, child: Child, log: Log, *, changed: Callable[[], None], say: Callable[[str], None]) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self._log = log
        self._changed = changed
        self._say = say
        self._stopping = asyncio.Event()
        self._ends = 0
        self._keeper: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name=self.child.name)

    async def run_once(self) -> int:
        process = await self._start()
        await _ended(process)
        signal_group(process.pid, signal.SIGKILL)  # helpers of its own that it left behind
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=LAST_WORDS_SECONDS)
        return process.returncode

    async def wait_ready(self) -> None:
        deadline = time.monotonic() + self.child.ready_seconds
        while not await self._is_ready():
            if self._keeper is not None and self._keeper.done():
                await self._keeper
            if self._ends >= EARLY_ENDS:
                raise self.not_ready("does not start")
            if time.monotonic() > deadline:
                raise self.not_ready(f"is not ready after {self.child.ready_seconds:g} seconds")
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        self._stopping.set()
        if self.process is not None:
            await self._end(self.process)
        tasks = [task for task in (self._keeper, self._reader) if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._log.close()

    def not_ready(self, words: str) -> NotReady:
        indented = self._log.tail().replace("\n", "\n  ")
        return NotReady(f"{self.child.name} {words}. The end of {self._log.path}:\n  {indented}")

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            words = await self._run_until_it_ends()
            if self._stopping.is_set():
                return
            self._ends += 1
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - began > STEADY_SECONDS else pause
            self._say(f"[{self.child.name}] {words}; starting it again in {pause:.1f} s.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run_until_it_ends(self) -> str:
        try:
            return _ending(await self.run_once())
        except (OSError, Trouble) as trouble:
            self._log.write(f"{trouble}\n".encode())
            return f"could not be started ({trouble})"
        finally:
            self.process = None

    async def _start(self) -> subprocess.Popen[bytes]:
        if self.child.prepare is not None:
            await asyncio.to_thread(self.child.prepare)
        reading, writing = os.pipe()
        try:
            self.process = spawn(
                self.child.argv,
                directory=self.child.directory,
                environment=self.child.environment,
                output=writing,
                owner=self.child.owner,
                farewell=self.child.stop_signal,
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._reader = asyncio.create_task(self._copy(reading), name=f"{self.child.name} output")
        self._changed()
        return self.process

    async def _is_ready(self) -> bool:
        process = self.process
        if process is None or process.poll() is not None:
            return False
        return self.child.ready is None or await asyncio.to_thread(self.child.ready, process.pid)

    async def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(self.child.stop_signal)
        if not await _ended(process, self.child.stop_seconds):
            self._say(f"[{self.child.name}] did not stop within {self.child.stop_seconds:g} s and is killed.")
        signal_group(process.pid, signal.SIGKILL)
        await _ended(process, KILL_SECONDS)

    async def _copy(self, reading: int) -> None:
        """Copy a program's output to its log, and the lines that alarm to the console."""
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb", buffering=0)
        )
        rest = b""
        try:
            while chunk := await stream.read(65_536):
                self._log.write(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[-LINE_CHARACTERS:]
                for line in lines:
                    if self.child.alarm.search(line):
                        self._say(f"[{self.child.name}] {line.decode(errors='replace')[:LINE_CHARACTERS]}")
        finally:
            transport.close()


def stop_left_behind(created: Mapping[str, tuple[int, float]]) -> list[str]:
    """Stop the programs of a run whose supervisor was killed, told by process id and time of creation.

    Returns the names of those that were still there.
    """
    found = {}
    for name, (process_id, created_at) in created.items():
        try:
            process = psutil.Process(process_id)
            if abs(process.create_time() - created_at) < 1:
                found[name] = process
        except psutil.NoSuchProcess:
            continue
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in found.values():
            signal_group(process.pid, number)
        _, alive = psutil.wait_procs(list(found.values()), timeout=KILL_SECONDS)
        if not alive:
            break
    return sorted(found)


async def _ended(process: subprocess.Popen[bytes], seconds: float = math.inf) -> bool:
    deadline = time.monotonic() + seconds
    while process.poll() is None:  # the end of a process is no event that a loop can wait for on every system
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
