"""The event stream for programs, over real HTTP from the web program, and the pieces that make it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from market.engine.commands import BookUpdate, encode, market_channel
from market.market_data import Mirror, Snapshot
from market.settings import Settings
from tests.web.making import Market, Partner
from tests.web.test_server import serving
from web import feed
from web.feed import Feed
from web.hub import Hub

SECONDS = 10.0
INSTRUMENT = 1
STEP = 1024
NUMBERS = count(1)


class Event:
    """One event of a stream."""

    def __init__(self, lines: list[str]) -> None:
        fields = dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(":"))
        self.id, self.kind = fields.get("id", ""), fields.get("event", "")
        self.data: dict[str, Any] = json.loads(fields.get("data", "{}"))


@asynccontextmanager
async def following(url: str, partner: Partner, last_event_id: str = "") -> AsyncIterator[AsyncIterator[Event]]:
    headers = {"Authorization": f"Bearer {partner.api_key}"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    async with (
        httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client,
        client.stream("GET", f"{url}/api/v1/instruments/COIN/feed", headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _events(response)


@asynccontextmanager
async def served(settings: Settings, data_dir: Path) -> AsyncIterator[str]:
    """The web program; the engine in this process goes on while it starts and stops."""
    server = serving(settings, data_dir, 1)
    url, _ = await asyncio.to_thread(server.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def _events(response: httpx.Response) -> AsyncIterator[Event]:
    lines: list[str] = []
    async for line in response.aiter_lines():
        if line:
            lines.append(line)
            continue
        if any(each.startswith("event: ") for each in lines):
            yield Event(lines)
        lines = []


async def _until(events: AsyncIterator[Event], reader: Mirror, price: int) -> list[Event]:
    """Read on until a level of ours is there, as a program of a partner would."""
    read = []
    async with asyncio.timeout(SECONDS):
        while price not in reader.bids:
            event = await anext(events)
            read.append(event)
            if event.kind == "snapshot":
                reader.__init__(Snapshot(0, 0, [], []))  # type: ignore[misc]
            else:
                assert event.data["prev"] <= reader.seq
            assert event.id == f"{event.data['epoch']}-{event.data['seq']}"
            for levels, told in ((reader.bids, event.data["bids"]), (reader.asks, event.data["asks"])):
                for at, lots, orders in told:
                    levels[at] = lots, orders
                    if not lots:
                        del levels[at]
            reader.seq = event.data["seq"]
    return read


@pytest.fixture(autouse=True)
async def an_empty_book(market: Market) -> None:
    await market.empty_book()


async def test_a_program_follows_a_book_from_its_snapshot_on(
    market: Market, settings: Settings, tmp_path: Path
) -> None:
    maker, taker = await market.partner(), await market.partner()
    first, second, third = (40 + next(NUMBERS) for _ in range(3))
    await maker.order("buy", first)
    async with served(settings, tmp_path) as url:
        reader = Mirror(Snapshot(0, 0, [], []))
        async with following(url, maker) as events:
            begun = await _until(events, reader, first)
            await maker.order("buy", second, lots=5)
            await taker.order("sell", second, lots=2)
            moved = await _until(events, reader, second)
            while not any(event.data["trades"] for event in moved):
                moved.append(await anext(events))
            known = moved[-1].id
        await maker.order("buy", third)
        reader.seq = int(known.split("-")[1])
        async with following(url, maker, known) as events:
            resumed = await _until(events, reader, third)
    book = (await maker.get("/instruments/COIN/book?levels=1000")).json()

    assert begun[0].kind == "snapshot"
    assert {event.kind for event in moved} == {"delta"}
    [sold] = [each for event in moved for each in event.data["trades"]]
    assert (sold["price_minor"], sold["lots"], sold["taker_side"]) == (second, 2, "sell")
    assert resumed[-1].data["seq"] > int(known.split("-")[1])
    assert book["bids"][:1] == [
        {"price_minor": max(reader.bids), "lots": reader.bids[max(reader.bids)][0], "orders": 1}
    ]


@pytest.fixture
def stream(settings: Settings) -> Feed:
    """A feed whose book is known, and that nobody publishes to but the test."""
    made = Feed(instrument_id=INSTRUMENT)
    made._show(Mirror(Snapshot(10 * STEP, 1, [(90, 1, 1)], [(100, 2, 1)])))
    return made


def _update(seq: int, prev: int, *changes: tuple[int, int, int, int], epoch: int = 1) -> bytes:
    """What the engine tells; its numbers are multiples of a step."""
    return encode(BookUpdate(INSTRUMENT, seq * STEP, epoch, [], [], [], prev * STEP, list(changes), 7))


def _data(frames: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in frames.decode().splitlines() if line.startswith("data: ")]


async def test_what_changed_between_two_renderings_is_one_event_for_all(stream: Feed) -> None:
    stream.hear(_update(20, 10, (1, 90, 5, 2), (1, 80, 1, 1)))
    stream.hear(_update(30, 20, (1, 80, 0, 0), (2, 100, 0, 0)))
    stream._render()

    one, other = stream.since(1, 10 * STEP), stream.since(1, 10 * STEP)

    assert one is other
    [delta] = _data(one)
    assert (delta["prev"], delta["seq"]) == (10 * STEP, 30 * STEP)
    assert (delta["bids"], delta["asks"]) == ([[80, 0, 0], [90, 5, 2]], [[100, 0, 0]])


async def test_a_slow_reader_gets_what_it_missed_or_the_whole_book_where_that_is_shorter(stream: Feed) -> None:
    for at in range(1, 9):
        stream.hear(_update(10 + at, 9 + at, (1, 90, at, 1)))
        stream._render()

    soon, late, never = stream.since(1, 17 * STEP), stream.since(1, 11 * STEP), stream.since(0, 0)

    assert [delta["seq"] for delta in _data(soon)] == [18 * STEP]
    assert late is never
    [whole] = _data(late)
    assert (whole["seq"], whole["bids"], whole["asks"]) == (18 * STEP, [[90, 8, 1]], [[100, 2, 1]])


async def test_nothing_is_kept_for_readers_without_bound(stream: Feed) -> None:
    for at in range(1, 1_000):
        stream.hear(_update(10 + at, 9 + at, (1, 90, at, 1)))
        stream._render()

    assert len(stream._frames) == feed.REMEMBERED


async def test_a_burst_is_rendered_at_the_pace_and_not_for_each_change(stream: Feed) -> None:
    for at in range(1, 100):
        stream.hear(_update(10 + at, 9 + at, (1, 90, at, 1)))
        await asyncio.sleep(0)

    await asyncio.sleep(2 * feed.PACE_SECONDS)

    assert 1 <= len(stream._frames) <= 3
    assert stream.since(1, 109 * STEP) == b""


async def test_a_gap_makes_the_feed_load_the_book_again(
    engine: None, app: Any, opened: Any, settings: Settings, market: Market
) -> None:
    price = 40 + next(NUMBERS)
    partner = await market.partner()
    await partner.order("buy", price)
    async with Redis.from_url(settings.redis_url) as redis:
        hub = Hub(redis, asyncio.Event())
        make: Callable[[], Feed] = lambda: Feed(venue=app.state.venue, hub=hub, instrument_id=INSTRUMENT)  # noqa: E731
        async with hub.following(market_channel(INSTRUMENT), make, asyncio.Event(), view="feed") as followed:
            async with asyncio.timeout(SECONDS):
                while followed.mirror is None:
                    await followed.changed()
            mirror = followed.mirror
            followed.hear(_update(mirror.seq // STEP + 2, mirror.seq // STEP + 1, (1, 3, 1, 1), epoch=mirror.epoch))
            async with asyncio.timeout(SECONDS):
                while followed.mirror is mirror:
                    await followed.changed()
            again = followed.mirror

    assert price in again.bids
    assert 3 not in again.bids


async def test_market_data_can_be_asked_for_by_page_and_span(market: Market) -> None:
    maker, taker = await market.partner(), await market.partner()
    price = 40 + next(NUMBERS)
    for _ in range(3):
        await maker.order("buy", price)
        await taker.order("sell", price)

    first = (await maker.get("/instruments/COIN/trades?limit=2")).json()
    cursor = first["next_cursor"]
    second = (await maker.get("/instruments/COIN/trades", params={"limit": 1, "cursor": cursor})).json()
    [ticker] = [each for each in (await maker.get("/tickers")).json() if each["symbol"] == "COIN"]
    [day] = (await maker.get("/instruments/COIN/candles?width=1d&limit=1")).json()
    span = {"width": "1m", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}

    ids = [each["id"] for each in (*first["items"], *second["items"])]
    assert len(set(ids)) == 3
    assert (ticker["last_minor"], ticker["volume_24h_mb"]) == (price, None)
    assert ticker["volume_24h_lots"] == day["lots"] >= 3
    assert (await maker.get("/instruments/COIN/candles", params=span)).json() == []
    assert (await maker.get("/instruments/COIN/candles?from=2026-01-01T00:00:00")).status_code == 400
    assert (await maker.get("/index?carrier=CMCC&from=2026-11-01&to=2026-11-30")).json() == []
    assert (await maker.get("/index?from=yesterday")).status_code == 400
