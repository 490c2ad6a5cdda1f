"""How soon a change of a book reaches the programs that follow it, and what that costs: one book, thousands of readers.

A desk decides at an even rate and publishes as the engine does, without a database behind it,
so that what is measured is the way from publication to receipt. The web is the real program.
The readers are another process, this module run by itself: bare sockets that note when
which state arrived.
"""

import asyncio
import itertools
import json
import os
import random
import re
import resource
import secrets
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter_ns, process_time_ns, time_ns
from typing import Any, cast

import psutil
import uvloop
from redis.asyncio import Redis

from market import partners
from market.database import connect, sessions
from market.engine import feed
from market.engine.commands import PlaceOrder, Side
from market.engine.desk import Desk
from market.engine.feed import Publisher
from market.engine.instruments import MAXIMUM_LIFE_US, Instrument
from matching.book import Book
from matching.rules import Terms
from settlement.ledger import Account
from web.bench import stack
from web.embedded import free_port

READERS = (1_000, 5_000)
CHANGES_PER_SECOND = 200
SECONDS = 10
SETTLE_SECONDS = 2
SAMPLED = 100
"""Readers that note when each state arrived; the others only count."""
CONNECTING = 64
KEYS = 4
"""Programs that the readers belong to: each may ask 6,000 times in five minutes, and few may be new to a process."""
GOAL_US = 250_000
START_SECONDS = 60
STOP_SECONDS = 15
NANOSECONDS = 1_000_000_000

_EVENT_ID = re.compile(rb"id: [0-9]+-([0-9]+)\n")
_READY = b"ready\n"


async def run() -> tuple[dict[str, Any], dict[str, float]]:
    """Let one book change at an even rate while a thousand readers follow it, then five thousand."""
    allow_many_files()
    figures: dict[str, Any] = {"changes_per_second": CHANGES_PER_SECOND, "seconds": SECONDS}
    async with stack.stack() as at, Redis.from_url(at.redis_url) as redis:
        port, keys = free_port(), await _keys(at)
        floor = Floor(redis)
        with _web(at, port) as web:
            await _live(port)
            for readers in READERS:
                figures |= await _measured(floor, web, port, keys, readers)
    return figures, {"p99_to_goal": round(figures[f"p99_us_{READERS[0]}_readers"] / GOAL_US, 3)}


