"""The market's reads, over rows inserted directly."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from market import views
from market.refusals import BadInput, NotFound
from market.tables import EndedOrderRow, InstrumentRow, OpenOrderRow, SurveillanceRow, TradeRow
from settlement.ledger_tables import AccountRow, AssetRow
from settlement.tables import DeliveryRow, InstructionRow, PaymentRow, PayoutRow
from tests.databases import migrate

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
ANNE, BEN, CARLA = 11, 12, 13


@pytest.fixture(scope="module")
async def sessions(new_database: Callable[[str], str]) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    url = new_database("views")
    await asyncio.to_thread(migrate, url)
    engine = create_async_engine(url)
    yield async_sessionmaker(engine, expire_on_commit=False)
    await engine.dispose()


@pytest.fixture
async def session(sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
    """A session whose rows nobody else ever sees."""
    async with sessions() as session:
        yield session
        await session.rollback()


async def an_instrument(session: AsyncSession, symbol: str, **changes: Any) -> int:
    carrier, scope = (None, None) if symbol == "COIN" else symbol.split("-")[:2]
    kind = "coin" if symbol == "COIN" else "data"
    expires_at = None if kind == "coin" else NOW + timedelta(days=20)
    asset = AssetRow(code=f"asset of {symbol}", kind=kind, carrier=carrier, scope=scope, expires_at=expires_at)
    session.add(asset)
    await session.flush()
    terms: dict[str, Any] = {
        "lot_units": 100,
        "tick_minor": 1,
        "floor_minor": 10,
        "ceiling_minor": 1000,
        "reference_minor": 300,
        "maximum_lots": 100,
        "fee_basis_points": 500,
        "fee_minimum_minor": 1,
        "opens_at": NOW - timedelta(days=10),
        "closes_at": NOW + timedelta(days=19),
        "state": "open",
    }
    row = InstrumentRow(symbol=symbol, asset_id=asset.id, currency="CNY", **(terms | changes))
    session.add(row)
    await session.flush()
    return row.id


def an_order(
    number: int, instrument_id: int, side: str, price: int, lots: int, *, state: str = "open", **changes: Any
) -> OpenOrderRow | EndedOrderRow:
    terms: dict[str, Any] = {
        "party_id": ANNE,
        "group_id": ANNE,
        "time_in_force": "gtc",
        "self_trade": "cancel_newest",
        "market": False,
        "post_only": False,
        "fee_basis_points": 500,
        "fee_minimum_minor": 1,
        "account_id": 1,
        "version": 1,
        "priority": number,
        "created_at": NOW,
        "updated_at": NOW,
    }
    kind: Any = OpenOrderRow
    if state == "open":
        terms["open"] = lots
    else:
        kind, terms["state"], terms["filled"] = EndedOrderRow, state, lots if state == "filled" else 0
    found: OpenOrderRow | EndedOrderRow = kind(
        id=number,
        instrument_id=instrument_id,
        side=1 if side == "buy" else 2,
        price_minor=price,
        quantity=lots,
        **(terms | changes),
    )
    return found


def a_trade(number: int, instrument_id: int, price: int, lots: int, at: datetime, **changes: Any) -> TradeRow:
    terms: dict[str, Any] = {
        "buy_order_id": 1,
        "sell_order_id": 2,
        "buyer_id": ANNE,
        "seller_id": BEN,
        "taker_side": 1,
        "fee_minor": 15,
    }
    return TradeRow(
        id=number, instrument_id=instrument_id, price_minor=price, quantity=lots, at=at, **(terms | changes)
    )


async def test_an_instrument_shows_its_best_prices_and_its_last_day(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    session.add_all([an_order(1, gd, "buy", 290, 5), an_order(2, gd, "buy", 280, 5), an_order(3, gd, "sell", 310, 2)])
    session.add(an_order(4, gd, "buy", 999, 5, state="cancelled"))
    session.add_all(
        [
            a_trade(1, gd, 250, 9, NOW - timedelta(hours=30)),
            a_trade(2, gd, 280, 4, NOW - timedelta(hours=3)),
            a_trade(3, gd, 300, 1, NOW - timedelta(hours=1)),
        ]
    )
    await session.flush()

    [shown] = await views.instruments(session, NOW)

    assert (shown.symbol, shown.carrier, shown.kind) == ("CTCC-GD-2611", "CTCC", "data")
    assert (shown.best_bid, shown.best_ask) == (290, 310)
    assert (shown.last_minor, shown.change_24h, shown.volume_24h_lots) == (300, 50, 5)
    assert await views.instrument(session, "CTCC-GD-2611", NOW) == shown


async def test_a_market_younger_than_a_day_changes_since_its_first_trade(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    session.add_all([a_trade(1, gd, 300, 1, NOW - timedelta(hours=2)), a_trade(2, gd, 280, 1, NOW)])
    await session.flush()

    assert (await views.instrument(session, "CTCC-GD-2611", NOW)).change_24h == -20


async def test_an_instrument_without_trades_has_no_last_price(session: AsyncSession) -> None:
    await an_instrument(session, "COIN")

    shown = await views.instrument(session, "COIN", NOW)

    assert (shown.best_bid, shown.best_ask, shown.last_minor, shown.change_24h) == (None, None, None, None)
    assert (shown.volume_24h_lots, shown.carrier, shown.expires_at) == (0, None, None)


async def test_only_what_still_trades_is_listed_data_first(session: AsyncSession) -> None:
    await an_instrument(session, "COIN")
    await an_instrument(session, "CUCC-CN-2611")
    await an_instrument(session, "CMCC-CN-2611", state="halted")
    await an_instrument(session, "CMCC-CN-2610", closes_at=NOW - timedelta(hours=1))
    await an_instrument(session, "CMCC-GD-2611", state="closed")

    assert [shown.symbol for shown in await views.instruments(session, NOW)] == ["CMCC-CN-2611", "CUCC-CN-2611", "COIN"]


async def test_an_unknown_symbol_is_not_found(session: AsyncSession) -> None:
    with pytest.raises(NotFound):
        await views.instrument(session, "CTCC-XX-2611", NOW)


async def test_the_book_adds_up_what_rests_at_each_price_best_first(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    session.add_all(
        [
            an_order(1, gd, "buy", 290, 5),
            an_order(2, gd, "buy", 290, 2),
            an_order(3, gd, "buy", 280, 5),
            an_order(4, gd, "buy", 270, 5),
            an_order(5, gd, "sell", 310, 4, open=3),
            an_order(6, gd, "sell", 320, 1),
        ]
    )
    await session.flush()

    book = await views.book(session, gd, 2)

    assert book.bids == ((290, 7, 2), (280, 5, 1))
    assert book.asks == ((310, 3, 1), (320, 1, 1))


async def test_the_tape_starts_with_the_newest_trade(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    session.add_all(a_trade(number, gd, 300 + number, 1, NOW, taker_side=2) for number in range(1, 5))
    await session.flush()

    tape = await views.tape(session, gd, 3)

    assert [(print_.id, print_.price_minor, print_.taker_side) for print_ in tape] == [
        (4, 304, "sell"),
        (3, 303, "sell"),
        (2, 302, "sell"),
    ]


async def test_candles_follow_shanghai_days_and_skip_empty_periods(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    before_midnight = datetime(2026, 11, 8, 15, 59, tzinfo=UTC)
    session.add_all(
        [
            a_trade(1, gd, 300, 1, before_midnight - timedelta(hours=1)),
            a_trade(2, gd, 320, 2, before_midnight),
            a_trade(3, gd, 290, 3, before_midnight + timedelta(minutes=2)),
            a_trade(4, gd, 280, 1, before_midnight + timedelta(minutes=3)),
        ]
    )
    await session.flush()

    first, second = await views.candles(session, gd, "1d", 30, NOW)

    assert first.at == datetime(2026, 11, 7, 16, tzinfo=UTC)
    assert (first.open_minor, first.high_minor, first.low_minor, first.close_minor, first.lots) == (
        300,
        320,
        300,
        320,
        3,
    )
    assert (second.open_minor, second.close_minor, second.lots) == (290, 280, 4)
    assert await views.candles(session, gd, "1m", 10, NOW) == []


async def test_an_unknown_period_is_bad_input(session: AsyncSession) -> None:
    with pytest.raises(BadInput):
        await views.candles(session, 1, "2m", 10, NOW)


async def test_orders_are_paged_by_id_and_only_ones_own(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    session.add_all(an_order(number, gd, "buy", 300, 5) for number in range(1, 6))
    session.add(an_order(6, gd, "sell", 310, 5, party_id=BEN))
    session.add(an_order(7, gd, "sell", 310, 5, state="filled"))
    await session.flush()

    first = await views.orders(session, ANNE, None, None, 3)
    second = await views.orders(session, ANNE, None, first[-1].id, 10)

    assert [order.id for order in first] == [7, 5, 4]
    assert [order.id for order in second] == [3, 2, 1]
    assert [order.id for order in await views.orders(session, ANNE, "filled", None, 10)] == [7]
    assert [order.id for order in await views.orders(session, BEN, "open", None, 10)] == [6]
    assert first[0].symbol == "CTCC-GD-2611"


async def test_somebody_elses_order_does_not_exist(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    session.add(an_order(1, gd, "buy", 300, 5))
    await session.flush()

    assert (await views.order(session, ANNE, 1)).side == "buy"
    with pytest.raises(NotFound):
        await views.order(session, BEN, 1)


async def a_delivered_trade(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    account = AccountRow(party_id=ANNE, asset_id=(await session.get_one(InstrumentRow, gd)).asset_id, kind="wallet")
    session.add_all([a_trade(1, gd, 300, 2, NOW, fee_minor=30), account])
    await session.flush()
    session.add_all(
        [
            DeliveryRow(
                id=1,
                carrier="CTCC",
                custody_account_id=account.id,
                quantity=200,
                money_account_id=account.id,
                amount_minor=600,
                fee_minor=30,
                proceeds_account_id=account.id,
                receiver_line_id=77,
                status="delivered",
                carrier_reference="tt-9",
                delivered_at=NOW,
            ),
            InstructionRow(kind="deliver", subject_id=1, lane="CTCC", status="done", attempt=2),
        ]
    )
    await session.flush()


async def test_each_side_sees_its_own_half_of_a_trade(session: AsyncSession) -> None:
    await a_delivered_trade(session)

    bought = await views.trade(session, ANNE, 1)
    sold = await views.trade(session, BEN, 1)

    assert (bought.side, bought.order_id, bought.fee_minor, bought.net_minor) == ("buy", 1, 0, 600)
    assert (sold.side, sold.order_id, sold.fee_minor, sold.net_minor) == ("sell", 2, 30, 570)
    assert (bought.receiver_line_id, sold.receiver_line_id) == (77, None)
    assert (sold.status, sold.reference, sold.attempt, sold.waiting) == ("delivered", "tt-9", 2, "done")
    with pytest.raises(NotFound):
        await views.trade(session, CARLA, 1)


async def test_trades_of_both_sides_come_in_one_list(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    session.add_all(
        [
            a_trade(1, gd, 300, 1, NOW),
            a_trade(2, gd, 300, 1, NOW, buyer_id=BEN, seller_id=ANNE),
            a_trade(3, gd, 300, 1, NOW, buyer_id=BEN, seller_id=CARLA),
            a_trade(4, gd, 300, 1, NOW),
        ]
    )
    await session.flush()

    first = await views.trades(session, ANNE, None, 2)
    second = await views.trades(session, ANNE, first[-1].id, 2)

    assert [(trade.id, trade.side) for trade in first + second] == [(4, "buy"), (2, "sell"), (1, "buy")]


async def test_an_officer_sees_what_was_given_up_and_what_is_on_its_way(session: AsyncSession) -> None:
    await a_delivered_trade(session)
    session.add_all(
        [
            InstructionRow(
                kind="deliver", subject_id=2, lane="CTCC", status="dead", attempt=3, reason="receiver barred"
            ),
            InstructionRow(kind="capture", subject_id=3, lane="provider", status="dead"),
        ]
    )
    await session.flush()

    [letter] = await views.dead_letters(session, "CTCC")
    [waiting] = await views.backlog(session, "CTCC")

    assert (letter.kind, letter.subject_id, letter.attempt, letter.reason) == ("deliver", 2, 3, "receiver barred")
    assert len(await views.dead_letters(session, None)) == 2
    assert (waiting.status, waiting.trades, waiting.quantity, waiting.amount_minor) == ("delivered", 1, 200, 600)
    assert await views.backlog(session, "CMCC") == []


async def test_surveillance_starts_at_the_time_asked_for(session: AsyncSession) -> None:
    gd = await an_instrument(session, "CTCC-GD-2611")
    session.add_all(
        SurveillanceRow(kind="self_trade", party_id=ANNE, instrument_id=gd, order_id=1, detail="prevented", at=at)
        for at in (NOW - timedelta(days=2), NOW)
    )
    await session.flush()

    [event] = await views.surveillance(session, NOW - timedelta(days=1), 10)

    assert (event.kind, event.symbol, event.at) == ("self_trade", "CTCC-GD-2611", NOW)
    assert await views.surveillance(session, NOW - timedelta(days=1), 10, "CMCC") == []


async def test_top_ups_and_withdrawals_come_in_one_list_without_card_holds(session: AsyncSession) -> None:
    await an_instrument(session, "COIN")
    asset_id = (await session.scalars(select(AssetRow.id))).one()
    account = AccountRow(party_id=ANNE, asset_id=asset_id, kind="wallet")
    session.add(account)
    await session.flush()
    common: dict[str, Any] = {"party_id": ANNE, "account_id": account.id, "currency": "CNY"}
    card: dict[str, Any] = {**common, "payment_method": "pm_card_visa", "status": "succeeded"}
    session.add_all(
        [
            PaymentRow(**card, key="a", kind="top_up", amount_minor=500, created_at=NOW - timedelta(hours=2)),
            PaymentRow(**card, key="b", kind="card_hold", amount_minor=900, created_at=NOW - timedelta(hours=1)),
            PayoutRow(**common, key="c", amount_minor=300, destination="acct", status="paid", created_at=NOW),
        ]
    )
    await session.flush()

    moves = await views.money_moves(session, ANNE, 10)

    assert [(move.kind, move.amount_minor, move.status) for move in moves] == [
        ("payout", 300, "paid"),
        ("top_up", 500, "succeeded"),
    ]
    assert await views.money_moves(session, BEN, 10) == []
