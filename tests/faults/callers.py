"""Programs that trade over the public API while things die, each asking under the same key until it knows."""

import asyncio
import hashlib
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import asyncpg
import httpx

from tests.faults.history import History, Name, Request, Terms, Told, told_by_the_api
from tests.faults.traffic import KNOWING_SECONDS, Traffic

COIN_SHARE = 0.7
CANCELLING_SHARE = 0.25
REACH = 6
"""How far from the middle prices go, in percent."""
MOST_LOTS = 3
MOST_DATA_SALES = 12
"""Of each caller: every sale in data is a reservation at the carrier, and those have a monthly limit."""
PAUSE_SECONDS = 0.3
THINKING_SECONDS = 0.05
ANSWER_SECONDS = 8.0
AGAIN_AT_ONCE = 4
NOT_NOW = {408, 425, 429}
"""Refusals that say nothing of the request itself."""


@dataclass(frozen=True, slots=True)
class Book:
    """Where a caller may trade: an instrument, and the price around which everybody does."""

    id: int
    symbol: str
    kind: str
    carrier: str | None
    middle_minor: int


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it goes over the wire, to be sent again in the same words."""

    request: Request
    method: str
    path: str
    document: dict[str, Any] | None = None


@dataclass
class Caller:
    """One trader's program."""

    party_id: int
    books: Sequence[Book]
    http: httpx.AsyncClient
    draw: random.Random
    open_orders: list[int] = field(default_factory=list)
    data_sales: int = 0
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def next_call(self) -> Call:
        key = f"caller-{self.party_id}-{next(self.numbers)}"
        if self.open_orders and self.draw.random() < CANCELLING_SHARE:
            order_id = self.open_orders.pop(self.draw.randrange(len(self.open_orders)))
            path = f"/orders/ord_{order_id}"
            return Call(Request(self.party_id, key, f"DELETE {path}"), "DELETE", path)
        return self._placement(key)

    def _placement(self, key: str) -> Call:
        kind = "coin" if self.draw.random() < COIN_SHARE else "data"
        book = self.draw.choice([book for book in self.books if book.kind == kind])
        side: Literal["buy", "sell"] = self.draw.choice(("buy", "sell"))
        if book.kind == "data" and side == "sell":
            self.data_sales += 1
            side = "sell" if self.data_sales <= MOST_DATA_SALES else "buy"
        price = book.middle_minor * (100 + self.draw.randint(-REACH, REACH)) // 100
        lots = self.draw.randint(1, MOST_LOTS)
        document = {"symbol": book.symbol, "side": side, "lots": lots, "price_minor": price}
        terms = Terms(book.id, side, price, lots)
        return Call(Request(self.party_id, key, json.dumps(document), terms), "POST", "/orders", document)


@dataclass(kw_only=True)
class Callers(Traffic):
    """All programs together, with what they have asked and heard."""

    callers: Sequence[Caller]
    history: History = field(default_factory=History)
    calls: dict[Name, Call] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)

    @asynccontextmanager
    async def trading(self) -> AsyncIterator[None]:
        """All at work for the length of the block; after it, each request that was begun has its answer."""
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for caller in self.callers:
                group.create_task(self._trade(caller, stopping))
            yield
            stopping.set()

    async def ask_again(self) -> dict[Name, Told]:
        """What each key is told now, all asked once more."""
        again: dict[Name, Told] = {}

        async def ask(caller: Caller, calls: "itertools.chain[Call]") -> None:
            for call in calls:
                again[call.request.name] = await self._until_told(caller, call)

        async with asyncio.TaskGroup() as group:
            for caller in self.callers:
                own = itertools.chain([call for name, call in self.calls.items() if name[0] == caller.party_id])
                for _ in range(AGAIN_AT_ONCE):
                    group.create_task(ask(caller, own))
        return again

    async def _trade(self, caller: Caller, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            call = caller.next_call()
            self.calls[call.request.name] = call
            told = await self._until_told(caller, call, self.history)
            if told.state == "open" and told.order_id is not None and call.method == "POST":
                caller.open_orders.append(told.order_id)
            await asyncio.sleep(caller.draw.uniform(0, THINKING_SECONDS))

    async def _until_told(self, caller: Caller, call: Call, history: History | None = None) -> Told:
        async with asyncio.timeout(KNOWING_SECONDS):
            while True:
                ask = (history or History()).ask(call.request)
                with self.asking():
                    told = await self._try(caller, call)
                if told is not None:
                    ask.answer(told)
                    self.heard_one()
                    return told
                await asyncio.sleep(caller.draw.uniform(0, PAUSE_SECONDS))

    async def _try(self, caller: Caller, call: Call) -> Told | None:
        """One request; None when its outcome stays open: no answer, or one that says so."""
        key = {"Idempotency-Key": f'"{call.request.key}"'}
        try:
            answer = await caller.http.request(call.method, call.path, json=call.document, headers=key)
        except httpx.TransportError:
            self.statuses[0] += 1
            return None
        self.statuses[answer.status_code] += 1
        if answer.is_server_error or answer.status_code in NOT_NOW:
            return None
        return told_by_the_api(answer.json())


@asynccontextmanager
async def open_callers(data_dir: Path, web: str, dsn: str) -> AsyncIterator[Callers]:
    """A program for each trader that the demonstration's seed has made."""
    keys = json.loads(await asyncio.to_thread((data_dir / "demo-traders.json").read_text))
    books, parties = await _market(dsn)
    async with AsyncExitStack() as stack:
        callers = []
        for number, one in enumerate(keys):
            own = [book for book in books if book.carrier in {None, one["carrier"]}]
            http = httpx.AsyncClient(
                base_url=f"{web}/api/v1",
                headers={"Authorization": f"Bearer {one['key']}"},
                timeout=ANSWER_SECONDS,
                trust_env=False,
            )
            await stack.enter_async_context(http)
            party_id = parties[hashlib.sha256(one["key"].encode()).digest()]
            callers.append(Caller(party_id, own, http, random.Random(number)))
        yield Callers(callers=callers)


async def _market(dsn: str) -> tuple[list[Book], dict[bytes, int]]:
    """The coin book and each carrier's first national one; and whose each key is, by its hash."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "select distinct on (kind, carrier) instrument.id, symbol, kind, carrier, reference_minor from instrument "
            "join asset on asset.id = asset_id where scope is null or (scope = 'CN' and app_scope is null) "
            "order by kind, carrier, closes_at desc"
        )
        keys = await connection.fetch("select key_hash, party_id from api_key")
    finally:
        await connection.close()
    return [Book(*row) for row in rows], dict(map(tuple, keys))
