"""The feed's deltas, applied to a snapshot, are the book; whoever misses one notices and has the book again."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from market import market_data
from market.engine import feed
from market.engine.commands import (
    AmendOrder,
    BookUpdate,
    CancelOrder,
    Command,
    Conditions,
    Decay,
    PlaceOrder,
    SetState,
    decode_book,
)
from market.engine.desk import Desk
from market.engine.feed import News, Publisher
from market.engine.instruments import Instrument
from market.market_data import Mirror, Snapshot
from matching.book import Book
from matching.rules import Terms
from settlement.ledger import Account

COIN, MONEY = 2, 1
PARTIES = (11, 12, 13)
RICHES = 10**12
LAST_US = 10**15
STEP_US = 300_000
"""Between two batches: snapshots are kept at every fourth."""

prices = st.integers(90, 110)
conditions = st.one_of(
    st.none(),
    st.just(Conditions(display=2)),
    st.just(Conditions(minimum=3)),
    st.just(Conditions(all_or_none=True)),
    st.builds(Conditions, stop_minor=prices),
    st.builds(Conditions, peg_offset_minor=st.integers(-3, 3)),
    st.just(Conditions(decay=Decay(80, 2, 1_000_000))),
)
placing = st.tuples(
    st.just("place"), st.sampled_from(PARTIES), st.sampled_from(["buy", "sell"]), prices, st.integers(1, 9), conditions
)
amending = st.tuples(st.just("amend"), st.integers(0, 30), prices, st.integers(1, 9))
cancelling = st.tuples(st.just("cancel"), st.integers(0, 30))
stating = st.tuples(st.just("state"), st.sampled_from(["open", "auction"]))
batches = st.lists(
    st.tuples(
        st.lists(st.one_of(placing, placing, amending, cancelling, stating), min_size=1, max_size=4), st.booleans()
    ),
    max_size=25,
)


class Floor:
    """A desk without a database, for three members with enough of everything."""

    def __init__(self) -> None:
        terms = Terms(1, 2, 1_000, 100_000, 0, 10**18, maximum_life_us=10**15)
        self.book = Book(tick=1, reference=100, lowest=2, highest=1_000)
        instrument = Instrument(1, "COIN", COIN, MONEY, None, 100, 500, 1, terms, self.book)
        self.desk = Desk(0, instruments={1: instrument}, now_us=LAST_US)
        self.publisher = Publisher()
        self.keys = count(1)

    def batch(self, asked: list[Any], epoch: int = 1) -> News:
        """Decide commands as the engine does, and give what is told of them."""
        desk = self.desk
        commands = [self._command(*each) for each in asked]
        desk.begin(commands, desk.now_us + STEP_US)
        desk.accounts = {
            account: Account(account, party, asset, RICHES, RICHES)
            for party in PARTIES
            for account, asset in ((party * 10, MONEY), (party * 10 + 1, COIN))
        }
        for command in commands:
            desk.apply(command)
        return self.publisher.news(desk, epoch)

    def _command(self, kind: str, *terms: Any) -> Command:
        key = f"k{next(self.keys)}"
        if kind == "place":
            party, side, price, lots, asked = terms
            money, coins = party * 10, party * 10 + 1
            holding, earning = (money, coins) if side == "buy" else (coins, money)
            return PlaceOrder(
                party, key, b"", 1, party, side, price, lots, holding, proceeds_account_id=earning, conditions=asked
            )
        if kind == "state":
            return SetState(1, key, b"", 1, terms[0])
        known = list(self.desk.records.values())
        record = known[terms[0] % len(known)] if known else None
        order_id, party = (record.id, record.party_id) if record else (1, PARTIES[0])
        if kind == "cancel":
            return CancelOrder(party, key, b"", 1, order_id)
        return AmendOrder(party, key, b"", 1, order_id, terms[1], terms[2])

    def shown(self) -> tuple[list[Any], list[Any]]:
        bids, asks = self.book.depth(1_000)
        return [(*level,) for level in bids], [(*level,) for level in asks]


def _levels(mirror: Mirror) -> tuple[list[Any], list[Any]]:
    book = mirror.snapshot()
    return book.bids, book.asks


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url.replace("/0", "/5")) as redis:
        await redis.flushdb()
        yield redis


async def _announce(redis: Redis, news: News) -> None:
    await feed.announce(redis, 0, [], [], news, "0-0")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches)
async def test_deltas_applied_to_a_snapshot_are_the_book(redis: Redis, rounds: list[Any]) -> None:
    """Whoever loses a message sees the gap at the next one, and what is kept gives the book again."""
    await redis.flushdb()
    floor = Floor()
    reader = Mirror(Snapshot(0, 0, [], []))
    lost, is_first = False, True

    for commands, is_lost in rounds:
        news = floor.batch(commands)
        await _announce(redis, news)
        kept = await market_data.load(redis, 0, 1)
        for told in news.books:
            if is_lost:
                lost = True
                continue
            if not reader.take_in(decode_book(told.update)):
                missed = True
                assert kept is not None
                reader = kept
            else:
                missed = False
            assert missed == (lost or is_first)
            is_first = False
            lost = False
        if kept is not None:
            assert _levels(kept) == floor.shown()
        if not lost and reader.epoch:
            assert _levels(reader) == floor.shown()


async def test_a_lost_keep_is_whole_again_with_the_next_update(redis: Redis) -> None:
    floor = Floor()
    await _announce(redis, floor.batch([("place", 11, "buy", 90, 1, None)]))

    await redis.flushdb()
    await _announce(redis, floor.batch([("place", 12, "buy", 91, 2, None)]))
    emptied = await market_data.load(redis, 0, 1)
    await _announce(redis, floor.batch([("place", 13, "sell", 110, 3, None)]))
    found = await market_data.load(redis, 0, 1)

    assert emptied is None
    assert found is not None
    assert _levels(found) == ([(91, 2, 1), (90, 1, 1)], [(110, 3, 1)])


async def test_an_engine_that_was_replaced_changes_nothing_that_is_kept_or_seen(redis: Redis) -> None:
    former, present = Floor(), Floor()
    await _announce(redis, former.batch([("place", 11, "buy", 90, 1, None)], epoch=1))
    present.batch([("place", 11, "buy", 90, 1, None)], epoch=2)
    present.publisher = Publisher()
    await feed.open_books(redis, 0, present.desk, present.publisher, 2)
    reader = await market_data.load(redis, 0, 1)

    late = former.batch([("place", 12, "buy", 99, 5, None)], epoch=1)
    await _announce(redis, late)
    kept = await market_data.load(redis, 0, 1)

    assert reader is not None
    assert kept is not None
    assert reader.take_in(decode_book(late.books[0].update))
    for mirror in (reader, kept):
        assert (mirror.epoch, _levels(mirror)) == (2, ([(90, 1, 1)], []))


async def test_a_new_engine_makes_every_reader_load_the_book_again(redis: Redis) -> None:
    floor = Floor()
    await _announce(redis, floor.batch([("place", 11, "buy", 90, 1, None)], epoch=1))
    reader = await market_data.load(redis, 0, 1)
    assert reader is not None

    floor.publisher = Publisher()
    news = floor.batch([("place", 12, "buy", 91, 2, None)], epoch=2)

    assert not reader.take_in(decode_book(news.books[0].update))


def test_a_book_that_moved_to_another_shard_is_loaded_again_whatever_its_epoch() -> None:
    reader = Mirror(Snapshot(5 * 1024, 9, [(90, 1, 1)], []))

    assert not reader.take_in(BookUpdate(1, 4 * 1024 + 1, 2, [], [], [], 3 * 1024 + 1, []))


def test_an_iceberg_tells_of_its_slice_alone() -> None:
    floor = Floor()

    news = floor.batch([("place", 11, "sell", 100, 9, Conditions(display=2))])

    assert decode_book(news.books[0].update).changes == [(2, 100, 2, 1)]


def test_the_whole_book_is_told_at_most_once_a_second() -> None:
    floor = Floor()

    snapshots = [bool(floor.batch([("place", 11, "buy", 50, 1, None)]).books[0].snapshot) for _ in range(9)]

    assert snapshots == [True, False, False, False, True, False, False, False, True]
