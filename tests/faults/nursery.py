"""Forks engines from one warm process, so that a hundred can be killed in some seconds.

Run as a program, it reads one order a line: to start an engine, or to wait for the end of one. Each engine is the real
program in a process of its own, or one of the variants that a test needs. When its orders end, it ends its engines.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from market.engine import engine, feed, program, writing
from market.engine.batch import Decided, Seat
from market.engine.engine import Engine
from market.settings import Settings
from settlement import failpoints


class HastyEngine(Engine):
    """An engine with a planted fault: it answers when it has decided, before that is committed."""

    async def _write(self, seat: Seat, decided: Decided) -> None:
        await feed.announce(self.redis, self.shard, decided.envelopes, decided.answers, decided.news, decided.stream_id)
        await super()._write(seat, decided)


def _answers_before_the_commit() -> None:
    program.Engine = HastyEngine  # type: ignore[attr-defined]


def _stops_before_a_batch() -> None:
    """Stopped with commands in its hands, before its transaction begins."""
    engine.failpoint = _stop_once()  # type: ignore[assignment, attr-defined]


def _stops_before_the_commit() -> None:
    """Stopped inside its transaction, with everything written and the lease row locked."""
    check_fence, stop = writing.check_fence, _stop_once()

    def check_and_stop(*given: Any) -> None:
        check_fence(*given)
        stop("")

    writing.check_fence = check_and_stop  # type: ignore[assignment]


def _stop_once() -> Callable[[str], None]:
    times = iter((True,))

    def stop(_: str) -> None:
        if next(times, False):
            os.kill(os.getpid(), signal.SIGSTOP)

    return stop


CRASHED = 70
"""The exit code of an engine that an unforeseen exception has ended."""
VARIANTS: dict[str, Callable[[], None]] = {
    "plain": lambda: None,
    "answers_before_the_commit": _answers_before_the_commit,
    "stops_before_a_batch": _stops_before_a_batch,
    "stops_before_the_commit": _stops_before_the_commit,
}


def main() -> None:
    """Obey until the orders end."""
    settings = Settings.from_environment(os.environ)
    started: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            started.discard(order["wait"])
            _, status = os.waitpid(order["wait"], 0)
            _answer(os.waitstatus_to_exitcode(status))
        else:
            process_id = os.fork()
            if not process_id:
                _be_an_engine(settings, order)
            started.add(process_id)
            _answer(process_id)
    for process_id in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _be_an_engine(settings: Settings, order: dict[str, str]) -> None:
    """Never returns: what follows in the parent's program is not the child's."""
    code = 0
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        os.environ[failpoints.VARIABLE] = order["failpoint"]
        VARIANTS[order["variant"]]()
        program.main(settings, 0, 1)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 - told by the exit code, as the interpreter itself would
        traceback.print_exc()
        code = CRASHED
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
