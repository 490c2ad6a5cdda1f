"""A book away from its engine: the snapshot that is kept in Valkey, the updates behind it, and the mirror they make.

A mirror that has seen an update's `prev` takes the update in; one that has not has
missed something and loads the book again. Levels are absolute, so taking one in twice
does no harm. Losing Valkey loses nothing: the open orders give the same book.
"""

import contextlib
from collections.abc import Iterable

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.engine.commands import BookUpdate, decode_book
from market.resting import IS_SEEN, SEEN_LOTS

NUMBERS = 1024
"""A batch's number modulo this is its shard."""
BUY = 1
TAKERS = {1: "buy", 2: "sell", 0: "auction"}
"""Who came to whom in a trade."""
Level = tuple[int, int, int]
"""Price in minor units per lot, lots, orders."""


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """A whole book after a batch, best levels first."""

    seq: int
    epoch: int
    bids: list[Level]
    asks: list[Level]


encode_snapshot = msgspec.json.Encoder().encode
_decode_snapshot = msgspec.json.Decoder(Snapshot).decode

_READ = text(
    f"""
select coalesce(lease.last_seq, 0) as seq, coalesce(lease.epoch, 0) as epoch, book.side, book.price_minor, book.lots,
       book.orders
from (select 1) one
left join engine_lease lease on lease.shard = :shard
left join lateral (
    select side, price_minor, sum({SEEN_LOTS})::bigint as lots, count(*) as orders
    from open_order o where instrument_id = :instrument_id and {IS_SEEN} group by side, price_minor
) book on true
"""  # noqa: S608 - the fragments are our own
)

_SHARD = text("select coalesce(shard, id % :shards) from instrument where id = :instrument_id")


class Mirror:
    """A book as a reader of the feed has it. ``seq`` and ``epoch`` say after which batch."""

    __slots__ = ("asks", "bids", "epoch", "seq")

    def __init__(self, snapshot: Snapshot) -> None:
        self.seq, self.epoch = snapshot.seq, snapshot.epoch
        self.bids = {price: (lots, orders) for price, lots, orders in snapshot.bids}
        self.asks = {price: (lots, orders) for price, lots, orders in snapshot.asks}

    def take_in(self, update: BookUpdate) -> bool:
        """Move the book along; False when something was missed, and the book must be loaded again."""
        if update.seq % NUMBERS != self.seq % NUMBERS:
            return False  # the instrument has moved to another shard, whose numbers and epochs are its own
        if update.epoch < self.epoch or (update.epoch == self.epoch and update.seq <= self.seq):
            return True  # of the past: a former engine's last word, or what the snapshot has already
        if update.epoch > self.epoch or not update.prev or update.prev > self.seq:
            return False
        for side, price, lots, orders in update.changes:
            levels = self.bids if side == BUY else self.asks
            if lots:
                levels[price] = lots, orders
            else:
                levels.pop(price, None)
        self.seq = update.seq
        return True

    def snapshot(self, most: int | None = None) -> Snapshot:
        """The book, or so many of its best levels on each side."""
        bids = [(price, *self.bids[price]) for price in sorted(self.bids, reverse=True)[:most]]
        asks = [(price, *self.asks[price]) for price in sorted(self.asks)[:most]]
        return Snapshot(self.seq, self.epoch, bids, asks)

    def level(self, side: int, price: int) -> Level:
        """What is at a price; 0 lots for nothing."""
        return (price, *(self.bids if side == BUY else self.asks).get(price, (0, 0)))


def book_keys(shard: int, instrument_id: int) -> tuple[str, str]:
    """Where a book's snapshot and the updates behind it are kept: in one slot of a cluster with the shard's stream."""
    name = f"{{surplusflow:{shard}}}:book:{instrument_id}"
    return name, f"{name}:updates"


async def load(redis: Redis, shard: int, instrument_id: int) -> Mirror | None:
    """The book as Valkey has it: the snapshot with all that came after it; None when it has none."""
    name, updates = book_keys(shard, instrument_id)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hget(name, "book")
        pipe.lrange(updates, 0, -1)
        kept, behind = await pipe.execute()
    return None if kept is None else _moved_along(Mirror(_decode_snapshot(kept)), map(decode_book, behind))


def _moved_along(mirror: Mirror, updates: Iterable[BookUpdate]) -> Mirror | None:
    return mirror if all(mirror.take_in(update) for update in updates) else None


async def read(session: AsyncSession, shard: int, instrument_id: int) -> Mirror:
    """The book as the open orders give it, with the number of the batch that they are of: one statement sees both."""
    rows = (await session.execute(_READ, {"shard": shard, "instrument_id": instrument_id})).all()
    mirror = Mirror(Snapshot(rows[0].seq, rows[0].epoch, [], []))
    for row in rows:
        if row.side is not None:
            levels = mirror.bids if row.side == BUY else mirror.asks
            levels[row.price_minor] = row.lots, row.orders
    return mirror


async def shard_now(session: AsyncSession, instrument_id: int, shards: int) -> int:
    """The shard that an instrument is at: it may have moved."""
    found = await session.scalar(_SHARD, {"instrument_id": instrument_id, "shards": shards})
    return int(found or 0)


async def find(redis: Redis, sessions: async_sessionmaker[AsyncSession], shard: int, instrument_id: int) -> Mirror:
    """The book from Valkey, or where that has none or does not answer, from the database."""
    with contextlib.suppress(RedisError, OSError, msgspec.DecodeError):
        if (found := await load(redis, shard, instrument_id)) is not None:
            return found
    async with sessions() as session:
        return await read(session, shard, instrument_id)
