"""What everybody sees of the orders that rest, of the tape, and of a carrier's prices over the days."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from market import candles, market_data, price_index, queue_place, views
from market.price_index import IndexDay
from market.schedule import keep_market_data
from market.venue import Venue
from settlement.base import Base
from tests.market_data.making import Sale, an_instrument, rest, trade

Sessions = async_sessionmaker[AsyncSession]

NOON = datetime(2026, 11, 10, 4, tzinfo=UTC)
DAY = date(2026, 11, 10)
AT_ONCE = timedelta(0)

ICEBERG = '{"traits": {"display": 3, "shown": 2}, "rides": false}'
FRESH_ICEBERG = '{"traits": {"display": 3, "shown": 0}, "rides": false}'
ARMED = '{"traits": {"stop_price": 120, "triggered": false}, "rides": false}'
TRIGGERED = '{"traits": {"stop_price": 120, "triggered": true}, "rides": false}'
ALL_OR_NONE = '{"traits": {"all_or_none": true}, "rides": false}'
MINIMUM = '{"traits": {"minimum": 2}, "rides": false}'


async def test_the_book_shows_slices_and_hides_what_waits_for_something(
    sessions: Sessions, connection: asyncpg.Connection
) -> None:
    book = await an_instrument(connection)
    for traits in (None, ICEBERG, FRESH_ICEBERG, ARMED, TRIGGERED, ALL_OR_NONE, MINIMUM):
        await rest(connection, book, 1, 90, 10, traits=traits)
    await rest(connection, book, 1, 95, 4, traits=ARMED)
    await rest(connection, book, 2, 99, 1, traits=ALL_OR_NONE)
    await rest(connection, book, 2, 100, 1, traits=FRESH_ICEBERG)

    async with sessions() as session:
        shown = await views.book(session, book, 10)
        mirror = await market_data.read(session, 0, book)
        [view] = [each for each in await views.instruments(session, NOON) if each.id == book]

    assert shown.bids == ((90, 10 + 2 + 3 + 10, 4),)
    assert shown.asks == ((100, 1, 1),)
    assert (view.best_bid, view.best_ask) == (90, 100)
    assert (mirror.snapshot().bids, mirror.snapshot().asks) == ([(90, 25, 4)], [(100, 1, 1)])


async def test_a_book_without_orders_is_empty(sessions: Sessions, connection: asyncpg.Connection) -> None:
    book = await an_instrument(connection)

    async with sessions() as session:
        mirror = await market_data.read(session, 0, book)

    assert (mirror.snapshot().bids, mirror.snapshot().asks) == ([], [])


async def test_an_orders_place_is_behind_better_prices_and_the_earlier_ones_at_its_own(
    sessions: Sessions, connection: asyncpg.Connection
) -> None:
    book = await an_instrument(connection)
    early = await rest(connection, book, 1, 90, 5)
    late = await rest(connection, book, 1, 90, 2)
    amended = await rest(connection, book, 1, 90, 1, priority=2**40)
    better = await rest(connection, book, 1, 91, 10, traits=ICEBERG)
    worse = await rest(connection, book, 1, 89, 3)
    ask = await rest(connection, book, 2, 99, 3)
    hidden = await rest(connection, book, 1, 95, 3, traits=ARMED)

    async with sessions() as session:
        places = await queue_place.of(session, [early, late, amended, better, worse, ask, hidden, 1])

    assert places == {
        better: (0, 0),
        early: (1, 2),
        late: (2, 7),
        amended: (3, 9),
        worse: (4, 10),
        ask: (0, 0),
    }


async def test_the_tape_goes_on_behind_a_trade(sessions: Sessions, connection: asyncpg.Connection) -> None:
    book = await an_instrument(connection)
    sales = await trade(connection, book, [Sale(NOON, 10 + at, 1) for at in range(5)], taker_side=0)

    async with sessions() as session:
        first = await views.tape(session, book, 2)
        second = await views.tape(session, book, 9, first[-1].id)

    assert [each.id for each in (*first, *second)] == [sale.id for sale in reversed(sales)]
    assert {each.taker_side for each in first} == {"auction"}


def _naive(sales: list[tuple[Sale, int]]) -> tuple[int, int, int, int, int]:
    """Median, average, MB, trades and dropped trades by going through the trades; each comes with its instrument."""
    minutes: dict[tuple[int, datetime], list[Sale]] = {}
    for sale, instrument_id in sales:
        minutes.setdefault((instrument_id, sale.at.replace(second=0)), []).append(sale)
    quotes = []
    for group in minutes.values():
        amount, mb = sum(sale.price * sale.lots for sale in group), sum(sale.lots for sale in group) * 100
        quotes.append((amount * 1000 // mb, amount, mb, len(group)))
    median = sorted(price for price, *_ in quotes)[(len(quotes) - 1) // 2]
    kept = [quote for quote in quotes if len(quotes) < 3 or abs(quote[0] - median) * 100 <= 5 * median]
    amount, mb, trades = (sum(quote[at] for quote in kept) for at in (1, 2, 3))
    return median, amount * 1000 // mb, mb, trades, len(sales) - trades


async def _index(sessions: Sessions, carrier: str) -> list[IndexDay]:
    async with sessions() as session:
        return await price_index.read(session, carrier, DAY - timedelta(days=9), DAY + timedelta(days=9))


CARRIERS = iter(range(10_000))
sold = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 7_200), st.integers(95, 120), st.integers(1, 9)),
    min_size=1,
    max_size=20,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(sold, st.integers(0, 20))
async def test_the_index_is_what_the_trades_say(
    sessions: Sessions, connection: asyncpg.Connection, made: Any, first: int
) -> None:
    carrier = f"C{next(CARRIERS)}"
    books = [await an_instrument(connection, carrier) for _ in range(2)]
    sales = [
        (Sale(NOON + timedelta(seconds=second), price, lots), books[which])
        for which, second, price, lots in sorted(made, key=lambda each: each[1])
    ]

    for part in (sales[:first], sales[first:]):
        for book in books:
            await trade(connection, book, [sale for sale, where in part if where == book])
        await candles.keep(sessions)
        await price_index.keep(sessions, AT_ONCE)

    [day] = await _index(sessions, carrier)
    assert (day.day, day.currency) == (DAY, "CNY")
    assert (day.median_minor, day.average_minor, day.volume_mb, day.trades, day.dropped_trades) == _naive(sales)


async def test_a_day_of_the_index_is_shanghais_and_late_trades_are_made_good(
    sessions: Sessions, connection: asyncpg.Connection
) -> None:
    book = await an_instrument(connection, "DAYS")
    midnight = datetime(2026, 11, 10, 16, tzinfo=UTC)
    await trade(connection, book, [Sale(midnight - timedelta(seconds=1), 100, 1), Sale(midnight, 200, 1)])
    await candles.keep(sessions)
    await price_index.keep(sessions, AT_ONCE)
    before = await _index(sessions, "DAYS")

    other = await an_instrument(connection, "DAYS")
    await trade(connection, other, [Sale(midnight - timedelta(hours=1), 104, 1)])
    await candles.keep(sessions)
    await asyncio.gather(price_index.keep(sessions, AT_ONCE), price_index.keep(sessions, AT_ONCE))

    assert [(day.day.day, day.average_minor) for day in before] == [(11, 2_000), (10, 1_000)]
    assert [(day.day.day, day.average_minor) for day in await _index(sessions, "DAYS")] == [(11, 2_000), (10, 1_020)]


async def test_the_index_is_reckoned_up_at_most_once_in_a_pause(
    sessions: Sessions, connection: asyncpg.Connection
) -> None:
    book = await an_instrument(connection, "PAUSE")
    await trade(connection, book, [Sale(NOON, 100, 1)])
    await candles.keep(sessions)
    await price_index.keep(sessions, AT_ONCE)
    await trade(connection, book, [Sale(NOON + timedelta(minutes=1), 100, 1)])
    await candles.keep(sessions)

    await price_index.keep(sessions)
    paused = await _index(sessions, "PAUSE")
    await price_index.keep(sessions, AT_ONCE)

    assert [day.trades for day in paused] == [1]
    assert [day.trades for day in await _index(sessions, "PAUSE")] == [2]


async def test_the_scheduler_keeps_candles_and_index(sessions: Sessions, connection: asyncpg.Connection) -> None:
    book = await an_instrument(connection, "KEPT")
    await connection.execute("delete from price_index")
    await trade(connection, book, [Sale(NOON, 100, 1)])

    await keep_market_data(cast("Venue", SimpleNamespace(sessions=sessions)))

    assert [day.trades for day in await _index(sessions, "KEPT")] == [1]


@pytest.mark.parametrize("table", ["candle", "candle_mark", "price_index"])
async def test_the_migration_makes_the_tables_that_the_models_describe(database_url: str, table: str) -> None:
    def is_of_the_table(thing: Any, name: str, kind: str, *_: object) -> bool:
        return bool((name if kind == "table" else thing.table.name) == table)

    def differences(connection: Connection) -> Any:
        context = MigrationContext.configure(connection, opts={"include_object": is_of_the_table})
        return compare_metadata(context, Base.metadata)

    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()

    assert found == []