async def _measured(
    floor: "Floor", web: psutil.Process, port: int, keys: Sequence[str], readers: int
) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "web.bench.feed", str(port), str(readers), *keys,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**28,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60 + readers // 20):
            await floor.change(1)  # whoever connects finds a book
            assert await process.stdout.readline() == _READY, "the readers did not all get in"
            await floor.change(SETTLE_SECONDS)
            process.stdin.write(b"measure\n")
            await process.stdin.drain()
            web_ns = _processor_ns(web)
            changes = await floor.change(SECONDS)
            web_ns = _processor_ns(web) - web_ns
            await asyncio.sleep(SETTLE_SECONDS)
            process.stdin.close()
            seen = json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    waits_us = sorted(_waits_us(changes, seen["arrivals"]))
    return {
        f"p50_us_{readers}_readers": waits_us[len(waits_us) // 2],
        f"p99_us_{readers}_readers": waits_us[len(waits_us) * 99 // 100],
        f"messages_per_reader_{readers}_readers": round(seen["messages"] / readers, 1),
        f"web_processor_ms_{readers}_readers": web_ns // 1_000_000,
        f"client_processor_ms_{readers}_readers": seen["processor_ns"] // 1_000_000,
    }


def _waits_us(changes: Sequence[tuple[int, int]], arrivals: Sequence[Sequence[Sequence[int]]]) -> Iterator[int]:
    """For each change and sampled reader: microseconds from the batch's time to the first state that contains it."""
    for arrived in arrivals:
        numbers = [seq for seq, _ in arrived]
        for seq, at_us in changes:
            place = bisect_left(numbers, seq)
            assert place < len(arrived), "a reader was never told of a change"
            yield arrived[place][1] - at_us


class Floor:
    """One book, and a desk that changes it and tells of it as an engine does after each commit."""

    def __init__(self, redis: Redis) -> None:
        terms = Terms(1, 1, 2_000, 1_000_000, 0, 2**62, maximum_life_us=MAXIMUM_LIFE_US)
        book = Book(tick=1, reference=500, lowest=1, highest=2_000)
        coin = Instrument(1, "COIN", 2, 1, None, 100, 500, 1, terms, book)
        self._redis = redis
        self._desk = Desk(0, instruments={1: coin})
        self._publisher = Publisher()
        self._draw = random.Random(1)

    async def change(self, seconds: int) -> list[tuple[int, int]]:
        """Place an order at each due time, of which some trade; gives number and microseconds of each publication."""
        made = []
        started_at_ns = perf_counter_ns()
        for number in range(seconds * CHANGES_PER_SECOND):
            due_ns = started_at_ns + number * NANOSECONDS // CHANGES_PER_SECOND
            if (early_ns := due_ns - perf_counter_ns()) > 0:
                await asyncio.sleep(early_ns / NANOSECONDS)
            desk, order = self._desk, self._order()
            desk.begin([order], time_ns() // 1_000)
            party_id, rich = order.party_id, stack.RICHES
            desk.accounts = {
                order.account_id: Account(order.account_id, party_id, 1 if order.side == "buy" else 2, rich, rich)
            }
            desk.apply(order)
            await feed.announce(self._redis, 0, [], [], self._publisher.news(desk, 1), "0-0")
            made.append((desk.seq, desk.now_us))
        return made

    def _order(self) -> PlaceOrder:
        draw = self._draw
        party_id, money, coins = stack.member(draw.randrange(stack.MEMBERS))
        side: Side = draw.choice(("buy", "sell"))
        return PlaceOrder(
            party_id=party_id,
            key="",
            body_hash=b"",
            instrument_id=1,
            group_id=party_id,
            side=side,
            price_minor=500 + draw.randint(-100, 10) * (1 if side == "buy" else -1),
            quantity=draw.randint(1, 5),
            account_id=money if side == "buy" else coins,
            proceeds_account_id=coins if side == "buy" else money,
        )


async def _keys(at: stack.Stack) -> list[str]:
    engine = connect(at.database_url)
    async with sessions(engine)() as session:
        keys = [await partners.issue_key(session, stack.member(number)[0], "bench") for number in range(KEYS)]
        await session.commit()
    await engine.dispose()
    return keys


@contextmanager
def _web(at: stack.Stack, port: int) -> Iterator[psutil.Process]:
    """The web as it is run in earnest."""
    environment = os.environ | {
        "SURPLUSFLOW_ENVIRONMENT": "demo",
        "SURPLUSFLOW_DATABASE_URL": at.database_url,
        "SURPLUSFLOW_REDIS_URL": at.redis_url,
        "SURPLUSFLOW_SECRET_KEY": secrets.token_urlsafe(48),
        "SURPLUSFLOW_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SURPLUSFLOW_CARRIERS": '[[carrier]]\ncode="CMCC"\nname_zh="移动"\nname_en="China Mobile"\n'
        'base_url="http://127.0.0.1:9/cmcc"\ncredential="none"\n',
        "SURPLUSFLOW_STRIPE_API_KEY": "sk_test_sim",
        "SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": "whsec_bench",
    }
    program = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "web.cli", "web", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(program.pid)
    finally:
        program.terminate()
        try:
            program.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def _processor_ns(program: psutil.Process) -> int:
    """Processor time that a program and its workers have taken."""
    times = [each.cpu_times() for each in (program, *program.children(recursive=True))]
    return sum(int((each.user + each.system) * NANOSECONDS) for each in times)


async def _live(port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
                writer.close()
                if b" 200 " in status:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.1)


def allow_many_files() -> None:
    """A socket is a file; have as many as the machine gives without being asked."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# The readers


@dataclass(slots=True, eq=False)
class Reader(asyncio.Protocol):
    """One open stream."""

    request: bytes
    connected: "asyncio.Future[None]"
    samples: bool
    messages: int = 0
    arrived: list[tuple[int, int]] = field(default_factory=list)
    """Number of a state, and when it came in microseconds since the epoch."""
    _head: bytes = b""
    _tail: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(self.request)

    def data_received(self, data: bytes) -> None:
        self.messages += data.count(b"\nevent: ")
        if not self.connected.done():
            self._begin(data)
        if self.samples:
            now_us = time_ns() // 1_000
            data = self._tail + data
            found = _EVENT_ID.findall(data)
            if found:
                self.arrived.append((int(found[-1]), now_us))
            self._tail = data[-64:] if b"id: " in data[-64:] and not data[-64:].count(b"\nevent: ") else b""

    def _begin(self, data: bytes) -> None:
        self._head += data
        if not self._head.startswith(b"HTTP/1.1 200 "):
            self.connected.set_exception(ConnectionError(self._head[:200].decode(errors="replace")))
        elif b"\nevent: snapshot" in self._head:
            self._head = b""
            self.connected.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.connected.done():
            self.connected.set_exception(exc or ConnectionError("The stream ended before it began."))


async def follow(port: int, readers: int, keys: Sequence[str]) -> None:
    """Open the streams; from a word on the standard input on note what comes, and tell it when the input ends."""
    loop = asyncio.get_running_loop()
    made: list[Reader] = []
    gate = asyncio.Semaphore(CONNECTING)

    async def open_one(number: int, key: str) -> None:
        request = (
            f"GET /api/v1/instruments/COIN/feed HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Authorization: Bearer {key}\r\n\r\n"
        )
        async with gate:
            reader = Reader(request.encode(), loop.create_future(), number % max(1, readers // SAMPLED) == 0)
            made.append(reader)
            await loop.create_connection(lambda: reader, "127.0.0.1", port)
            await reader.connected

    await asyncio.gather(*itertools.starmap(open_one, zip(range(readers), itertools.cycle(keys), strict=False)))
    os.write(1, _READY)
    await asyncio.to_thread(sys.stdin.readline)
    for reader in made:
        reader.messages = 0
        reader.arrived.clear()
    started_ns = process_time_ns()
    await asyncio.to_thread(sys.stdin.readline)
    told = {
        "messages": sum(reader.messages for reader in made),
        "processor_ns": process_time_ns() - started_ns,
        "arrivals": [reader.arrived for reader in made if reader.samples],
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    allow_many_files()
    uvloop.run(follow(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
