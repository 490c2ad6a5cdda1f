"""Other order-book packages, each in an environment of its own that is thrown away, on the same stream as our book."""

import json
import os
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import structlog

import matching
from web.bench.peers.driver import ADD, CANCEL, TAKE

__all__ = ["ADD", "CANCEL", "CORE", "PEERS", "TAKE", "Peer", "Run", "best", "compare", "figures_of", "play", "write"]

logger = structlog.get_logger("surplusflow.bench")

DRIVER = Path(__file__).with_name("driver.py")
CORE = "surplusflow"
INSTALL_SECONDS = 60
PLAY_SECONDS = 120
FRUITLESS_INSTALLS = 2  # so many at the start, and there is no network
NANOSECONDS = 1_000_000_000


class Peer(NamedTuple):
    """A package at one version. A slow one plays the first `events` alone; a short play is repeated.

    One that does not come to the end of a longer stream is measured on what it can play, and is never the best peer.
    One that does not tell its caller what traded does less than our book; the best of those that do is told apart.
    """

    name: str
    requirement: str
    events: int
    rounds: int = 1
    dependencies: bool = True
    finishes: bool = True
    tells_trades: bool = True

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")


PEERS = (
    Peer("nanobook", "nanobook==0.19.2", 2_000, rounds=7, finishes=False),
    Peer("litebook", "litebook==0.0.1", 400_000, rounds=3),
    Peer("limit-order-book", "limit-order-book==2.0.0", 400_000, rounds=3, tells_trades=False),
    Peer("liquibook", "liquibook==2.0.1", 400_000, rounds=3),
    Peer("liquibook-silent", "liquibook==2.0.1", 400_000, rounds=3, tells_trades=False),
    Peer("pylobo", "pylobo==0.1.2", 200_000, rounds=2, dependencies=False),
    Peer("orderly-chaos", "orderly-chaos==0.2.0", 200_000, tells_trades=False),
    Peer("cython-orderbook", "cython-orderbook==0.1.2", 200_000),
    Peer("akhil4n-orderbook", "akhil4n-orderbook==0.1.1", 200_000),
    Peer("pyorderbook", "pyorderbook==0.4.9", 200_000),
    Peer("obook", "obook==0.1.0", 50_000),
    Peer("lightmatchingengine", "lightmatchingengine==2019.1.4", 50_000),
    Peer("manticore-orderbook", "manticore-orderbook==1.0.1", 20_000),
    Peer("fastlob", "fastlob==0.0.24", 20_000),
    Peer("order-matching", "order-matching[polars]==0.12.0", 300),
)


class Run(NamedTuple):
    """What a driver printed."""

    events: int
    elapsed_ns: int
    traded_lots: int
    trades: int


class NotRun(Exception):
    """A peer that could not be installed or did not come to the end, with the last it said."""


def write(path: Path, opening: int, rows: Iterable[Iterable[int]]) -> None:
    """Write the file that drivers read: how many orders wait at the start, then a row for each of them and event."""
    numbers = array("i", [opening])
    for row in rows:
        numbers.extend(row)
    path.write_bytes(numbers.tobytes())


def compare(stream: Path, events: int, folder: Path) -> tuple[dict[str, int], dict[str, float]]:
    """Play each peer between two plays of our book, on the same events; figures and ratios of those that ran."""
    figures: dict[str, int] = {}
    ratios: dict[str, float] = {}
    for peer, python in _installed(folder).items():
        try:
            ours, theirs = _alternate(peer, python, stream, min(events, peer.events))
        except NotRun as reason:
            logger.warning("peer_not_run", peer=peer.name, reason=str(reason))
            figures[f"{peer.key}_ran"] = 0
            continue
        made, ratio = figures_of(peer.key, ours, theirs)
        figures |= made
        ratios[f"core_to_{peer.key}"] = ratio
    for peer in PEERS:
        figures.setdefault(f"{peer.key}_ran", 0)
    return figures, ratios | best(figures, ratios)


