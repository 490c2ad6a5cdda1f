"""How soon an order is acknowledged through HTTP: the real web and engine programs, and clients on kept connections."""

import asyncio
import itertools
import os
import random
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import psutil

from market import partners
from market.database import connect, sessions
from web.bench.stack import Stack, member, stack
from web.embedded import free_port

MEMBERS = 200
CONNECTIONS = 16
PEAK_SECONDS = 5
PACED_SECONDS = 8
STOP_SECONDS = 15
START_SECONDS = 60
NANOSECONDS = 1_000_000_000
CREATED = b"HTTP/1.1 201"


async def run() -> tuple[dict[str, Any], dict[str, float]]:
    """Find the peak with clients that wait for each answer, then send at half of it whether or not answers come."""
    async with stack() as at:
        port = free_port()
        keys = await _keys(at)
        with serving(at, port):
            await ready(port)
            async with _connections(port) as connections:
                await _closed_loop(connections, keys, 1)
                peak = await _closed_loop(connections, keys, PEAK_SECONDS)
                waits_ns, refused = await _open_loop(connections, keys, peak // 2)
    figures = {
        "connections": CONNECTIONS,
        "peak_orders_per_second": peak,
        "paced_orders_per_second": peak // 2,
        "paced_orders": len(waits_ns),
        "refused": refused,
        "p50_us": waits_ns[len(waits_ns) // 2] // 1000,
        "p99_us": waits_ns[len(waits_ns) * 99 // 100] // 1000,
    }
    return figures, {}


@dataclass(slots=True)
class Connection:
    """One kept connection; one request at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def place(self, key: str, body: bytes) -> bool:
        """Send an order and read its whole answer; says whether it was placed."""
        self.writer.write(
            b"POST /api/v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b'Authorization: Bearer %s\r\nIdempotency-Key: "%s"\r\nContent-Length: %d\r\n\r\n%s'
            % (key.encode(), secrets.token_hex(8).encode(), len(body), body)
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        await self.reader.readexactly(length)
        return head.startswith(CREATED)


def _orders(seed: int) -> Iterator[bytes]:
    """Orders on both sides of a middle, of which some trade."""
    draw = random.Random(seed)
    while True:
        side = draw.choice(("buy", "sell"))
        price = 500 + draw.randint(-60, 10) * (1 if side == "buy" else -1)
        yield b'{"symbol":"COIN","side":"%s","lots":%d,"price_minor":%d}' % (side.encode(), draw.randint(1, 5), price)


async def _closed_loop(connections: Sequence[Connection], keys: Sequence[str], seconds: int) -> int:
    deadline_ns = perf_counter_ns() + seconds * NANOSECONDS
    orders, names = _orders(1), itertools.cycle(keys)

    async def client(connection: Connection) -> int:
        placed = 0
        while perf_counter_ns() < deadline_ns:
            placed += await connection.place(next(names), next(orders))
        return placed

    return sum(await asyncio.gather(*map(client, connections))) // seconds


async def _open_loop(connections: Sequence[Connection], keys: Sequence[str], rate: int) -> tuple[list[int], int]:
    """Nanoseconds from when each order was due to its answer: waiting for a free connection counts."""
    count = rate * PACED_SECONDS
    orders, names = _orders(2), itertools.cycle(keys)
    started_at_ns = perf_counter_ns()
    numbers = iter(range(count))
    waits_ns: list[int] = []
    refused = 0

    async def client(connection: Connection) -> None:
        nonlocal refused
        for number in numbers:
            due_ns = started_at_ns + number * NANOSECONDS // rate
            if (early_ns := due_ns - perf_counter_ns()) > 0:
                await asyncio.sleep(early_ns / NANOSECONDS)
            refused += not await connection.place(next(names), next(orders))
            waits_ns.append(perf_counter_ns() - due_ns)

    await asyncio.gather(*map(client, connections))
    return sorted(waits_ns), refused


async def _keys(at: Stack) -> list[str]:
    engine = connect(at.database_url)
    async with sessions(engine)() as session:
        keys = [await partners.issue_key(session, member(number)[0], "bench") for number in range(MEMBERS)]
        await session.commit()
    await engine.dispose()
    return keys


@contextmanager
def serving(at: Stack, *ports: int) -> Iterator[list[psutil.Process]]:
    """The engine, and a web at each port, as they are run in earnest: each a process of its own. Gives the webs."""
    environment = os.environ | {
        "SURPLUSFLOW_ENVIRONMENT": "demo",
        "SURPLUSFLOW_DATABASE_URL": at.database_url,
        "SURPLUSFLOW_REDIS_URL": at.redis_url,
        "SURPLUSFLOW_SECRET_KEY": secrets.token_urlsafe(48),
        "SURPLUSFLOW_PUBLIC_URL": f"http://127.0.0.1:{ports[0]}",
        "SURPLUSFLOW_CARRIERS": '[[carrier]]\ncode="CMCC"\nname_zh="移动"\nname_en="China Mobile"\n'
        'base_url="http://127.0.0.1:9/cmcc"\ncredential="none"\n',
        "SURPLUSFLOW_STRIPE_API_KEY": "sk_test_sim",
        "SURPLUSFLOW_STRIPE_WEBHOOK_SECRET": "whsec_bench",
    }
    commands = [*(["web", "--port", str(port)] for port in ports), ["engine", "--shard", "0/1"]]
    running = [
        subprocess.Popen(  # noqa: S603 - our own programs
            [sys.executable, "-m", "web.cli", *command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in commands
    ]
    try:
        yield [psutil.Process(program.pid) for program in running[: len(ports)]]
    finally:
        for program in running:
            program.terminate()
        for program in running:
            try:
                program.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


async def ready(port: int) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
                writer.close()
                if b" 200 " in status:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _connections(port: int) -> AsyncIterator[list[Connection]]:
    async with AsyncExitStack() as open_ones:
        connections = []
        for _ in range(CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            open_ones.callback(writer.close)
            connections.append(Connection(reader, writer))
        yield connections
