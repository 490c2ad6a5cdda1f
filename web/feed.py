"""The market's feed for programs: a book whole, then what changes, rendered once and conflated for each reader.

A reader that keeps up gets each rendering. One that does not gets what it has missed in
one piece, or the whole book where that is shorter: nothing is queued for it.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import structlog
from litestar.datastructures import State
from sqlalchemy.exc import SQLAlchemyError

from market.engine.commands import BookUpdate, decode_book, market_channel
from market.engine.times import moment
from market.market_data import TAKERS, Level, Mirror, find, shard_now
from market.refusals import Unavailable
from market.venue import Venue
from market.views import InstrumentView
from web.api.answers import Tick
from web.hub import MOST_STREAMS, Hub, Subject, hub_of

logger = structlog.get_logger("surplusflow.feed")

BEAT_SECONDS = 15.0
LIFE_SECONDS = 3_600.0
"""Then the program connects again, and shows its key again."""
CONNECT_SECONDS = 3.0
PACE_SECONDS = 0.08
"""How often a book is rendered at the most."""
SLOWEST_SECONDS = 1.0
DELIVERY_SECONDS = 0.000_08
"""The pace grows by so much for each reader of the process: a delivery costs about 40 µs, so that all of them together
take half of a processor."""
LAST_TRADES = 50
"""Trades that come with a whole book."""
REMEMBERED = 128
"""Renderings that a reader who was away may still be given."""
MOST_WAITING = 10_000
"""Updates that are kept while a book is loaded; the book that is being loaded has the older ones."""
TRIES = 60

BEAT = b": beat\n\n"
FAREWELL = b"event: drain\nretry: 1000\ndata:\n\n"

_encode = msgspec.json.encode


class Delta(msgspec.Struct, frozen=True):
    """What has changed since ``prev``: levels as (price, lots, orders), 0 lots for one that is gone, and the trades."""

    seq: int
    prev: int
    epoch: int
    at_us: int
    bids: list[Level]
    asks: list[Level]
    trades: list[Tick]


class Whole(msgspec.Struct, frozen=True):
    """The whole book, best levels first, and the last trades that were heard of: who was away may have missed some."""

    seq: int
    epoch: int
    at_us: int
    bids: list[Level]
    asks: list[Level]
    trades: list[Tick]


class Frame(NamedTuple):
    """One rendering of a book's changes."""

    prev: int
    seq: int
    data: bytes


