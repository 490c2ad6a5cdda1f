"""The event streams of the pages: one a page, at most four updates a second, the same rendering for all who read it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog
from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Stream
from litestar.types import ControllerRouterHandler
from sqlalchemy.exc import SQLAlchemyError

from market import views, wallet
from market.engine.commands import BookUpdate, decode_book, market_channel, party_channel
from market.engine.times import moment
from market.market_data import TAKERS
from market.parties import Member
from market.refusals import Unavailable
from market.views import BookView, InstrumentView, Level, Print
from web.edge.sessions import present_member, requires_member, signed_in
from web.edge.venue import Venue
from web.hub import MOST_STREAMS, Hub, Subject, hub_of
from web.pages.instrument import LEVELS, PRINTS, own_orders
from web.pages.rendering import Page, locale_of, render

logger = structlog.get_logger("surplusflow.live")

PACE_SECONDS = 0.25
BEAT_SECONDS = 15.0
LIFE_SECONDS = 1_800.0
"""Then the page connects again, and whoever has signed out meanwhile is a stranger."""
CONNECT_SECONDS = 3.0
REFRESH_SECONDS = 10.0
"""What the feed does not carry (the market's state, the last day's change) is read again this often while it moves."""
TRIES = 60

BEAT = b": ping\r\nevent: beat\r\ndata:\r\n\r\n"
CHANGED = b"event: changed\r\ndata:\r\n\r\n"
FAREWELL = b"event: drain\r\nretry: 1000\r\ndata:\r\n\r\n"


@dataclass(eq=False)
class Market(Subject):
    """One instrument as the streams show it: loaded once, then moved along by the engine's messages."""

    venue: Venue | None = None
    symbol: str = ""
    view: InstrumentView | None = None
    book: BookView = field(default_factory=lambda: BookView((), ()))
    tape: tuple[Print, ...] = ()
    mark: str = ""
    """The engine's number of what is shown; empty when it was read from the database."""
    _read_at: float = 0.0
    _frames: dict[tuple[int, str], bytes] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def begin(self) -> None:
        for _ in range(TRIES):
            if await self._read():
                return
            await asyncio.sleep(1)

    def hear(self, data: bytes) -> None:
        update = decode_book(data)
        self.book = BookView(_levels(update.bids), _levels(update.asks))
        self.tape = _merged(self.tape, update)
        self.mark = f"{update.epoch}-{update.seq}"
        if self.view is not None:
            self.view = _moved(self.view, self.book, self.tape)
        self.change()

    async def refresh(self) -> None:
        """Read again what the messages do not carry, but not more often than it is worth."""
        if time.monotonic() - self._read_at > REFRESH_SECONDS:
            await self._read()

    async def _read(self) -> bool:
        assert self.venue is not None
        async with self._reading:
            heard = self.version
            try:
                async with self.venue.sessions() as session:
                    view = await views.instrument(session, self.symbol, datetime.now(UTC))
                    book = await views.book(session, view.id, LEVELS)
                    tape = await views.tape(session, view.id, PRINTS)
            except (SQLAlchemyError, OSError) as error:
                logger.warning("market_not_read", error=type(error).__name__)
                return False
            self.tape = _joined(self.tape, tape)
            if self.version == heard:
                self.book, self.mark = book, ""
            self.view = _moved(view, self.book, self.tape)
            self._read_at = time.monotonic()
        self.change()
        return True

    def frame(self, locale: str) -> bytes:
        """The market's parts in one language, rendered once however many read them."""
        key = (self.version, locale)
        if key not in self._frames:
            self._frames = {at: made for at, made in self._frames.items() if at[0] == self.version}
            self._frames[key] = self._rendered(locale)
        return self._frames[key]

    def _rendered(self, locale: str) -> bytes:
        context = {"view": self.view, "book": self.book, "tape": self.tape}
        parts = "".join(
            partial(block, render("instrument.html", locale=locale, block=block, **context))
            for block in ("headline", "book", "tape")
        )
        prints = [[each.id, int(each.at.timestamp()), each.price_minor] for each in reversed(self.tape)]
        return message(parts, name=self.mark) + message(json.dumps(prints), event="prints")


