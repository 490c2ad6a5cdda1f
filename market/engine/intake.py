"""The engine's way in: commands from its stream, and which of them may be decided while others are written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from redis.asyncio import Redis

from market.engine.batch import Decided
from market.engine.commands import Envelope, PrepareLegs, decode_envelope, stream_of
from market.engine.desk import ORDINARY, Desk
from market.engine.handover import batch_length


@dataclass(slots=True)
class Entry:
    """A command as the stream has it. The engine's own commands have the number of the entry before them."""

    stream_id: str
    envelope: Envelope


@dataclass(slots=True)
class Queue:
    """Commands that were taken from the stream and not yet decided, in the order in which they came."""

    position: str
    """Up to here, everything in the stream is decided."""
    entries: list[Entry] = field(default_factory=list)
    last: str = ""
    """The last entry that was taken, readable or not."""

    def add(self, entries: Sequence[Entry], last: str) -> None:
        self.entries += entries
        self.last = last

    def next_batch(self, desk: Desk, in_flight: Decided | None, cap: int) -> list[Envelope]:
        """Take what may be decided now; what must wait for the batch in flight stays, and with it all of its party."""
        cap = _up_to_promise(self.entries, cap)
        cap = min(cap, batch_length(self.entries))
        entries, self.entries = self.entries[:cap], self.entries[cap:]
        if in_flight is not None:
            entries, waiting = _apart(desk, entries, in_flight.touched)
            self.entries = waiting + self.entries
        self.position = self._decided_to()
        return [entry.envelope for entry in entries]

    def _decided_to(self) -> str:
        """The entry before the first that waits. What is done behind it is known by its keys if it is read again."""
        return _before(self.entries[0].stream_id) if self.entries else self.last


def is_ordinary(envelopes: Sequence[Entry]) -> bool:
    """Whether all may be decided while another batch is written."""
    return all(isinstance(entry.envelope.command, ORDINARY) for entry in envelopes)


def _up_to_promise(entries: Sequence[Entry], cap: int) -> int:
    """Where a batch ends at the latest: with a promise, for the books must not change after it."""
    for number, entry in enumerate(entries[:cap], start=1):
        if isinstance(entry.envelope.command, PrepareLegs):
            return number
    return cap


def _apart(desk: Desk, entries: Sequence[Entry], touched: frozenset[int]) -> tuple[list[Entry], list[Entry]]:
    ready, waiting, parties = [], [], set()
    for entry in entries:
        command = entry.envelope.command
        if command.party_id in parties or not touched.isdisjoint(desk.accounts_of(command)):
            parties.add(command.party_id)
            waiting.append(entry)
        else:
            ready.append(entry)
    return ready, waiting


def _before(stream_id: str) -> str:
    """The number just below an entry's, milliseconds and a counter; nothing is below the beginning."""
    milliseconds, counter = map(int, stream_id.split("-"))
    if not milliseconds and not counter:
        return stream_id
    return f"{milliseconds}-{counter - 1}" if counter else f"{milliseconds - 1}-{2**64 - 1}"


def read_plainly(redis: Redis) -> None:
    """Take entries as the server sends them: to make a dictionary of each costs more than to decode it."""
    redis.set_response_callback("XREAD", lambda response, **_: response)


async def take(redis: Redis, shard: int, after: str, count: int, wait_ms: int | None) -> tuple[list[Entry], str, int]:
    """Commands behind ``after``: those that can be read, the last entry's number ("" for none), and how many could not.

    Waits so long for one, or not at all.
    """
    streams: Any = await redis.xread({stream_of(shard): after}, count=count, block=wait_ms)
    if not streams:
        return [], "", 0
    ((_, found),) = streams.items() if isinstance(streams, dict) else streams
    entries, unreadable = [], 0
    for number, (*_, content) in found:
        try:
            entries.append(Entry(number.decode(), decode_envelope(content)))
        except (msgspec.DecodeError, RecursionError):
            unreadable += 1
    return entries, found[-1][0].decode(), unreadable


async def restarted(redis: Redis, shard: int, after: str) -> bool:
    """Whether the stream's numbers begin below ``after``: the transport has lost everything and begun anew."""
    if not await redis.xlen(stream_of(shard)):
        return False
    info = await redis.xinfo_stream(stream_of(shard))
    return _order(info["last-generated-id"].decode()) < _order(after)


def _order(stream_id: str) -> tuple[int, ...]:
    return tuple(map(int, stream_id.split("-")))
