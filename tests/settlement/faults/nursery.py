"""Forks settlement workers from one warm process, so that dozens can be killed in half a minute.

Run as a program, it reads one order a line: to start a worker, or to wait for the end of one. Each worker is the real
program in a process of its own, only less patient. When its orders end, it ends its workers.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from market import logs
from market.buying_in import buying_in
from market.installation import mark
from market.settings import Settings
from market.settling import POOL, outside_of
from market.venue import open_venue
from settlement import failpoints
from settlement.worker import run
from tests.settlement.world import QUICK

SLACK = timedelta(seconds=float(os.environ.get("SURPLUSFLOW_FAULT_SLACK", "3")))
PROVIDER_PATIENCE = timedelta(seconds=0.5)
PROVIDER_SECONDS = 1
ROUND_SECONDS = 0.5


async def _settle(settings: Settings, without: Iterable[str] = ()) -> None:
    """The worker of the program, with an end to its patience that a test can wait for.

    ``without`` are kinds of steps that its release does not know yet.
    """
    stop, wake = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def announce(parties: Iterable[int]) -> None:
        """Nobody listens."""

    async with open_venue(settings, pool_size=POOL) as venue:
        async with venue.sessions() as session:
            outside = outside_of(venue, await mark(session), PROVIDER_PATIENCE)
        outside = replace(outside, slack=SLACK)
        steps = {**QUICK, "buy_in": buying_in(venue.gateway)}
        steps = {kind: step for kind, step in steps.items() if kind not in without}
        worker = f"settler-{os.getpid()}-{uuid4().hex[:8]}"
        await run(
            outside, venue.sessions, announce, wake=wake, stop=stop, worker=worker, steps=steps,
            round_seconds=ROUND_SECONDS,
        )  # fmt: skip


def _be_a_worker(settings: Settings, order: dict[str, Any]) -> None:
    """Never returns: what follows in the parent's program is not the child's."""
    code = 0
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        os.environ[failpoints.VARIABLE] = order["failpoint"]
        if order["files"]:
            resource.setrlimit(resource.RLIMIT_NOFILE, (order["files"], order["files"]))
        logs.configure()
        changes = {name: value for name, value in order["settings"].items() if value}
        payment = replace(settings.payment, timeout_seconds=PROVIDER_SECONDS)
        asyncio.run(_settle(replace(settings, payment=payment, **changes), order["without"]))
    except Exception:  # noqa: BLE001 - told by the exit code, as the interpreter itself would
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)


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
                _be_a_worker(settings, order)
            started.add(process_id)
            _answer(process_id)
    for process_id in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
