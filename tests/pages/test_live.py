"""The event streams: what they send, how seldom, and when they end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Litestar
from redis.asyncio import Redis

from market import views
from market.engine.commands import BookUpdate, encode, market_channel, party_channel
from market.parties import Member, member
from tests.pages.conftest import Browser
from tests.web.making import Market as MarketOfTests
from web import live
from web.hub import Hub, Subject
from web.live import Market, _Reader, message, partial
from web.pages.rendering import render

SECONDS = 5.0


@pytest.fixture
def drain() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def redis(page_app: Litestar) -> AsyncIterator[Redis]:
    async with Redis.from_url(page_app.state.settings.redis_url) as redis:
        yield redis


@pytest.fixture
def hub(redis: Redis, drain: asyncio.Event) -> Hub:
    return Hub(redis, drain)


class Stream:
    """An open stream, and the messages that have come so far."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        self._frames = frames

    async def next(self) -> str:
        async with asyncio.timeout(SECONDS):
            return (await anext(self._frames)).decode()

    async def until(self, words: str) -> str:
        while words not in (frame := await self.next()):
            continue
        return frame

    async def rest(self) -> list[str]:
        async with asyncio.timeout(SECONDS):
            return [frame.decode() async for frame in self._frames]


@pytest.fixture
async def opened(page_app: Litestar, hub: Hub, drain: asyncio.Event) -> AsyncIterator[Callable[..., Any]]:
    """Opens streams as pages do, and closes them all at the end."""
    open_streams: list[Any] = []

    async def open_one(who: Member | None = None, symbol: str | None = "COIN", **headers: str) -> Stream:
        venue = page_app.state.venue
        request = SimpleNamespace(
            app=SimpleNamespace(state=SimpleNamespace(drain=drain)),
            headers={"accept-language": "en", **headers},
            cookies={},
            scope={"state": {}, "path": "/"},
        )
        view = None
        if symbol is not None:
            async with venue.sessions() as session:
                view = await views.instrument(session, symbol)
        frames = _Reader(request, venue, who, view).frames(hub)  # type: ignore[arg-type]
        open_streams.append(frames)
        return Stream(frames)

    yield open_one
    for frames in open_streams:
        await frames.aclose()


async def a_member(app: Litestar, browsers: Callable[[], Browser]) -> Member:
    party = await MarketOfTests(browsers().client, app.state.venue).partner(kind="subscriber")
    async with app.state.venue.sessions() as session:
        return await member(session, party.party_id)


async def publish(app: Litestar, redis: Redis, number: int, price: int, symbol: str = "COIN") -> None:
    """What the engine tells after a batch with one trade."""
    async with app.state.venue.sessions() as session:
        instrument_id = (await views.instrument(session, symbol)).id
    trade = (10**15 + number, price, 2, 1, 1_900_000_000_000_000 + number)
    update = BookUpdate(instrument_id, number, 1, [(price - 1, 3, 1)], [(price + 1, 4, 2)], [trade])
    await redis.publish(market_channel(instrument_id), encode(update))


async def test_a_stream_begins_with_the_whole_market(opened: Any) -> None:
    stream = await opened()

    assert await stream.next() == live.BEAT.decode()
    frame = await stream.next()
    for part in ("#headline", "#book", "#tape"):
        assert f'<hx-partial hx-target="{part}" hx-swap="innerMorph">' in frame


async def test_a_trade_reaches_book_tape_and_headline_at_once(opened: Any, page_app: Litestar, redis: Redis) -> None:
    stream = await opened()
    await stream.until("#book")

    await publish(page_app, redis, 1, 321)
    frame = await stream.until("3.21")

    assert "3.20" in frame
    assert "3.22" in frame
    assert frame.startswith("id: 1-1\r\n")
    prints = json.loads(frame.split("event: prints\r\ndata: ")[1])
    assert prints[-1] == [10**15 + 1, 1_900_000_000, 321]


async def test_a_burst_is_sent_as_one_message(opened: Any, page_app: Litestar, redis: Redis) -> None:
    stream = await opened()
    await stream.until("#book")

    for number in range(10, 30):
        await publish(page_app, redis, number, 400 + number)
    frames = [await stream.next()]
    while "4.29" not in frames[-1]:
        frames.append(await stream.next())

    assert len(frames) < 6


