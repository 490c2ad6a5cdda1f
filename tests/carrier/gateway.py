"""The simulated gateway as its own process, and lines on it for the tests to play with."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from settlement.carriers.values import CarrierProfile
from tests.carrier.simulator import ROOT, START_SECONDS, STOP_SECONDS, a_number, month_end, until

SECRET = "gateway-secret"
PARTNER = "P1001"


@dataclass
class GatewayProcess:
    """A running gateway, and a way to speak to it behind the port's back."""

    database_url: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20, trust_env=False))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "settlement.simulators.gateway"]
        command += ["--database-url", self.database_url, "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "GATEWAY_SIM_SECRET": SECRET})
        until(self._is_up, START_SECONDS)

    def stop(self) -> None:
        assert self.process is not None
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process = None

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the simulator stopped by itself"
        try:
            return self.http.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def profile(self, code: str = "CMCC", **changes: Any) -> CarrierProfile:
        values: dict[str, Any] = {
            "code": code,
            "name_zh": "流量网关",
            "name_en": "Gateway",
            "base_url": f"{self.url}/gateway",
            "credential": SECRET,
            "dialect": "recharge",
            "partner_no": PARTNER,
        }
        return CarrierProfile(**{**values, **changes})

    def admin(self, action: str, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {SECRET}"}
        answer = self.http.post(f"{self.url}/admin/{action}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def settings(self, *, finish_ms: int = 50, hang_ms: int = 1200) -> None:
        self.admin("settings", finish_ms=finish_ms, hang_ms=hang_ms)

    def a_line(
        self, suffix: str = "0000", *, remaining_mb: int | None = 1000, expires_at: datetime | None = None
    ) -> str:
        """A fresh number, with one account unless it is to have no data."""
        msisdn = a_number(suffix)
        if remaining_mb:
            until_ms = int((expires_at or month_end()).timestamp()) * 1000
            self.admin(
                "load", phone=msisdn[3:], scope="CN", app_scope=None, valid_until_ms=until_ms, free_mb=remaining_mb
            )
        return msisdn
