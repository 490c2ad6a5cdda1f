"""The simulated carrier as its own process, and lines, numbers and ids for the tests to play with."""

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from settlement.carriers.client import TMF
from settlement.carriers.port import CarrierPort
from settlement.carriers.values import Bucket, CarrierProfile

ROOT = Path(__file__).parents[2]
CREDENTIALS = {"CMCC": "cmcc-credential", "CUCC": "cucc-credential", "CTCC": "ctcc-credential"}
BUCKET_FIELDS = ("scope", "app_scope", "expires_at", "transferable")
START_SECONDS = 30
STOP_SECONDS = 10

numbers = itertools.count(1)


def a_number(suffix: str = "0000") -> str:
    """A number nobody else in this run has; its last four digits are given, since they choose faults."""
    return f"+861{next(numbers):06d}{suffix}"


def month_end() -> datetime:
    return (datetime.now(UTC) + timedelta(days=20)).replace(microsecond=0)


def an_id() -> str:
    return f"trd_{next(numbers)}/deliver"


@dataclass
class CarrierProcess:
    """A running simulator, and a way to speak to it behind the port's back."""

    database_url: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20, trust_env=False))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "settlement.simulators.carrier"]
        command += ["--database-url", self.database_url, "--port", str(self.port)]
        environment = {**os.environ, "CARRIER_SIM_CREDENTIALS": json.dumps(CREDENTIALS)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment)
        until(lambda: self.health() == 200, START_SECONDS)

    def stop(self) -> int:
        if self.process is None:
            return 0
        self.http.close()
        self.http = httpx.Client(timeout=20, trust_env=False)
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process = None

    def health(self) -> int:
        assert self.process is not None
        assert self.process.poll() is None, "the simulator stopped by itself"
        try:
            return self.http.get(f"{self.url}/health").status_code
        except httpx.TransportError:
            return 0

    def profile(self, code: str = "CMCC", **changes: Any) -> CarrierProfile:
        values: dict[str, Any] = {
            "code": code,
            "name_zh": "移动",
            "name_en": "Mobile",
            "base_url": f"{self.url}/{code.lower()}",
            "credential": CREDENTIALS[code],
            "timeout_seconds": 10.0,
        }
        return CarrierProfile(**{**values, **changes})

    def raw(self, method: str, path: str, *, code: str = "CMCC", **arguments: Any) -> httpx.Response:
        """One plain request with the carrier's credential."""
        headers = {"Authorization": f"Bearer {CREDENTIALS[code]}", **arguments.pop("headers", {})}
        url = f"{self.url}/{code.lower()}{path}"
        return self.http.request(method, url, headers=headers, **arguments)

    def page(self, path: str, **arguments: Any) -> httpx.Response:
        """What a browser gets."""
        return self.http.get(self.url + path, **arguments)

    def tmf(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self.raw(method, TMF + path, **arguments)

    def load(self, *lines: dict[str, Any], code: str = "CMCC") -> None:
        answer = self.raw("POST", "/admin/lines", code=code, json={"lines": list(lines)})
        assert answer.status_code == 200, answer.text

    def faults(self, **profile: Any) -> dict[str, Any]:
        answer = self.raw("PUT", "/admin/faults", json=profile)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.raw("GET", "/admin/faults").json()["counts"]
        return counts

    def totals(self) -> dict[str, int]:
        totals: dict[str, int] = self.raw("GET", "/admin/totals").json()
        return totals

    def a_line(self, suffix: str = "0000", *, remaining_mb: int | None = 1000, **changes: Any) -> str:
        """A fresh line, with one bucket unless it is to have no data; returns its number."""
        msisdn = changes.pop("msisdn", None) or a_number(suffix)
        bucket = {
            key: changes.pop(key) for key in ("scope", "app_scope", "expires_at", "transferable") if key in changes
        }
        self.load(line_of(msisdn, [bucket_of(remaining_mb, **bucket)] if remaining_mb is not None else [], **changes))
        return msisdn


def bucket_of(remaining_mb: int, **changes: Any) -> dict[str, Any]:
    values = {"scope": "CN", "expires_at": month_end().isoformat(), "total_mb": remaining_mb, "transferable": True}
    return {**values, "remaining_mb": remaining_mb, **changes}


def line_of(msisdn: str, buckets: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    values = {
        "msisdn": msisdn,
        "name": "王小明",
        "id_document": "440101199001011234",
        "plan_name": "畅享 59 元",
        "payment": "prepaid",
        "province": "GD",
        "buckets": buckets,
    }
    return {**values, **changes}


def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Ask again and again until it holds; fail when the time is up."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def only_bucket(carrier: CarrierPort, msisdn: str) -> Bucket:
    buckets = await carrier.buckets(msisdn)
    assert len(buckets) == 1
    return buckets[0]


async def until_async(holds: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """The same for what has to be awaited; asking is what takes the time."""
    async with asyncio.timeout(seconds):
        while not await holds():
            pass
