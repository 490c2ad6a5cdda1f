"""What happens after an order was taken in: it is finished a little later, and its status pushed."""

import asyncio
import hmac
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx

from settlement.simulators.gateway.books import DONE, FAILED, Books
from settlement.simulators.gateway.faults import Fault, fault_of

TRIES = 3
PAUSE_SECONDS = 0.2


def signature(fields: dict[str, str], secret: str) -> str:
    """HMAC-SHA256 over the sorted form without its signature."""
    signed = sorted((name, value) for name, value in fields.items() if name != "sign")
    return hmac.digest(secret.encode(), urlencode(signed).encode(), "sha256").hex()


@dataclass
class Courier:
    """Finishes orders and tells their partner. A push that nobody takes after some tries is given up."""

    books: Books
    partner_no: str
    secret: str
    finish_ms: int = 200
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=5, trust_env=False))
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def resume(self) -> None:
        """Go on with what was at work when the program ended."""
        for row in await self.books.pool.fetch("select * from orders where kind = 'recharge' and status < 2"):
            self.start(row)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.http.aclose()

    def start(self, order: Any) -> None:
        task = asyncio.create_task(self._later(order))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _later(self, order: Any) -> None:
        await asyncio.sleep(self.finish_ms / 1000)
        await self.finish(order)

    async def finish(self, order: Any) -> None:
        fault = fault_of(order["phone"])
        failed = fault in {Fault.FAIL_AFTER_ACCEPT, Fault.WRONG_PUSH}
        ended = await self.books.finish(order["id"], FAILED if failed else DONE)
        await self.push(ended)

    async def push(self, order: Any) -> None:
        """Tell the status, with whatever fault the number calls for."""
        fault, true = fault_of(order["phone"]), self._form(order)
        if fault is Fault.NO_PUSH or not order["notify_url"]:
            return
        match fault:
            case Fault.FORGED_PUSH:
                forged = {**true, "status": str(FAILED)}
                await self._send(order, {**forged, "sign": signature(forged, "another's secret")}, tries=1)
            case Fault.WRONG_PUSH:
                true |= {"amount_mb": str(2 * order["amount_mb"]), "status": str(DONE)}
            case Fault.STRAY_PUSH:
                true["serial_no"] = f"nobody-{order['id']}"
        for _ in range(2 if fault is Fault.PUSH_TWICE else 1):
            await self._send(order, {**true, "sign": signature(true, self.secret)})

    def _form(self, order: Any) -> dict[str, str]:
        return {
            "partner_no": self.partner_no,
            "order_no": f"or-{order['id']}",
            "serial_no": order["serial_no"],
            "status": str(order["status"]),
            "phone": order["phone"],
            "amount_mb": str(order["amount_mb"]),
            "timestamp": str(int(time.time())),
        }

    async def _send(self, order: Any, form: dict[str, str], tries: int = TRIES) -> None:
        for _ in range(tries):
            try:
                answer = await self.http.post(order["notify_url"], data=form)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == httpx.codes.OK and answer.text == "ok":
                return
            await asyncio.sleep(PAUSE_SECONDS)
