"""One Redis subscription for all event streams of a process: it follows what anybody reads, while anybody reads it."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from litestar.datastructures import State
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from market.venue import Venue
from settlement.waiting import end

logger = structlog.get_logger("surplusflow.hub")

LISTEN_SECONDS = 15.0
RETRY_SECONDS = 0.5
MOST_STREAMS = 8_000
"""Open streams of one process, of pages and of programs."""

S = TypeVar("S", bound="Subject")


@dataclass(eq=False)
class Subject:
    """What one channel tells of. Its version grows with each change, and every reader is woken."""

    version: int = 0
    wakes: set[asyncio.Event] = field(default_factory=set)
    readers: int = 0

    async def begin(self) -> None:
        """The subscription stands, for the first time or again: whatever was missed must be read anew."""
        self.change()

    def hear(self, data: bytes) -> None:  # noqa: ARG002 - a party's channel says only that something changed
        """A message came."""
        self.change()

    def change(self) -> None:
        self.version += 1
        self.wake()

    def wake(self) -> None:
        for event in self.wakes:
            event.set()


class Hub:
    """Follows channels for readers. The subscription is opened for the first reader and closed after the last."""

    def __init__(self, redis: Redis, drain: asyncio.Event) -> None:
        self._redis = redis
        self._drain = drain
        self._own = f"surplusflow:hub:{secrets.token_hex(8)}"
        self._subjects: dict[str, dict[str, Subject]] = {}
        self._connected = asyncio.Event()
        self.losses = 0
        """How often the subscription was lost. A reader that was at something else meanwhile can tell by it."""
        self._pubsub: PubSub | None = None
        """The subscription that stands, or is just being asked for on an open connection."""
        self._running: list[asyncio.Task[None]] = []
        self._beginnings: set[asyncio.Task[None]] = set()

    @property
    def readers(self) -> int:
        return sum(subject.readers for subject in self._all())

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    async def connected(self, seconds: float) -> bool:
        """Wait until the subscription stands; False when it does not in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), seconds)
        return self.is_connected

    @asynccontextmanager
    async def following(
        self, channel: str, make: Callable[[], S], wake: asyncio.Event, view: str = ""
    ) -> AsyncIterator[S]:
        """The channel's subject, which sets ``wake`` at each change; each ``view`` of a channel has its own."""
        subjects = self._subjects.setdefault(channel, {})
        subject: Any = subjects.get(view)
        if subject is None:
            subject = subjects[view] = make()
        subject.readers += 1
        subject.wakes.add(wake)
        try:
            await self._follow(channel, subject)
            yield subject
        finally:
            subject.readers -= 1
            subject.wakes.discard(wake)
            if subject.readers == 0:
                await self._forget(channel, view)

    async def _follow(self, channel: str, subject: Subject) -> None:
        if not self._running:
            self._running = [asyncio.create_task(self._listen()), asyncio.create_task(self._watch_drain())]
        elif subject.readers == 1 and self._pubsub is not None:
            with contextlib.suppress(
                RedisError, OSError
            ):  # the listener notices too, and subscribes to everything anew
                await self._pubsub.subscribe(channel)

    async def _forget(self, channel: str, view: str) -> None:
        del self._subjects[channel][view]
        if self._subjects[channel]:
            return
        del self._subjects[channel]
        if not self._subjects:
            former, self._running, self._pubsub = self._running, [], None
            self._connected.clear()
            await end([*former, *self._beginnings])
        elif self._pubsub is not None:
            with contextlib.suppress(RedisError, OSError):
                await self._pubsub.unsubscribe(channel)

    async def _listen(self) -> None:
        """Hold the subscription, and begin anew whenever it is lost."""
        while True:
            pubsub = self._redis.pubsub()
            try:
                async with pubsub:
                    # Whoever subscribes while it is being opened opens another connection, which nobody reads.
                    await pubsub.connect()  # type: ignore[no-untyped-call]
                    if asyncio.current_task() not in self._running:
                        return  # told to end meanwhile; another one listens
                    self._pubsub = pubsub
                    await pubsub.subscribe(self._own, *self._subjects)
                    while True:
                        message = await pubsub.get_message(timeout=LISTEN_SECONDS)
                        if message is not None and self._pubsub is pubsub:
                            self._take(message["type"], message["channel"].decode(), message["data"])
            except (RedisError, OSError) as error:
                logger.warning("hub_interrupted", error=type(error).__name__)
                self._lose()
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                if self._pubsub is pubsub:  # and not that of a listener which has begun since this one was told to end
                    self._pubsub = None

    def _take(self, kind: str, channel: str, data: Any) -> None:
        if kind == "subscribe" and channel == self._own:
            self._connected.set()
        for subject in list(self._subjects.get(channel, {}).values()):
            if kind == "message":
                subject.hear(data)
            elif kind == "subscribe":
                task = asyncio.create_task(subject.begin())
                self._beginnings.add(task)
                task.add_done_callback(self._beginnings.discard)

    def _lose(self) -> None:
        """Readers must not take silence for a quiet market: each stream ends, and says so to its page."""
        self.losses += 1
        self._connected.clear()
        self._wake_all()

    async def _watch_drain(self) -> None:
        await self._drain.wait()
        self._wake_all()

    def _wake_all(self) -> None:
        for subject in self._all():
            subject.wake()

    def _all(self) -> list[Subject]:
        return [subject for subjects in self._subjects.values() for subject in subjects.values()]


def hub_of(state: State, venue: Venue) -> Hub:
    """The process's one hub."""
    held = state.get("hub")
    if not isinstance(held, Hub):
        held = state.hub = Hub(venue.redis, state.drain)
    return held