def figures_of(key: str, ours: Sequence[Run], theirs: Sequence[Run]) -> tuple[dict[str, int], float]:
    """The figures of one peer beside ours, and how many times as fast ours was. The median play counts."""
    core, peer = _rate(ours), _rate(theirs)
    equal = all(run.traded_lots == ours[0].traded_lots for run in theirs)
    if not equal:
        logger.warning("peer_traded_otherwise", peer=key, lots=theirs[0].traded_lots, core_lots=ours[0].traded_lots)
    figures = {
        f"{key}_ran": 1,
        f"{key}_events": theirs[0].events,
        f"{key}_events_per_second": peer,
        f"{key}_core_events_per_second": core,
        f"{key}_traded_lots": theirs[0].traded_lots,
        f"{key}_traded_lots_equal": int(equal),
    }
    return figures, round(core / peer, 3)


def best(figures: Mapping[str, int], ratios: Mapping[str, float]) -> dict[str, float]:
    """The ratio to the fastest of those that came to the end, traded what we traded, and tell it.

    Those that tell nobody who traded with whom do less than a market needs; the fastest of them is told apart.
    """
    rivals = [peer for peer in PEERS if peer.finishes and figures.get(f"{peer.key}_traded_lots_equal")]
    telling = [ratios[f"core_to_{peer.key}"] for peer in rivals if peer.tells_trades]
    silent = [ratios[f"core_to_{peer.key}"] for peer in rivals if not peer.tells_trades]
    found = {"core_to_best_peer": telling, "core_to_best_silent_peer": silent}
    return {name: min(of) for name, of in found.items() if of}


def play(python: str | Path, peer: str, stream: Path, events: int, environment: Mapping[str, str] | None = None) -> Run:
    """One play by the interpreter that has the peer. Raises NotRun."""
    argv = [python, "-P", DRIVER, peer, stream, events]
    return Run(**json.loads(_run(argv, PLAY_SECONDS, environment).splitlines()[-1]))


def play_core(stream: Path, events: int) -> Run:
    """The same with our own book."""
    ours = {"PYTHONPATH": str(Path(matching.__file__).parents[1])}
    return play(sys.executable, CORE, stream, events, {**os.environ, **ours})


def _alternate(peer: Peer, python: Path, stream: Path, events: int) -> tuple[list[Run], list[Run]]:
    ours, theirs = [play_core(stream, events)], []
    for _ in range(peer.rounds):
        theirs.append(play(python, peer.key, stream, events))
        ours.append(play_core(stream, events))
    return ours, theirs


def _rate(runs: Sequence[Run]) -> int:
    return int(runs[0].events * NANOSECONDS // median(run.elapsed_ns for run in runs))


def _installed(folder: Path) -> dict[Peer, Path]:
    """The interpreters of those peers that can be installed. All come first, so that none disturbs a play."""
    pythons: dict[Peer, Path] = {}
    for tried, peer in enumerate(PEERS):
        if tried == FRUITLESS_INSTALLS and not pythons:
            logger.warning("peers_not_run", reason="none can be installed; is there a network?")
            break
        try:
            pythons[peer] = _install(peer, folder / peer.key)
        except NotRun as reason:
            logger.warning("peer_not_installed", peer=peer.name, reason=str(reason))
    return pythons


def _install(peer: Peer, home: Path) -> Path:
    python = home / "bin" / "python"
    alone = [] if peer.dependencies else ["--no-deps"]
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        _run([uv, "venv", "--quiet", "--python", sys.executable, home], INSTALL_SECONDS)
        _run([uv, "pip", "install", "--quiet", "--python", python, *alone, peer.requirement], INSTALL_SECONDS)
    else:
        _run([sys.executable, "-m", "venv", home], INSTALL_SECONDS)
        _run([python, "-m", "pip", "install", "--quiet", *alone, peer.requirement], INSTALL_SECONDS)
    return python


def _run(argv: Sequence[Any], seconds: int, environment: Mapping[str, str] | None = None) -> str:
    """What a program printed. Raises NotRun with its last words when it failed or took too long."""
    words = [str(part) for part in argv]
    try:
        done = subprocess.run(  # noqa: S603 - our own words, and pinned packages
            words, capture_output=True, text=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotRun(f"not done after {seconds} seconds") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotRun(said[-1] if said else f"ended with {done.returncode}")
    return done.stdout