@get("/instruments/{symbol:str}/stream")
async def instrument_stream(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[bytes] | Stream:
    """Book, tape and headline of one instrument, and for a member their orders there and their wallet."""
    member = await present_member(request)
    async with venue.sessions() as session:
        view = await views.instrument(session, symbol)
    return await _opened(_Reader(request, venue, member, view))


@get("/stream", guards=[requires_member])
async def member_stream(request: Page, venue: Venue) -> Response[bytes] | Stream:
    """A word to the page whenever something of the member's has changed; the page then asks for its own part again."""
    return await _opened(_Reader(request, venue, signed_in(request), None))


@dataclass
class _Reader:
    """One open page."""

    request: Page
    venue: Venue
    member: Member | None
    view: InstrumentView | None
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def drain(self) -> asyncio.Event:
        event: asyncio.Event = self.request.app.state.drain
        return event

    async def frames(self, hub: Hub) -> AsyncIterator[bytes]:
        async with AsyncExitStack() as stack:
            market, party = None, None
            if self.view is not None:
                channel, symbol = market_channel(self.view.id), self.view.symbol
                make = lambda: Market(venue=self.venue, symbol=symbol)  # noqa: E731 - read once, at the next line
                market = await stack.enter_async_context(hub.following(channel, make, self.wake))
            if self.member is not None:
                channel = party_channel(self.member.party_id)
                party = await stack.enter_async_context(hub.following(channel, Subject, self.wake))
            async for frame in self._changes(hub, market, party):
                yield frame

    async def _changes(self, hub: Hub, market: Market | None, party: Subject | None) -> AsyncIterator[bytes]:
        ends_at = time.monotonic() + LIFE_SECONDS
        known = self.request.headers.get("last-event-id", "")
        shown, told = 0, 0
        if not await hub.connected(CONNECT_SECONDS):
            return
        yield BEAT
        while time.monotonic() < ends_at and hub.is_connected and not self.drain.is_set():
            self.wake.clear()
            parts = b""
            if market is not None and market.view is not None and market.version != shown:
                shown = market.version
                parts += b"" if known and known == market.mark else market.frame(locale_of(self.request))
                known = ""
            if party is not None and party.version != told:
                told = party.version
                parts += await self._own()
            if parts:
                yield parts
                await self._wait(self.drain, PACE_SECONDS)
                if market is not None:
                    await market.refresh()
            elif not await self._wait(self.wake, BEAT_SECONDS):
                yield BEAT
        if self.drain.is_set():
            yield FAREWELL

    async def _own(self) -> bytes:
        """The member's part, read and let go of before anything is sent."""
        if self.view is None or self.member is None:
            return CHANGED
        async with self.venue.sessions() as session:
            mine = await own_orders(session, self.member, self.view.id)
        html = render(
            "instrument.html",
            locale=locale_of(self.request),
            block="mine",
            request=self.request,
            member=self.member,
            mine=mine,
            wallet=await wallet.balances(self.venue, self.member),
        )
        return message(partial("mine", html)) + CHANGED

    async def _wait(self, event: asyncio.Event, seconds: float) -> bool:
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        return True


async def _opened(reader: _Reader) -> Stream:
    hub = hub_of(reader.request.app.state, reader.venue)
    if hub.readers >= MOST_STREAMS or reader.drain.is_set():
        raise Unavailable("Too many pages are open just now. This one is not live.")
    return Stream(
        reader.frames(hub),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def message(data: str, *, event: str = "", name: str = "") -> bytes:
    """One message of a stream; without an event's name htmx swaps it into the page."""
    lines = [f"id: {name}"] if name else []
    lines += [f"event: {event}"] if event else []
    lines += [f"data: {line}" for line in data.splitlines() if line.strip()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def partial(target: str, html: str) -> str:
    """A part of the page for htmx to put into its place."""
    return f'<hx-partial hx-target="#{target}" hx-swap="innerMorph">{html}</hx-partial>\n'


def _levels(rows: list[tuple[int, int, int]]) -> tuple[Level, ...]:
    return tuple(Level(*row) for row in rows[:LEVELS])


def _merged(tape: tuple[Print, ...], update: BookUpdate) -> tuple[Print, ...]:
    """The tape with a message's trades, newest first; what the database told already comes once."""
    fresh = [Print(number, price, lots, TAKERS[taker], moment(at)) for number, price, lots, taker, at in update.trades]
    return _joined(tape, fresh)


def _joined(one: Iterable[Print], other: Iterable[Print]) -> tuple[Print, ...]:
    every = {each.id: each for each in (*one, *other)}
    return tuple(sorted(every.values(), key=lambda each: (each.at, each.id), reverse=True))[:PRINTS]


def _moved(view: InstrumentView, book: BookView, tape: tuple[Print, ...]) -> InstrumentView:
    """The instrument with its last price as the tape tells it; the price of a day ago stays where it was."""
    last = tape[0].price_minor if tape else view.last_minor
    former = None if view.last_minor is None else view.last_minor - (view.change_24h or 0)
    return replace(
        view,
        best_bid=book.bids[0].price if book.bids else None,
        best_ask=book.asks[0].price if book.asks else None,
        last_minor=last,
        change_24h=None if last is None else last - (former if former is not None else last),
    )


routes: list[ControllerRouterHandler] = [instrument_stream, member_stream]
