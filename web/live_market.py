"""One instrument as the pages' streams show it: loaded once, moved along by the engine's messages, rendered once."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from market import calls, market_data, views
from market.calls import Call
from market.engine.commands import BookUpdate, decode_book
from market.engine.times import moment
from market.market_data import NUMBERS, TAKERS
from market.venue import Venue
from market.views import BookView, InstrumentView, Level, Print
from matching.orders import Indication
from web.hub import Subject
from web.pages.instrument import LEVELS, PRINTS
from web.pages.rendering import render
from web.pages.tickets import COLLECTING

logger = structlog.get_logger("surplusflow.live")

REFRESH_SECONDS = 10.0
"""What the feed does not carry (the market's state, the last day's change) is read again this often while it moves."""
CALL_SECONDS = 1.0
"""And this often while orders are collected: what an auction would come to is not in the feed either."""
TRIES = 60

Position = tuple[int, int]
"""Epoch and number of a batch of the engine."""


@dataclass(eq=False)
class Market(Subject):
    """One instrument and its market, as of a batch of the engine; it only ever moves forward."""

    venue: Venue | None = None
    symbol: str = ""
    static: Callable[[str], str] = str
    view: InstrumentView | None = None
    book: BookView = field(default_factory=lambda: BookView((), ()))
    tape: tuple[Print, ...] = ()
    call: Call | None = None
    indication: Indication | None = None
    position: Position = (0, 0)
    _read_at: float = 0.0
    _moved_at: float = 0.0
    _frames: dict[tuple[int, str], bytes] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def mark(self) -> str:
        """The engine's number of what is shown."""
        return "-".join(map(str, self.position))

    async def begin(self) -> None:
        for _ in range(TRIES):
            async with self._reading:
                if await self._read():
                    return
            await asyncio.sleep(1)

    def hear(self, data: bytes) -> None:
        update = decode_book(data)
        if self._is_past((update.epoch, update.seq)):
            return
        self.position, self._moved_at = (update.epoch, update.seq), time.monotonic()
        self.book = BookView(_levels(update.bids), _levels(update.asks))
        self.tape = _merged(self.tape, update)
        if self.view is not None:
            self.view = _moved(self.view, self.book, self.tape)
        self.change()

    async def catch_up(self, known: Position) -> None:
        """Read again when a reader who comes back has seen more than this process has heard of."""
        same_engine = known[1] % NUMBERS == self.position[1] % NUMBERS
        if self.view is not None and same_engine and known > self.position:
            async with self._reading:
                await self._read()

    async def refresh(self) -> None:
        """Read again what the messages do not carry, but not more often than it is worth, whoever asks."""
        if self.view is None or self.fresh_for() > 0:
            return
        async with self._reading:
            if self.fresh_for() <= 0:
                await self._read()

    def fresh_for(self) -> float:
        """Seconds until it is worth reading again what the messages do not carry."""
        collects = self.view is not None and self.view.state in COLLECTING
        waits = CALL_SECONDS if collects and self._moved_at > self._read_at else REFRESH_SECONDS
        return self._read_at + waits - time.monotonic()

    async def _read(self) -> bool:
        """Read everything. What was heard meanwhile, and is newer, stays; nobody is woken for what is as it was."""
        assert self.venue is not None
        self._read_at = time.monotonic()
        before = self._shown()
        try:
            async with self.venue.reads() as session:
                view = await views.instrument(session, self.symbol, datetime.now(UTC))
                shard = await market_data.shard_now(session, view.id, self.venue.settings.shards)
                mirror = await market_data.read(session, shard, view.id)
                tape = await views.tape(session, view.id, PRINTS)
                self.call = await calls.following(session, view, datetime.now(UTC))
                self.indication = await calls.indication(session, view)
        except (SQLAlchemyError, OSError) as error:
            logger.warning("market_not_read", error=type(error).__name__)
            return False
        self.tape = _joined(self.tape, tape)
        if not self._is_past((mirror.epoch, mirror.seq)):
            book = mirror.snapshot(LEVELS)
            self.position = mirror.epoch, mirror.seq
            self.book = BookView(_levels(book.bids), _levels(book.asks))
        self.view = _moved(view, self.book, self.tape)
        if self._shown() != before:
            self.change()
        return True

    def _shown(self) -> tuple[object, ...]:
        return self.view, self.book, self.tape, self.call, self.indication

    def frame(self, locale: str) -> bytes:
        """The market's parts in one language, rendered once however many read them."""
        key = (self.version, locale)
        if key not in self._frames:
            self._frames = {at: made for at, made in self._frames.items() if at[0] == self.version}
            self._frames[key] = self._rendered(locale)
        return self._frames[key]

    def _rendered(self, locale: str) -> bytes:
        context = {
            "view": self.view, "book": self.book, "tape": self.tape, "call": self.call, "indication": self.indication,
            "static": self.static,
        }  # fmt: skip
        parts = "".join(
            partial(block, render("instrument.html", locale=locale, block=block, **context))
            for block in ("headline", "book", "tape")
        )
        prints = [[each.id, int(each.at.timestamp()), each.price_minor] for each in reversed(self.tape)]
        return message(parts, name=self.mark) + message(json.dumps(prints), event="prints")

    def _is_past(self, position: Position) -> bool:
        """Whether what is shown is newer already; another engine's numbers begin anew."""
        return position[1] % NUMBERS == self.position[1] % NUMBERS and position < self.position


def message(data: str, *, event: str = "", name: str = "") -> bytes:
    """One message of a stream; without an event's name htmx swaps it into the page."""
    lines = [f"id: {name}"] if name else []
    lines += [f"event: {event}"] if event else []
    lines += [f"data: {line}" for line in data.splitlines() if line.strip()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def partial(target: str, html: str) -> str:
    """A part of the page for htmx to put into its place."""
    return f'<hx-partial hx-target="#{target}" hx-swap="innerMorph">{html}</hx-partial>\n'


def position_of(last_event_id: str) -> Position:
    """Where a reader was who comes back; nowhere for one who is new, or says what is no number of ours."""
    epoch, _, number = last_event_id.partition("-")
    if len(last_event_id) > 40 or not (epoch.isdecimal() and number.isdecimal()):  # noqa: PLR2004 - two numbers of ours
        return 0, 0
    return int(epoch), int(number)


def _levels(rows: Iterable[tuple[int, int, int]]) -> tuple[Level, ...]:
    return tuple(Level(*row) for row in rows)[:LEVELS]


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
