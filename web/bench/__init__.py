"""What this machine can do, measured: one module for each thing measured."""

import os
import platform
from typing import Any

import psutil
import uvloop

from market import logs


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
    figures, ratios = (measures | sized)[name]()
    return {"name": name, "machine": _machine(), "figures": figures, "ratios": ratios}


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


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
    }