@dataclass(eq=False)
class Feed(Subject):
    """One instrument's book as programs follow it."""

    venue: Venue | None = None
    hub: Hub | None = None
    instrument_id: int = 0
    mirror: Mirror | None = None
    at_us: int = 0
    """The time of the last batch that is shown."""
    _told: int = 0
    """The number up to which frames are rendered."""
    _frames: deque[Frame] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _levels: set[tuple[int, int]] = field(default_factory=set)
    _trades: list[Tick] = field(default_factory=list)
    _last_trades: deque[Tick] = field(default_factory=lambda: deque(maxlen=LAST_TRADES))
    _waiting: list[BookUpdate] = field(default_factory=list)
    _loading: asyncio.Task[None] | None = None
    _rendering: asyncio.TimerHandle | None = None
    _rendered_at: float = 0.0
    _whole: tuple[int, int, bytes] = (0, 0, b"")
    _readers: list["asyncio.Future[None]"] = field(default_factory=list)

    @property
    def pace_seconds(self) -> float:
        """How often a book is rendered: the more readers there are, the more each rendering costs."""
        readers = 0 if self.hub is None else self.hub.readers
        return min(SLOWEST_SECONDS, max(PACE_SECONDS, readers * DELIVERY_SECONDS))

    async def begin(self) -> None:
        """The subscription stands, for the first time or again: whatever was missed is in the book that is loaded."""
        self._load()

    def hear(self, data: bytes) -> None:
        update = decode_book(data)
        if self.mirror is None or self._loading is not None:
            self._waiting = [*self._waiting[-MOST_WAITING:], update]
            self._load()
        elif not self._take_in(self.mirror, update):
            self._waiting = [update]
            self._load()

    def _take_in(self, mirror: Mirror, update: BookUpdate) -> bool:
        seen = mirror.seq
        if not mirror.take_in(update):
            return False
        if mirror.seq != seen:
            self.at_us = update.at_us
            self._levels.update((side, price) for side, price, _, _ in update.changes)
            self._trades += self._hear_trades(update)
            self._render_soon()
        return True

    def _hear_trades(self, update: BookUpdate) -> list[Tick]:
        trades = [
            Tick(f"trd_{number}", price, lots, TAKERS[taker], moment(at_us))
            for number, price, lots, taker, at_us in update.trades
        ]
        self._last_trades += trades
        return trades

    def _load(self) -> None:
        if self._loading is None:
            self._loading = asyncio.create_task(self._loaded())

    async def _loaded(self) -> None:
        """Load the book and bring it up to what was heard meanwhile; everybody then gets it whole."""
        assert self.venue is not None
        for _ in range(TRIES):
            if not self.readers:
                break
            try:
                async with self.venue.reads() as session:
                    shard = await shard_now(session, self.instrument_id, self.venue.settings.shards)
                mirror = await find(self.venue.redis, self.venue.sessions, shard, self.instrument_id)
            except (SQLAlchemyError, OSError) as error:
                logger.warning("book_not_read", error=type(error).__name__)
                await asyncio.sleep(1)
                continue
            heard, self._waiting = self._waiting, []
            if all(mirror.take_in(update) for update in heard):
                for update in heard:
                    self.at_us = max(self.at_us, update.at_us)
                    self._hear_trades(update)
                self._show(mirror)
                break
            await asyncio.sleep(PACE_SECONDS)
        self._loading = None

    def _show(self, mirror: Mirror) -> None:
        self.mirror, self._told = mirror, mirror.seq
        self._frames.clear()
        self._levels.clear()
        self._trades.clear()
        self.wake()

    def _render_soon(self) -> None:
        if self._rendering is None:
            wait = self._rendered_at + self.pace_seconds - time.monotonic()
            self._rendering = asyncio.get_running_loop().call_later(max(0.0, wait), self._render)

    def _render(self) -> None:
        """Put what has changed into one frame, for all readers."""
        if self._rendering is not None:
            self._rendering.cancel()
        self._rendering, self._rendered_at = None, time.monotonic()
        if self.mirror is None or self.mirror.seq == self._told:
            return
        delta = Delta(
            self.mirror.seq,
            self._told,
            self.mirror.epoch,
            self.at_us,
            [self.mirror.level(side, price) for side, price in sorted(self._levels) if side == 1],
            [self.mirror.level(side, price) for side, price in sorted(self._levels) if side != 1],
            self._trades,
        )
        self._frames.append(Frame(self._told, self.mirror.seq, _event("delta", self.mark, _encode(delta))))
        self._told, self._trades = self.mirror.seq, []
        self._levels.clear()
        self.wake()

    @property
    def mark(self) -> str:
        """The id of the last event."""
        assert self.mirror is not None
        return f"{self.mirror.epoch}-{self.mirror.seq}"

    def since(self, epoch: int, seq: int) -> bytes:
        """What a reader who knows the book up to a number needs to know it as it was last rendered."""
        assert self.mirror is not None
        if (epoch, seq) == (self.mirror.epoch, self._told):
            return b""
        if epoch == self.mirror.epoch and self._frames and self._frames[0].prev <= seq:
            missed = [frame.data for frame in self._frames if frame.seq > seq]
            if len(missed) == 1:
                return missed[0]
            if sum(map(len, missed)) < len(self.whole()):
                return b"".join(missed)
        return self.whole()

    def whole(self) -> bytes:
        """The whole book, as it was last rendered."""
        assert self.mirror is not None
        if self.mirror.seq != self._told:
            self._render()
        if self._whole[:2] != (self.mirror.epoch, self._told):
            book = self.mirror.snapshot()
            whole = Whole(book.seq, book.epoch, self.at_us, book.bids, book.asks, list(self._last_trades))
            self._whole = (book.epoch, book.seq, _event("snapshot", self.mark, _encode(whole)))
        return self._whole[2]

    @property
    def position(self) -> tuple[int, int]:
        """Where a reader is that has just been given everything."""
        return (0, 0) if self.mirror is None else (self.mirror.epoch, self._told)

    def wake(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            if not reader.done():
                reader.set_result(None)

    async def changed(self) -> None:
        """Wait until there is something new, or the time has come for a beat."""
        reader = asyncio.get_running_loop().create_future()
        if not self._readers:
            asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat, reader)
        self._readers.append(reader)
        await reader

    def _beat(self, first: "asyncio.Future[None]") -> None:
        if not first.done():
            self.wake()


async def opened(state: State, venue: Venue, view: InstrumentView, last_event_id: str) -> AsyncIterator[bytes]:
    """Follow an instrument's book; from where the reader was, if that is not too long ago.

    Raises:
        Unavailable: this process has as many readers as it can serve, or is about to stop.
    """
    hub = hub_of(state, venue)
    if hub.readers >= MOST_STREAMS or state.drain.is_set():
        raise Unavailable("Too many streams are open just now. Try again in a while.")
    return _events(hub, state.drain, venue, view, last_event_id)


async def _events(
    hub: Hub, drain: asyncio.Event, venue: Venue, view: InstrumentView, last_event_id: str
) -> AsyncIterator[bytes]:
    ends_at = time.monotonic() + LIFE_SECONDS
    channel, wake = market_channel(view.id), asyncio.Event()
    make = lambda: Feed(venue=venue, hub=hub, instrument_id=view.id)  # noqa: E731 - read once, in the next line
    async with hub.following(channel, make, wake, view="feed") as feed:
        if not await hub.connected(CONNECT_SECONDS):
            return
        losses = hub.losses
        known = _position(last_event_id)
        while time.monotonic() < ends_at and hub.losses == losses and not drain.is_set():
            missed = BEAT if feed.mirror is None else feed.since(*known) or BEAT
            known = feed.position
            yield missed
            if known == feed.position:
                await feed.changed()
        if drain.is_set():
            yield FAREWELL


def shard_of(venue: Venue, view: InstrumentView) -> int:
    """The engine that an instrument's book is at."""
    return view.id % venue.settings.shards if view.shard is None else view.shard


def _position(last_event_id: str) -> tuple[int, int]:
    """Epoch and number of an event; of none, what no book has."""
    epoch, _, seq = last_event_id.partition("-")
    if len(last_event_id) > 40 or not (epoch.isdecimal() and seq.isdecimal()):  # noqa: PLR2004 - two numbers of ours
        return 0, 0
    return int(epoch), int(seq)


def _event(kind: str, name: str, data: bytes) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (name.encode(), kind.encode(), data)
