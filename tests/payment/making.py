"""The simulated payment provider as a program, and clients and endpoints for it."""

import asyncio
import contextlib
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from settlement.payments.port import Payments
from settlement.payments.values import Payment, PaymentSettings
from settlement.payments.wire import Wire
from settlement.simulators.payment.desk import Settings
from settlement.simulators.payment.serve import serve_until
from tests.payment.shapes import check_answer

ROOT = Path(__file__).parents[2]
API_KEY = "sk_test_surplusflow"
START_SECONDS = 30
WAIT_SECONDS = 15
PROGRAM = """
import sys
from settlement.simulators.payment.serve import serve
serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
"""
QUICK = Settings(webhook_retry_seconds=(0, 0, 0), payout_step_seconds=60, refund_step_seconds=60, hang_seconds=30)


@dataclass
class Provider:
    """A simulated provider that serves in this process."""

    database_url: str
    settings: Settings = QUICK
    port: int = 0

    def __post_init__(self) -> None:
        self.port = self.port or _free_port()
        self._closing = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        served = serve_until(self._closing, self.database_url, self.port, API_KEY, settings=self.settings)
        self._serving = asyncio.create_task(served)
        await wait_until_up(self.url, self._serving)

    async def stop(self) -> None:
        self._closing.set()
        assert self._serving is not None
        await asyncio.wait_for(self._serving, 15)


class Program(Provider):
    """The simulated provider as the separate program that it is in life."""

    process: subprocess.Popen[bytes]

    async def start(self) -> None:
        command = [sys.executable, "-c", PROGRAM, self.database_url, str(self.port), API_KEY]
        self.process = await asyncio.to_thread(subprocess.Popen, command, cwd=ROOT)
        await wait_until_up(self.url)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait, 15)


async def wait_until_up(url: str, serving: asyncio.Task[None] | None = None) -> None:
    """Wait for a good health; if the server has died, its own error is the better one."""
    async with asyncio.timeout(START_SECONDS), plain_http(url) as client:
        while serving is None or not serving.done():
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/health")).status_code == 200:
                    return
            await asyncio.sleep(0.02)
    await serving


async def until(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that can only be found out by asking, though not for ever."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await is_true():  # noqa: ASYNC110  # what is waited for happens in the provider
            await asyncio.sleep(0.03)


def plain_http(url: str) -> httpx.AsyncClient:
    """Without certificates, which take long to load and have no use here."""
    return httpx.AsyncClient(base_url=url, timeout=20, trust_env=False, verify=False)  # noqa: S501


class Http:
    """The API spoken to directly, with every answer's shape checked."""

    def __init__(self, provider: Provider) -> None:
        self._client = plain_http(provider.url)
        self.authorization = {"Authorization": f"Bearer {API_KEY}"}

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        account: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        sent = dict(self.authorization if headers is None else headers)
        sent |= {"Idempotency-Key": key} if key else {}
        sent |= {"Stripe-Account": account} if account else {}
        sends = {"params": data} if method == "GET" else {"data": data}
        answer = await self._client.request(method, path, headers=sent, **sends)  # type: ignore[arg-type]
        check_answer(method, path, answer.status_code, answer.json())
        return answer

    async def get(self, path: str, account: str | None = None, /, **data: Any) -> Any:
        answer = await self.ask("GET", path, data, account=account)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, data: Mapping[str, Any] | None = None, account: str | None = None) -> Any:
        answer = await self.ask("POST", path, data, account=account)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, path: str, data: Mapping[str, Any] | None = None, account: str | None = None) -> Any:
        answer = await self.ask("POST", path, data, account=account)
        assert answer.status_code >= 400, answer.text
        return answer.json()["error"] | {"status": answer.status_code}

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._client.request(method, f"/_sim/{path}", json=body, headers=self.authorization)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def advance(self, seconds: int) -> None:
        await self.control("POST", "clock", {"advance_seconds": seconds})

    async def page(
        self, method: str, url: str, data: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self._client.request(method, url, data=data, headers=headers)

    async def customer(self) -> str:
        return str((await self.post("/v1/customers"))["id"])


class CheckedClient(Wire):
    """The official client, with every answer's shape checked."""

    async def request_async(self, method: str, url: str, headers: Any, post_data: Any = None) -> Any:
        body, status, answer_headers = await super().request_async(method, url, headers, post_data)
        check_answer(method.upper(), httpx.URL(url).path, status, httpx.Response(status, content=body).json())
        return body, status, answer_headers


class Wallet:
    """The port, with short ways to the payments that tests begin with."""

    def __init__(self, payments: Payments, customer: str) -> None:
        self.payments = payments
        self.customer = customer

    def wish(self, amount_minor: int, card: str, reference: str | None = None) -> dict[str, Any]:
        reference = reference or fresh("ref")
        return {
            "customer": self.customer,
            "amount_minor": amount_minor,
            "currency": "CNY",
            "payment_method": card,
            "reference": reference,
            "key": f"{reference}/key",
            "return_url": "https://market.example/wallet",
        }

    async def charge(
        self, amount_minor: int = 10_000, card: str = "pm_card_visa", reference: str | None = None
    ) -> Payment:
        return await self.payments.charge(**self.wish(amount_minor, card, reference))

    async def hold(
        self, amount_minor: int = 10_000, card: str = "pm_card_visa", reference: str | None = None
    ) -> Payment:
        return await self.payments.authorise(**self.wish(amount_minor, card, reference))


def fresh(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def settings_for(provider: Provider, **changes: Any) -> PaymentSettings:
    known = {"api_key": API_KEY, "api_base": provider.url, "webhook_secret": "whsec_test", "timeout_seconds": 10}
    return PaymentSettings(**{**known, **changes})


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def onboard(payments: Payments, http: Http, number: str = "000123456789") -> str:
    account = await payments.open_account(fresh("seller"), "CN", fresh("key"))
    link = await payments.onboarding_link(account, "https://market.example/again", "https://market.example/done")
    answer = await http.page("POST", link, {"holder": "李雷", "number": number})
    assert answer.status_code == 303, answer.text
    return account


class Listener:
    """A webhook endpoint of ours: it keeps what comes, and answers what the test tells it to."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, str]] = []
        self.statuses: list[int] = []
        self.url = ""
        self._arrived = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        signature = next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("stripe-sig"))
        body = await reader.readexactly(int(headers["content-length"]))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        async with self._arrived:
            self.received.append((body, signature))
            self._arrived.notify_all()

    async def wait_for(self, count: int, containing: bytes = b"", seconds: float = 15) -> list[tuple[bytes, str]]:
        """Wait until that many deliveries with these bytes in them have come."""

        def found() -> list[tuple[bytes, str]]:
            return [delivery for delivery in self.received if containing in delivery[0]]

        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(found()) >= count)
        return found()


class ScriptedServer:
    """A server that answers as a test tells it to, well or badly."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.behaviour = "answer_now"
        self.flood_bytes = 0
        self.url = ""
        self._answer = b""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def answer(self, status: int, body: bytes) -> None:
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nLocation: /elsewhere\r\nConnection: close\r\n\r\n"
        )
        self._answer = head.encode() + body

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        with contextlib.suppress(ConnectionError):
            await getattr(self, f"_{self.behaviour}")(writer)
            await writer.drain()
        writer.close()

    async def _answer_now(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self._answer)

    async def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def _truncate(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")

    async def _silence(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.5)

    async def _flood(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.flood_bytes)
        writer.write(b" " * self.flood_bytes)

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        for _ in range(20):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)
