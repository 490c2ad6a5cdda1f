"""The engine's ways in and out: the stream of commands, answers, the market's feed, and calls to wake others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio import Redis

from market.engine.batch import Result, Seat
from market.engine.commands import (
    SETTLEMENT_WAKE,
    BookUpdate,
    Envelope,
    decode_envelope,
    encode,
    market_channel,
    party_channel,
    stream_of,
)
from market.engine.desk import microseconds

LEVELS = 15
"""Price levels of each side that the feed shows."""
IDLE_MS = 1_000


_TELL = """
for at = 2, #ARGV, 2 do redis.call('publish', ARGV[at], ARGV[at + 1]) end
redis.call('xtrim', KEYS[1], 'minid', ARGV[1])
"""


@dataclass(slots=True)
class Intake:
    """Commands taken from the stream, with the id of the last entry, readable or not."""

    envelopes: list[Envelope]
    stream_id: str
    unreadable: int


async def take(redis: Redis, shard: int, after: str, cap: int) -> Intake | None:
    """Wait for commands behind ``after``; gives None when none came for a second."""
    streams: Any = await redis.xread({stream_of(shard): after}, count=cap, block=IDLE_MS)
    if not streams:
        return None
    ((_, entries),) = streams
    envelopes, unreadable = [], 0
    for _, fields in entries:
        try:
            envelopes.append(decode_envelope(fields[b"c"]))
        except (msgspec.DecodeError, KeyError, RecursionError):
            unreadable += 1
    return Intake(envelopes, entries[-1][0].decode(), unreadable)


async def restarted_stream(redis: Redis, shard: int, after: str) -> bool:
    """Whether the stream's numbers begin below ``after``: the transport has lost everything and begun anew."""
    if not await redis.xlen(stream_of(shard)):
        return False
    info = await redis.xinfo_stream(stream_of(shard))
    return _order(info["last-generated-id"].decode()) < _order(after)


def _order(stream_id: str) -> tuple[int, ...]:
    return tuple(map(int, stream_id.split("-")))


async def announce(redis: Redis, seat: Seat, envelopes: Sequence[Envelope], result: Result) -> None:
    """Tell what a commit has made true: answers first, then books and trades, then those who have work now.

    One script instead of a publish each: reading a reply costs more than the message.
    """
    changes = result.changes
    messages: list[tuple[str, bytes]] = [
        (channel, b"[%s]" % b",".join(answers)) for channel, answers in _by_channel(envelopes, result.answers)
    ]
    messages += [
        (market_channel(instrument_id), encode(_book_update(seat, instrument_id, result)))
        for instrument_id in changes.instruments
    ]
    messages += [(party_channel(party_id), b"") for party_id in changes.parties]
    if changes.instructions:
        messages.append((SETTLEMENT_WAKE, b""))
    arguments = [part for message in messages for part in message]
    await redis.eval(_TELL, 1, stream_of(seat.lease.shard), seat.lease.stream_id, *arguments)


def _by_channel(envelopes: Sequence[Envelope], answers: Iterable[bytes]) -> Iterable[tuple[str, list[bytes]]]:
    channels: dict[str, list[bytes]] = {}
    for envelope, answer in zip(envelopes, answers, strict=True):
        channels.setdefault(envelope.reply_to, []).append(b"[%d,%s]" % (envelope.number, answer))
    return channels.items()


def _book_update(seat: Seat, instrument_id: int, result: Result) -> BookUpdate:
    bids, asks = seat.desk.instruments[instrument_id].book.depth(LEVELS)
    trades = [
        (trade.id, trade.price_minor, trade.quantity, trade.taker_side, microseconds(trade.at))
        for trade in result.changes.trades
        if trade.instrument_id == instrument_id
    ]
    return BookUpdate(
        instrument_id,
        result.seq,
        seat.lease.epoch,
        [(*level,) for level in bids],
        [(*level,) for level in asks],
        trades,
    )
