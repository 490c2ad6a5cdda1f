"""How soon pages are there: the web program under readers who are signed in, and what a slow phone's browser sees."""

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from litestar.serialization import encode_json
from redis.asyncio import Redis

from web.bench.http import ready, serving
from web.bench.stack import Stack, family_seconds, member, postgres_seconds, stack
from web.edge.sessions import MEMBER_SECONDS, begin_in_redis
from web.embedded import free_port

PATHS = ("/", "/market", "/instruments/COIN", "/orders", "/wallet")
PROCESSES = 2
"""Of the web, as a machine with two cores would run them."""
READERS = 40
CONNECTIONS = 32
RATE = 200
WARM_SECONDS = 2
SECONDS = 5
SLOWDOWN = 4
VISITS = 3
"""How often the browser comes to a page; the middle one counts."""
PHONE = {"width": 390, "height": 844}
NANOSECONDS = 1_000_000_000
LARGEST = """() => new Promise((done) => new PerformanceObserver((list) => done(list.getEntries().at(-1).startTime))
  .observe({ type: "largest-contentful-paint", buffered: true }))"""
SHIFTED = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => { sum += entry.value; }))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 100);
})"""


async def run() -> tuple[dict[str, Any], dict[str, float]]:
    """Ask for the pages at an even rate, whether or not answers come; then look at the first page with a browser."""
    async with stack() as at:
        ports = [free_port() for _ in range(PROCESSES)]
        cookies = await _signed_in(at)
        connection = await asyncpg.connect(at.dsn)
        with serving(at, *ports) as webs:
            for port in ports:
                await ready(port)
            await _open_loop(ports, cookies, RATE, WARM_SECONDS)
            before = sum(map(family_seconds, webs)), postgres_seconds(connection)
            seen = await _open_loop(ports, cookies, RATE, SECONDS)
            after = sum(map(family_seconds, webs)), postgres_seconds(connection)
            looked = await _look(f"http://127.0.0.1:{ports[0]}/", cookies[0])
        await connection.close()
    waits = sorted(each.wait_ns for each in seen)
    figures: dict[str, Any] = {
        "pages_per_second": RATE,
        "pages": len(seen),
        "refused": sum(not each.answered for each in seen),
        "p50_ms": _milliseconds(waits, 50),
        "p95_ms": _milliseconds(waits, 95),
        "p99_ms": _milliseconds(waits, 99),
    }
    for name, began, ended in zip(("web", "postgres"), before, after, strict=True):
        figures[f"{name}_cpu_us_per_page"] = round((ended - began) * 1_000_000 / len(seen))
    for path in PATHS:
        own = sorted(each.wait_ns for each in seen if each.path == path)
        figures[f"p95_ms{path.replace('/', '_').lower()}"] = _milliseconds(own, 95)
    return figures | looked, {}


@dataclass(frozen=True, slots=True)
class Seen:
    """One page that was asked for; its wait begins when it was due."""

    path: str
    wait_ns: int
    answered: bool


def _milliseconds(waits: Sequence[int], percentile: int) -> float:
    return round(waits[len(waits) * percentile // 100] / 1e6, 1)


async def _signed_in(at: Stack) -> list[str]:
    """The session cookies of so many members."""
    until = int(time.time()) + MEMBER_SECONDS
    async with Redis.from_url(at.redis_url) as redis:
        ids = []
        for number in range(READERS):
            session = {"party": member(number)[0], "until": until}
            ids.append(await begin_in_redis(redis, session, encode_json(session)))
    return ids


async def _open_loop(ports: Sequence[int], cookies: Sequence[str], rate: int, seconds: int) -> list[Seen]:
    asked: Iterator[tuple[int, tuple[str, str]]] = enumerate(
        zip(itertools.cycle(PATHS), itertools.cycle(cookies), strict=False)
    )
    numbered = itertools.islice(asked, rate * seconds)
    started_at_ns = perf_counter_ns()
    seen: list[Seen] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, (path, cookie) in numbered:
            due_ns = started_at_ns + number * NANOSECONDS // rate
            if (early_ns := due_ns - perf_counter_ns()) > 0:
                await asyncio.sleep(early_ns / NANOSECONDS)
            answered = await _get(reader, writer, path, cookie)
            seen.append(Seen(path, perf_counter_ns() - due_ns, answered))

    async with AsyncExitStack() as open_ones:
        clients = []
        for _, port in zip(range(CONNECTIONS), itertools.cycle(ports), strict=False):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            open_ones.callback(writer.close)
            clients.append(client(reader, writer))
        await asyncio.gather(*clients)
    return seen


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, cookie: str) -> bool:
    """Ask for a page as a browser does, and read the whole answer; says whether it was one."""
    writer.write(
        b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\nAccept-Language: en\r\n"
        b"Accept-Encoding: gzip\r\nCookie: session=%s; csrf=%s\r\n\r\n" % (path.encode(), cookie.encode(), b"0" * 32)
    )
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return head.startswith(b"http/1.1 200")


async def _look(address: str, cookie: str) -> dict[str, Any]:
    """What a browser with a slow processor sees of the first page; nothing where there is no browser."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        return {}
    if not chromium:
        return {}
    figures: dict[str, Any] = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for who, session in (("stranger", ""), ("member", cookie)):
            looks = sorted([await _visit(browser, address, session) for _ in range(VISITS)])
            paint_ms, size, shift = looks[VISITS // 2]
            figures |= {f"{who}_lcp_ms": round(paint_ms), f"{who}_bytes": size, f"{who}_shift": round(shift, 4)}
        await browser.close()
    return figures


async def _visit(browser: Any, address: str, session: str) -> tuple[float, int, float]:
    """The largest contentful paint in milliseconds, bytes over the wire, and layout shift, with an empty cache."""
    context = await browser.new_context(viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True)
    if session:
        where = {"domain": urlsplit(address).hostname, "path": "/"}
        await context.add_cookies([{"name": "session", "value": session, **where}])
    page = await context.new_page()
    devtools = await context.new_cdp_session(page)
    sizes: list[int] = []
    devtools.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    await devtools.send("Network.enable")
    await devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    await page.goto(address, wait_until="load")
    found = await page.evaluate(LARGEST), sum(sizes), await page.evaluate(SHIFTED)
    await context.close()
    return found
