"""The event streams: what they send, how seldom, and when they end."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Litestar
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from market import notices, views
from market.engine.commands import BookUpdate, decode_book, encode, market_channel, party_channel
from market.market_data import NUMBERS
from market.parties import Member, member
from tests.faults.waiting import until
from tests.pages.conftest import Browser
from tests.web.making import Market as MarketOfTests
from tests.web.making import a_key
from web import live, live_list, live_market
from web.hub import Hub, Subject
from web.live import _Reader
from web.live_market import Market, message, partial
from web.pages import market as market_pages
from web.pages.market import Listing
from web.pages.rendering import render

SECONDS = 5.0
EPOCH = 10**6
"""Of an engine that comes after the one that runs: what it tells is newer than what the database has."""


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


async def first_update(channel: PubSub) -> BookUpdate:
    """The next message of a book's channel."""
    async with asyncio.timeout(SECONDS):
        while (heard := await channel.get_message(ignore_subscribe_messages=True, timeout=SECONDS)) is None:
            continue
    return decode_book(heard["data"])


@pytest.fixture
async def opened(page_app: Litestar, hub: Hub, drain: asyncio.Event) -> AsyncIterator[Callable[..., Any]]:
    """Opens streams as pages do, and closes them all at the end."""
    open_streams: list[Any] = []

    async def open_one(who: Member | None = None, symbol: str | None = "COIN", **headers: str) -> Stream:
        venue = page_app.state.venue
        request = SimpleNamespace(
            app=SimpleNamespace(state=SimpleNamespace(drain=drain, static=page_app.state.static)),
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
    update = BookUpdate(instrument_id, number, EPOCH, [(price - 1, 3, 1)], [(price + 1, 4, 2)], [trade])
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
    assert frame.startswith(f"id: {EPOCH}-1\r\n")
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

    monkeypatch.setattr(live_market, "render", counted)
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

    second = await opened(**{"last-event-id": f"{EPOCH}-50"})
    await second.next()
    await publish(page_app, redis, 51, 556)

    assert "5.56" in await second.next()


async def test_a_page_that_slept_is_given_the_market_as_it_is_now(
    opened: Any, page_app: Litestar, redis: Redis
) -> None:
    first = await opened()
    await first.until("#book")
    for number, price in ((60, 561), (61, 562), (62, 563)):
        await publish(page_app, redis, number, price)
    await first.until("5.63")

    back = await opened(**{"last-event-id": f"{EPOCH}-60"})
    frame = await back.until("#book")

    assert frame.startswith(f"id: {EPOCH}-62\r\n")
    assert "5.62" in frame
    assert "5.63" in frame


async def test_a_page_is_never_shown_a_market_older_than_it_has_seen(
    page_app: Litestar, redis: Redis, browser: Browser
) -> None:
    made = MarketOfTests(browser.client, page_app.state.venue)
    await made.empty_book()
    trader = await made.partner()
    async with page_app.state.venue.sessions() as session:
        instrument_id = (await views.instrument(session, "COIN")).id
    async with redis.pubsub() as channel:
        await channel.subscribe(market_channel(instrument_id))
        await trader.order("sell", 977, lots=1, key=a_key())
        update = await first_update(channel)
    market = Market(venue=page_app.state.venue, symbol="COIN", static=page_app.state.static.url)
    await market.begin()
    market.position = update.epoch, update.seq - NUMBERS  # as if the message had not come to this process yet
    market.book = views.BookView((), ())

    await market.catch_up((update.epoch, update.seq))

    assert market.position >= (update.epoch, update.seq)
    assert [level.price for level in market.book.asks] == [977]


async def test_what_is_older_than_what_is_shown_is_not_heard(page_app: Litestar) -> None:
    market = Market(venue=page_app.state.venue, symbol="COIN", static=page_app.state.static.url)
    await market.begin()
    epoch, number = market.position
    shown = market.book, market.version

    market.hear(encode(BookUpdate(1, number - NUMBERS, epoch, [(1, 1, 1)], [], [])))
    assert (market.book, market.version) == shown

    market.hear(encode(BookUpdate(1, number + NUMBERS, epoch, [(1, 1, 1)], [], [])))
    assert market.book.bids == ((1, 1, 1),)
    assert market.position == (epoch, number + NUMBERS)


async def test_nobody_is_woken_by_a_reading_that_says_nothing_new(page_app: Litestar) -> None:
    market = Market(venue=page_app.state.venue, symbol="COIN", static=page_app.state.static.url)
    await market.begin()

    await market.begin()

    assert market.version == 1


async def test_new_notices_are_counted_in_the_bar_of_any_open_page(
    opened: Any, page_app: Litestar, redis: Redis, browsers: Callable[[], Browser]
) -> None:
    who = await a_member(page_app, browsers)
    for symbol in (None, "COIN"):
        stream = await opened(who, symbol=symbol)
        await stream.until('data-unread="0"' if symbol is None else 'data-unread="1"')
        async with page_app.state.venue.sessions.begin() as session:
            await notices.tell(session, who.party_id, "deposit_received", about="/wallet")
        await redis.publish(party_channel(who.party_id), b"")

        frame = await stream.until("data-unread=")
        assert '<hx-partial hx-target="#bell"' in frame
        assert f'data-unread="{1 if symbol is None else 2}"' in frame


async def test_the_place_in_the_queue_follows_what_others_do(
    opened: Any, page_app: Litestar, browsers: Callable[[], Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "OWN_SECONDS", 0.05)
    market = MarketOfTests(browsers().client, page_app.state.venue)
    await market.empty_book()
    first, second = await market.partner(), await market.partner()
    ahead = (await first.order("sell", 888, lots=1, key=a_key())).json()["order_id"]
    await second.order("sell", 888, lots=1, key=a_key())
    async with page_app.state.venue.sessions() as session:
        who = await member(session, second.party_id)
    stream = await opened(who)
    await stream.until('data-ahead="1"')

    await first.send("DELETE", f"/orders/{ahead}", headers={"Idempotency-Key": a_key()})

    await stream.until('data-ahead="0"')


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
    market = Market(venue=page_app.state.venue, symbol="COIN", static=page_app.state.static.url)

    await market.begin()

    assert market.view is not None
    assert market.version == 1
    assert market.mark == "{}-{}".format(*market.position)
    assert market.position > (0, 0)


async def test_two_readers_of_one_channel_share_one_subscription(hub: Hub) -> None:
    @asynccontextmanager
    async def reader() -> AsyncIterator[Subject]:
        async with hub.following("surplusflow:test", Subject, asyncio.Event()) as subject:
            yield subject

    async with reader() as one, reader() as other:
        assert one is other
        assert hub.readers == 2


async def test_a_reader_who_comes_as_the_last_one_leaves_hears_of_everything(hub: Hub, redis: Redis) -> None:
    """So it is whenever somebody goes from one page to the next: the subscription ends and begins at once."""
    for number in range(15):
        async with AsyncExitStack() as stack:
            wake = asyncio.Event()
            leaving = asyncio.create_task(_reads_until(wake, hub))
            await asyncio.sleep(0.002 * (number % 5))
            wake.set()
            await asyncio.sleep(0)
            await stack.enter_async_context(hub.following("surplusflow:one", Subject, asyncio.Event()))
            assert await hub.connected(SECONDS)
            other = await stack.enter_async_context(hub.following("surplusflow:other", Subject, asyncio.Event()))
            await until(functools.partial(_is_past, other, 0), SECONDS)  # it is told that its subscription stands
            known = other.version
            await redis.publish("surplusflow:other", b"news")
            await until(functools.partial(_is_past, other, known), SECONDS)
            await leaving


@pytest.mark.parametrize("steps", range(12))
async def test_a_reader_who_comes_while_the_subscription_is_being_opened_hears_of_everything(
    hub: Hub, redis: Redis, steps: int
) -> None:
    async with AsyncExitStack() as stack:
        followed = []
        for channel in ("surplusflow:one", "surplusflow:other"):
            followed.append(await stack.enter_async_context(hub.following(channel, Subject, asyncio.Event())))
            for _ in range(steps):
                await asyncio.sleep(0)
        for subject in followed:
            await until(functools.partial(_is_past, subject, 0), SECONDS)
        known = followed[1].version
        await redis.publish("surplusflow:other", b"news")
        await until(functools.partial(_is_past, followed[1], known), SECONDS)


async def _is_past(subject: Subject, version: int) -> bool:
    return subject.version > version


async def _reads_until(wake: asyncio.Event, hub: Hub) -> None:
    async with hub.following("surplusflow:one", Subject, asyncio.Event()):
        await wake.wait()


def test_a_message_has_no_line_that_ends_it_early() -> None:
    assert message("one\n\ntwo\r\nthree") == b"data: one\r\ndata: two\r\ndata: three\r\n\r\n"
    assert message("x", event="e", name="7") == b"id: 7\r\nevent: e\r\ndata: x\r\n\r\n"
    assert partial("a", "b") == '<hx-partial hx-target="#a" hx-swap="innerMorph">b</hx-partial>\n'


def list_reader(app: Litestar, drain: asyncio.Event, listing: Listing, mark: str, **headers: str) -> live_list.Reader:
    """An open page of the list, which shows what has this mark."""
    state = SimpleNamespace(drain=drain, static=app.state.static)
    request = SimpleNamespace(
        app=SimpleNamespace(state=state), headers=headers, cookies={}, scope={"state": {}}, query_params={"mark": mark}
    )
    return live_list.Reader(request, app.state.venue, None, listing)  # type: ignore[arg-type]


async def a_better_bid(browser: Browser, listing: Listing) -> None:
    (coin,) = [each for each in listing.shown if each.symbol == "COIN"]
    better = (coin.best_bid or coin.floor_minor) + coin.tick_minor
    await browser.get(f"/instruments/COIN?side=buy&price={better / 100:.2f}&mode=pro")
    await browser.send("/instruments/COIN", lots="1")


async def test_the_list_says_so_when_something_in_it_has_moved_and_when_the_server_drains(
    page_app: Litestar, hub: Hub, drain: asyncio.Event, signed_in: Callable[..., Any]
) -> None:
    browser: Browser = await signed_in()
    followed = Listing()
    await followed.read(page_app.state.venue)
    stream = Stream(list_reader(page_app, drain, followed, followed.mark).frames(hub))
    assert await stream.next() == live.BEAT.decode()
    assert followed.readers == 1

    await a_better_bid(browser, followed)

    moved = await stream.next()
    assert moved == message(followed.mark, event="moved", name=followed.mark).decode()
    drain.set()
    assert (await stream.rest())[-1] == live.FAREWELL.decode()
    assert followed.readers == 0


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_page_of_the_list_that_has_missed_a_move_is_told_at_once(
    page_app: Litestar, hub: Hub, drain: asyncio.Event, *, comes_back: bool
) -> None:
    """Between the page and its stream, or between a stream and the next, the market goes on."""
    followed = Listing()
    await followed.read(page_app.state.venue)
    marks = {"mark": "of-long-ago"} if not comes_back else {"mark": followed.mark, "last-event-id": "of-long-ago"}
    frames = list_reader(page_app, drain, followed, **marks).frames(hub)
    stream = Stream(frames)

    assert await stream.next() == live.BEAT.decode()
    assert "event: moved" in await stream.next()
    await frames.aclose()  # type: ignore[attr-defined]


async def test_who_has_heard_elsewhere_that_the_list_moved_is_not_given_the_former_one(
    page_app: Litestar, signed_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_pages, "FRESH_SECONDS", 3600)
    monkeypatch.setattr(market_pages, "AGAIN_SECONDS", 0)
    browser: Browser = await signed_in()
    held, venue = Listing(), page_app.state.venue
    await held.read(venue)
    former = held.mark

    await a_better_bid(browser, held)

    await held.read(venue)
    assert held.mark == former, "everybody else shares the reading"
    await held.read(venue, former)
    assert held.mark != former
