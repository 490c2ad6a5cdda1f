"""The engine's way out: answers, the market's feed, and calls to wake others, once a batch is committed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from market.engine.commands import (
    SETTLEMENT_WAKE,
    BookUpdate,
    Envelope,
    encode,
    market_channel,
    party_channel,
    stream_of,
)
from market.engine.desk import Desk
from market.market_data import Snapshot, book_keys, encode_snapshot
from market.sharding import ASSIGNED, unit_of
from matching.book import Book
from matching.orders import Side

LEVELS = 15
"""Price levels of each side that the pages show."""
SNAPSHOT_US = 1_000_000
"""How seldom a whole book is told while it changes."""
KEPT_SECONDS = 86_400

# Books first, each kept before it is published, so that whoever hears of an update finds at least that in the keep. A
# desk's first word of a book replaces whatever is kept; after that an engine that has been replaced keeps nothing, and
# readers pass over what it publishes. Gives the books that the keep has lost.
_TELL = """
local epoch, books, lost = tonumber(ARGV[2]), tonumber(ARGV[3]), {}
local at = 5
for book = 1, books do
  local name, updates = KEYS[2 * book], KEYS[2 * book + 1]
  local channel, update, snapshot, is_first = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] == '1'
  local kept = tonumber(redis.call('hget', name, 'epoch') or 0)
  if snapshot ~= '' and (is_first or kept <= epoch) then
    redis.call('hset', name, 'epoch', ARGV[2], 'book', snapshot)
    redis.call('expire', name, ARGV[4])
    redis.call('del', updates)
  elseif kept == epoch then
    redis.call('rpush', updates, update)
    redis.call('expire', updates, ARGV[4])
  elseif kept < epoch then
    lost[#lost + 1] = book - 1
  end
  redis.call('publish', channel, update)
  at = at + 4
end
for party in string.gmatch(ARGV[at], '%d+') do redis.call('publish', ARGV[at + 1] .. party, '') end
for pair = at + 2, #ARGV, 2 do redis.call('publish', ARGV[pair], ARGV[pair + 1]) end
redis.call('xtrim', KEYS[1], 'minid', ARGV[1])
return lost
"""


@dataclass(slots=True)
class Told:
    """What readers of one book's feed know: up to which batch, and when they could last have had it whole."""

    seq: int = 0
    whole_us: int = 0


@dataclass(slots=True)
class BookNews:
    """An update of one book, and the whole book when it is due again."""

    instrument_id: int
    told: Told
    update: bytes
    snapshot: bytes
    is_first: bool


@dataclass(slots=True)
class News:
    """What a batch has to tell besides its answers, put into words while the books are as the batch left them."""

    epoch: int = 0
    books: list[BookNews] = field(default_factory=list)
    parties: list[int] = field(default_factory=list)
    """Who has something to look at."""
    messages: list[tuple[str, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Publisher:
    """Puts the changes of one desk's books into words. It knows what was told before, and lives as long as the desk."""

    told: dict[int, Told] = field(default_factory=dict)

    def news(self, desk: Desk, epoch: int) -> News:
        """What a batch has changed: books and trades, who has something to look at, and whether there is work."""
        changes = desk.changes
        touched = self._touched(desk)
        books = [self._book_news(desk, epoch, each, touched.get(each, set())) for each in sorted(changes.instruments)]
        messages = []
        if changes.instructions:
            messages.append((SETTLEMENT_WAKE, b""))
        if changes.handed is not None:
            messages.append((ASSIGNED, b""))
            for instrument in desk.instruments.values():
                if unit_of(instrument.carrier) == changes.handed.unit:
                    self.told.pop(instrument.id, None)
        return News(epoch, books, list(changes.parties), messages)

    def opening(self, desk: Desk, epoch: int) -> News:
        """Every book of the desk whole, for when the desk has just been loaded."""
        return News(epoch, [self._book_news(desk, epoch, each, set()) for each in sorted(desk.instruments)])

    def _touched(self, desk: Desk) -> dict[int, set[tuple[Side, int]]]:
        """The levels, by instrument, at which the batch's orders stood before or stand now."""
        found = dict[int, set[tuple[Side, int]]]()
        for records in (desk.changes.placed, desk.changes.changed):
            for record in records.values():
                levels = found.setdefault(record.instrument_id, set())
                levels.add((record.side, record.price))
                if record.seen_minor not in (0, record.price):  # an order that moves changes two levels
                    levels.add((record.side, record.seen_minor))
                record.seen_minor = record.price
        return found

    def _book_news(self, desk: Desk, epoch: int, instrument_id: int, touched: set[tuple[Side, int]]) -> BookNews:
        book = desk.instruments[instrument_id].book
        told = self.told.get(instrument_id)
        if told is None:
            told = self.told[instrument_id] = Told()
        prev, told.seq = told.seq, desk.seq
        bids, asks = book.depth(LEVELS)
        update = BookUpdate(
            instrument_id,
            desk.seq,
            epoch,
            [(*level,) for level in bids],
            [(*level,) for level in asks],
            [
                (trade.id, trade.price_minor, trade.quantity, trade.taker_side, trade.at_us)
                for trade in desk.changes.trades
                if trade.instrument_id == instrument_id
            ],
            prev,
            [_change(book, side, price) for side, price in sorted(touched)],
            desk.now_us,
        )
        snapshot = b""
        if desk.now_us - told.whole_us >= SNAPSHOT_US:
            told.whole_us = desk.now_us
            snapshot = encode_snapshot(_whole(book, desk.seq, epoch))
        return BookNews(instrument_id, told, encode(update), snapshot, not prev)


def _change(book: Book, side: Side, price: int) -> tuple[int, int, int, int]:
    level = book.level(side, price)
    return (int(side), price, 0, 0) if level is None else (int(side), price, level.quantity, level.orders)


def _whole(book: Book, seq: int, epoch: int) -> Snapshot:
    bids, asks = book.depth(len(book))
    return Snapshot(seq, epoch, [(*level,) for level in bids], [(*level,) for level in asks])


async def announce(  # noqa: PLR0917 - who is told, of what, and up to where
    redis: Redis, shard: int, envelopes: Sequence[Envelope], answers: Sequence[bytes], told: News, stream_id: str
) -> None:
    """Tell what a commit has made true, and let go of what the stream need not keep.

    One script instead of a publish each: reading a reply costs more than the message.
    """
    keys = [stream_of(shard)]
    arguments: list[str | bytes | int] = [stream_id, told.epoch, len(told.books), KEPT_SECONDS]
    for each in told.books:
        keys += book_keys(shard, each.instrument_id)
        arguments += [market_channel(each.instrument_id), each.update, each.snapshot, int(each.is_first)]
    arguments += [",".join(map(str, told.parties)), party_channel("")]
    for channel, parts in _by_channel(envelopes, answers):
        arguments += [channel, b"[%s]" % b",".join(parts)]
    for channel, message in told.messages:
        arguments += [channel, message]
    for lost in await redis.eval(_TELL, len(keys), *keys, *arguments):
        told.books[lost].told.whole_us = 0


async def open_books(redis: Redis, shard: int, desk: Desk, publisher: Publisher, epoch: int) -> None:
    """Tell all books of a desk that has just been loaded: what a former engine told last may be missing or ahead."""
    await announce(redis, shard, [], [], publisher.opening(desk, epoch), "0-0")


def _by_channel(envelopes: Sequence[Envelope], answers: Iterable[bytes]) -> Iterable[tuple[str, list[bytes]]]:
    channels: dict[str, list[bytes]] = {}
    for envelope, answer in zip(envelopes, answers, strict=True):
        if envelope.reply_to:  # what the engine asks of itself nobody waits for
            channels.setdefault(envelope.reply_to, []).append(b"[%d,%s]" % (envelope.number, answer))
    return channels.items()