async def test_what_one_reader_sees_is_rendered_once_for_all(
    opened: Any, hub: Hub, page_app: Litestar, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []

    def counted(template: str, **context: Any) -> str:
        rendered.append(context["block"])
        return render(template, **context)

    monkeypatch.setattr(live, "render", counted)
    streams = [await opened() for _ in range(5)]

    frames = [await stream.until("#book") for stream in streams]

    assert len(set(frames)) == 1
    assert rendered == ["headline", "book", "tape"]
    assert hub.readers == 5


async def test_each_language_has_its_own_rendering(opened: Any) -> None:
    english, chinese = await opened(), await opened(**{"accept-language": "zh"})

    assert "Spread" in await english.until("#book")
    assert "价差" in await chinese.until("#book")


async def test_a_page_that_knows_the_last_message_is_not_told_again(
    opened: Any, page_app: Litestar, redis: Redis
) -> None:
    first = await opened()
    await first.until("#book")
    await publish(page_app, redis, 50, 555)
    await first.until("5.55")

    second = await opened(**{"last-event-id": "1-50"})
    await second.next()
    await publish(page_app, redis, 51, 556)

    assert "5.56" in await second.next()


async def test_a_member_sees_their_own_orders_and_wallet(
    opened: Any, page_app: Litestar, browsers: Callable[[], Browser]
) -> None:
    who = await a_member(page_app, browsers)

    frame = await (await opened(who)).until("#mine")

    assert "You have no open order here." in frame
    assert "CN¥10,000.00 available" in frame


async def test_a_members_page_is_told_that_something_changed(
    opened: Any, page_app: Litestar, redis: Redis, browsers: Callable[[], Browser]
) -> None:
    who = await a_member(page_app, browsers)
    stream = await opened(who, symbol=None)
    await stream.until("event: changed")

    await redis.publish(party_channel(who.party_id), b"")

    assert await stream.next() == live.CHANGED.decode()


async def test_a_quiet_stream_beats(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT_SECONDS", 0.05)
    stream = await opened()
    await stream.until("#book")

    assert await stream.next() == live.BEAT.decode()


async def test_a_stream_says_goodbye_when_the_server_drains(opened: Any, drain: asyncio.Event) -> None:
    stream = await opened()
    await stream.until("#book")

    drain.set()

    assert (await stream.rest())[-1] == live.FAREWELL.decode()


async def test_a_stream_ends_after_its_time(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIFE_SECONDS", 0.2)
    monkeypatch.setattr(live, "BEAT_SECONDS", 0.05)

    assert "drain" not in (await (await opened()).rest())[-1]


async def test_a_stream_ends_when_the_transport_is_lost(opened: Any, hub: Hub, redis: Redis) -> None:
    stream = await opened()
    await stream.until("#book")

    subscribed = [each for each in await redis.client_list(_type="pubsub") if each["sub"] == "2"]
    for client in subscribed:
        await redis.client_kill_filter(_id=client["id"])

    assert await stream.rest() is not None
    assert hub.readers == 0


async def test_nothing_stays_subscribed_after_the_last_reader(opened: Any, hub: Hub, redis: Redis) -> None:
    stream = await opened()
    await stream.until("#book")

    await stream._frames.aclose()

    assert hub.readers == 0
    assert not hub.is_connected


async def test_what_was_missed_is_read_anew(page_app: Litestar) -> None:
    market = Market(venue=page_app.state.venue, symbol="COIN")

    await market.begin()

    assert market.view is not None
    assert market.version == 1
    assert market.mark == ""


async def test_two_readers_of_one_channel_share_one_subscription(hub: Hub) -> None:
    @asynccontextmanager
    async def reader() -> AsyncIterator[Subject]:
        async with hub.following("surplusflow:test", Subject, asyncio.Event()) as subject:
            yield subject

    async with reader() as one, reader() as other:
        assert one is other
        assert hub.readers == 2


def test_a_message_has_no_line_that_ends_it_early() -> None:
    assert message("one\n\ntwo\r\nthree") == b"data: one\r\ndata: two\r\ndata: three\r\n\r\n"
    assert message("x", event="e", name="7") == b"id: 7\r\nevent: e\r\ndata: x\r\n\r\n"
    assert partial("a", "b") == '<hx-partial hx-target="#a" hx-swap="innerMorph">b</hx-partial>\n'
