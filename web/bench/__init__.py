"""What this machine can do, measured: one module for each thing measured."""

import os
import platform
from collections.abc import Callable
from typing import Any

import psutil
import uvloop

from web.trouble import Trouble


def run(name: str) -> dict[str, Any]:
    """Take one measure: its name, the machine, and flat figures and ratios.

    Raises:
        Trouble: there is no such measure in this version.
    """
    measures: dict[str, Callable[[], tuple[dict[str, Any], dict[str, float]]]] = {
        "matching": _matching,
        "engine": _engine,
        "http": _http,
    }
    if name not in measures:
        raise Trouble(f"This version measures {', '.join(measures)}.")
    figures, ratios = measures[name]()
    return {"name": name, "machine": _machine(), "figures": figures, "ratios": ratios}


def _matching() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import matching

    return dict(matching.run()), {}


def _engine() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import engine

    return uvloop.run(engine.run())


def _http() -> tuple[dict[str, Any], dict[str, float]]:
    from web.bench import http

    return uvloop.run(http.run())


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
    }
