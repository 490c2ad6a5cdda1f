"""Candles and tickers are what the trades say, however late and by however many schedulers they are made."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market import candles, views
from market.candles import Candle
from market.refusals import BadInput
from tests.market_data.making import Sale, an_instrument, trade

Sessions = async_sessionmaker[AsyncSession]

NOW = datetime(2026, 11, 10, 12, 34, 56, tzinfo=UTC)
START = NOW - timedelta(days=3)
SHANGHAI = timedelta(hours=8)

# Seconds after the start, so that trades share minutes and hours, or lie on both sides of a midnight.
moments = st.one_of(st.integers(0, 300), st.integers(0, 3 * 86_400), st.integers(0, 72).map(lambda hour: hour * 3600))
histories = st.lists(st.tuples(moments, st.integers(2, 40), st.integers(1, 9)), min_size=1, max_size=25)
slow = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def _sales(history: list[tuple[int, int, int]]) -> list[Sale]:
    return [Sale(START + timedelta(seconds=at), price, lots) for at, price, lots in sorted(history)]


def _naive(sales: list[Sale], minutes: int) -> list[Candle]:
    """Candles by going through all trades one by one."""
    found: dict[datetime, Candle] = {}
    for sale in sales:
        since_origin = sale.at - (datetime(2020, 1, 1, tzinfo=UTC) - SHANGHAI)
        at = sale.at - since_origin % timedelta(minutes=minutes)
        old = found.get(at) or Candle(at, sale.price, sale.price, sale.price, 0, 0, 0, 0)
        found[at] = Candle(
            at,
            old.open_minor,
            max(old.high_minor, sale.price),
            min(old.low_minor, sale.price),
            sale.price,
            old.lots + sale.lots,
            old.turnover_minor + sale.price * sale.lots,
            old.trades + 1,
        )
    return list(found.values())


async def _all(sessions: Sessions, instrument_id: int, width: str) -> list[Candle]:
    async with sessions() as session:
        return await candles.between(
            session, instrument_id, width, since=START - timedelta(days=2), until=NOW + timedelta(days=4)
        )


@slow
@given(histories, histories, st.booleans())
async def test_candles_are_what_the_trades_say(
    sessions: Sessions, connection: asyncpg.Connection, first: Any, second: Any, kept_twice: bool
) -> None:
    instrument_id = await an_instrument(connection)
    earlier = _sales(first)
    later = [Sale(sale.at + timedelta(days=3), sale.price, sale.lots) for sale in _sales(second)]

    sales = await trade(connection, instrument_id, earlier)
    await candles.keep(sessions)
    if kept_twice:
        assert await candles.keep(sessions) == 0
    sales += await trade(connection, instrument_id, later)
    running = {width: await _all(sessions, instrument_id, width) for width in candles.WIDTHS}
    await candles.keep(sessions)

    for width, minutes in candles.WIDTHS.items():
        assert running[width] == _naive(sales, minutes)
        assert await _all(sessions, instrument_id, width) == _naive(sales, minutes)


@slow
@given(histories, st.integers(0, 25))
async def test_a_ticker_is_what_the_trades_of_the_last_day_say(
    sessions: Sessions, connection: asyncpg.Connection, history: Any, kept: int
) -> None:
    instrument_id = await an_instrument(connection, "CMCC")
    sales = _sales(history)
    await trade(connection, instrument_id, sales[:kept])
    await candles.keep(sessions)
    await trade(connection, instrument_id, sales[kept:])

    async with sessions() as session:
        [shown] = [each for each in await views.instruments(session, NOW) if each.id == instrument_id]

    begins = (NOW - timedelta(days=1)).replace(second=0, microsecond=0)
    before, day = [s for s in sales if s.at < begins], [s for s in sales if s.at >= begins]
    former = (before[-1:] or day[:1])[0].price
    assert (shown.last_minor, shown.change_24h) == (sales[-1].price, sales[-1].price - former)
    assert shown.volume_24h_lots == sum(sale.lots for sale in day)
    assert shown.volume_24h_mb == shown.volume_24h_lots * 100
    assert shown.turnover_24h_minor == sum(sale.lots * sale.price for sale in day)
    assert shown.high_24h_minor == max((sale.price for sale in day), default=None)
    assert shown.low_24h_minor == min((sale.price for sale in day), default=None)


async def test_two_schedulers_at_once_take_each_trade_in_once(
    sessions: Sessions, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await candles.keep(sessions)
    monkeypatch.setattr(candles, "MOST_AT_ONCE", 7)
    instruments = [await an_instrument(connection) for _ in range(5)]
    made = {}
    for instrument_id in instruments:
        sales = [Sale(START + timedelta(seconds=11 * at), 10 + at % 7, 1 + at % 3) for at in range(60)]
        made[instrument_id] = await trade(connection, instrument_id, sales)

    taken = await asyncio.gather(*(candles.keep(sessions) for _ in range(4)))
    taken.append(await candles.keep(sessions))

    assert sum(taken) == 300
    for instrument_id in instruments:
        assert await _all(sessions, instrument_id, "15m") == _naive(made[instrument_id], 15)


async def test_a_closed_instrument_is_looked_at_until_all_its_trades_are_in(
    sessions: Sessions, connection: asyncpg.Connection
) -> None:
    instrument_id = await an_instrument(connection)
    await candles.keep(sessions)
    await trade(connection, instrument_id, [Sale(NOW, 5, 1)])
    await connection.execute("update instrument set state = 'closed' where id = $1", instrument_id)
    final = "select is_final from candle_mark where instrument_id = $1"

    await candles.keep(sessions)
    after_the_trade = await connection.fetchval(final, instrument_id)
    await candles.keep(sessions)

    assert not after_the_trade
    assert await connection.fetchval(final, instrument_id)
    assert len(await _all(sessions, instrument_id, "1d")) == 1


async def test_reading_candles_and_tickers_walks_no_history(sessions: Sessions, connection: asyncpg.Connection) -> None:
    """Thousands of trades, and no plan reads more of them than lie behind the mark."""
    instrument_id = await an_instrument(connection)
    sales = [Sale(START + timedelta(seconds=20 * at), 10 + at % 7, 1) for at in range(5_000)]
    await trade(connection, instrument_id, sales)
    await candles.keep(sessions)
    await connection.execute("analyze trade, candle, candle_mark")
    values = {"instrument_id": instrument_id, "minutes": 15, "since": START, "until": NOW, "limit": 100}

    async with sessions() as session:
        for statement, given_values in (
            (candles._READ, {**values, "most_behind": 10_000}),
            (views._OPEN_INSTRUMENTS, {"now": NOW}),
            (candles._TAKE_IN, {"most": 1_000}),
        ):
            plan = await _plan(session, statement, given_values)
            reads = [node for node in _nodes(plan) if node.get("Relation Name") == "trade"]
            assert reads
            assert all("Index" in node["Node Type"] for node in reads)
            assert sum(node["Actual Rows"] * node["Actual Loops"] for node in reads) < 100
        await session.rollback()


async def test_an_unknown_width_is_refused(sessions: Sessions) -> None:
    async with sessions() as session:
        with pytest.raises(BadInput):
            await candles.latest(session, 1, "2m", 10, NOW)


async def _plan(session: AsyncSession, statement: Any, values: dict[str, Any]) -> dict[str, Any]:
    explained = text(f"explain (analyze, format json) {statement.text}")
    [[found]] = (await session.execute(explained, values)).all()
    return dict(found[0]["Plan"])


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for each in plan.get("Plans", []) for node in _nodes(each))]
