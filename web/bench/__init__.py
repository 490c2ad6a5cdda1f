"""What this machine can do, measured: one module for each thing measured."""

import os
import platform
import random
from time import perf_counter_ns
from typing import Any

import psutil
import uvloop

from market import logs

PLAIN_SUMS = 5_000_000
WALKED_BYTES, STRIDE_BYTES, ROUNDS = 64 * 2**20, 4_099, 20


def run(name: str, trades: int | None = None, asks: int | None = None) -> dict[str, Any]:
    """Take one measure: its name, the machine, and flat figures and ratios.

    ``trades`` is for `report` alone, ``asks`` for `month-end`.
    """
    logs.configure()  # what the programs say goes beside the result, not into it
    measures = {
        "matching": _matching,
        "engine": _engine,
        "http": _http,
        "feed": _feed,
        "growth": _growth,
        "pages": _pages,
        "settlement": _settlement,
    }
    sized = {"report": lambda: _report(trades), "month-end": lambda: _month_end(asks)}
    before = _pace()
    figures, ratios = (measures | sized)[name]()
    machine = _machine() | {"pace_before": before, "pace_after": _pace()}
    return {"name": name, "machine": machine, "figures": figures, "ratios": ratios}


def _matching() -> tuple[dict[str, Any], dict[str, float]]:
    """`SURPLUSFLOW_BENCH_PEERS=0` leaves the other packages out, for a machine that can install nothing."""
    from web.bench import matching

    return matching.run(beside=os.environ.get("SURPLUSFLOW_BENCH_PEERS") != "0")


def _engine() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import engine

    return uvloop.run(engine.run())


def _http() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import http

    return uvloop.run(http.run())


def _pages() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import pages

    return uvloop.run(pages.run())


def _feed() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import feed

    return uvloop.run(feed.run())


def _growth() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import growth

    return uvloop.run(growth.run())


def _settlement() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import settlement

    return uvloop.run(settlement.run())


def _report(trades: int | None = None) -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import report

    return uvloop.run(report.run(trades or report.TRADES))


def _month_end(asks: int | None = None) -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import month_end

    return uvloop.run(month_end.run(asks or month_end.ASKS))


def _pace() -> dict[str, int]:
    """How fast the machine is just now, in milliseconds for a loop of plain sums and for a walk through memory.

    One that is shared with others may take twice as long some minutes later, mostly for the walk.
    """
    cells = bytearray(WALKED_BYTES)
    path = list(range(0, WALKED_BYTES, STRIDE_BYTES))
    random.Random(1).shuffle(path)
    started_at_ns, total = perf_counter_ns(), 0
    for number in range(PLAIN_SUMS):
        total += number
    summed_at_ns = perf_counter_ns()
    for _ in range(ROUNDS):
        for cell in path:
            total += cells[cell]
    walked_ns, summed_ns = perf_counter_ns() - summed_at_ns, summed_at_ns - started_at_ns
    return {"sums_ms": summed_ns // 1_000_000, "walk_ms": walked_ns // 1_000_000}


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
    }
