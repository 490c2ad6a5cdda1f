"""Sending events to webhook endpoints: signed, retried with growing pauses, surviving restarts as rows."""

import asyncio
import hashlib
import hmac
import json
import logging
import random
import time

import asyncpg
import httpx

from settlement.simulators.payment import lists
from settlement.simulators.payment.answers import Document
from settlement.simulators.payment.desk import Call, Desk
from settlement.simulators.payment.faults import Mischief
from settlement.simulators.payment.store import LOST

AT_ONCE = 16
AT_ONCE_TO_ONE_ENDPOINT = 4
LONGEST_PAUSE_SECONDS = 1.0
OVERTAKING_SECONDS = (0.3, 1.2)
SUCCESS = range(200, 300)

log = logging.getLogger(__name__)


def sign(body: str, secret: str, timestamp: int) -> str:
    digest = hmac.new(secret.encode(), f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class Courier:
    """One for the program. A slow endpoint holds up only its own deliveries."""

    def __init__(self, desk: Desk, mischief: Mischief) -> None:
        self._desk = desk
        self._mischief = mischief
        self._wake = asyncio.Event()
        self._flying: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        desk.on_events = self._wake.set

    async def run(self) -> None:
        """Deliver what is due, again and again, until cancelled."""
        timeout = self._desk.settings.webhook_timeout_seconds
        async with httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False) as client:
            try:
                while True:
                    await self._send_due(client)
                    await self._pause()
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), LONGEST_PAUSE_SECONDS)
        except TimeoutError:
            return
        self._wake.clear()

    async def _send_due(self, client: httpx.AsyncClient) -> None:
        try:
            due = await self._find_due()
        except LOST as error:
            log.warning("the database is away: %r", error)
            return
        for delivery in due:
            if len(self._flying) < AT_ONCE and delivery["endpoint"] not in self._busy_endpoints():
                self._start(client, delivery["id"], delivery["event"], delivery["endpoint"], delivery["attempts"])

    async def _find_due(self) -> "list[asyncpg.Record]":
        async with self._desk.open() as call:
            await self._mischief.load(call)
            due: list[asyncpg.Record] = await call.connection.fetch(
                "SELECT id, event, endpoint, attempts FROM deliveries"
                " WHERE status = 'pending' AND due_at <= $1 AND NOT id = ANY($2) AND NOT endpoint = ANY($3)"
                " ORDER BY due_at, id LIMIT $4",
                time.time(),
                list(self._flying),
                self._busy_endpoints(),
                AT_ONCE,
            )
        return due

    def _busy_endpoints(self) -> list[str]:
        flying = list(self._flying.values())
        return [endpoint for endpoint in set(flying) if flying.count(endpoint) >= AT_ONCE_TO_ONE_ENDPOINT]

    def _start(self, client: httpx.AsyncClient, delivery_id: int, event: str, endpoint: str, attempts: int) -> None:
        self._flying[delivery_id] = endpoint
        task = asyncio.create_task(self._deliver(client, delivery_id, event, endpoint, attempts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self, client: httpx.AsyncClient, delivery_id: int, event_id: str, endpoint_id: str, attempts: int
    ) -> None:
        try:
            async with self._desk.open() as call:
                if await self._is_put_back(call, delivery_id, attempts):
                    return
                event, endpoint, secret = await self._load(call, event_id, endpoint_id)
            result = await self._send(client, event, endpoint["url"], secret)
            async with self._desk.open() as call:
                await self._write_down(call, delivery_id, attempts + 1, result)
        except LOST as error:
            log.warning("a delivery waits for the database: %r", error)
        finally:
            self._flying.pop(delivery_id, None)
            self._wake.set()

    async def _is_put_back(self, call: Call, delivery_id: int, attempts: int) -> bool:
        if attempts or not self._mischief.strikes("reordered_webhooks_percent"):
            return False
        await self._mischief.count(call, "reordered_webhooks_percent")
        await call.connection.execute(
            "UPDATE deliveries SET due_at = $2, attempts = attempts + 1, last_result = 'held back' WHERE id = $1",
            delivery_id,
            time.time() + random.uniform(*OVERTAKING_SECONDS),
        )
        return True

    async def _load(self, call: Call, event_id: str, endpoint_id: str) -> tuple[Document, Document, str]:
        event = await call.connection.fetchval("SELECT data FROM objects WHERE id = $1", event_id)
        await lists.freshen(call, event)
        endpoint = await call.connection.fetchrow("SELECT data, hidden FROM objects WHERE id = $1", endpoint_id)
        if endpoint is None:
            return event, {"url": ""}, ""
        return event, endpoint["data"], endpoint["hidden"]["secret"]

    async def _send(self, client: httpx.AsyncClient, event: Document, url: str, secret: str) -> str:
        """Post the event, twice when that fault strikes; returns the status, or what went wrong."""
        body = json.dumps(event, indent=2)
        result = await _post(client, url, body, secret)
        if self._mischief.strikes("duplicate_webhooks_percent"):
            async with self._desk.open() as call:
                await self._mischief.count(call, "duplicate_webhooks_percent")
            await _post(client, url, body, secret)
        return result

    async def _write_down(self, call: Call, delivery_id: int, attempts: int, result: str) -> None:
        pauses = self._desk.settings.webhook_retry_seconds
        is_delivered = result.isdigit() and int(result) in SUCCESS
        status = "delivered" if is_delivered else "given_up" if attempts > len(pauses) else "pending"
        pause = 0 if status != "pending" else pauses[attempts - 1]
        await call.connection.execute(
            "UPDATE deliveries SET status = $2, attempts = $3, last_result = $4, due_at = $5"
            " WHERE id = $1 AND status = 'pending'",
            delivery_id,
            status,
            attempts,
            result[:200],
            time.time() + pause,
        )


async def _post(client: httpx.AsyncClient, url: str, body: str, secret: str) -> str:
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": sign(body, secret, int(time.time())),
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }
    try:
        async with client.stream("POST", url, content=body, headers=headers) as answer:
            return str(answer.status_code)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
