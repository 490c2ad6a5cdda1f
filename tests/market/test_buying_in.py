"""A seller who does not deliver: the same is bought at once from the next one, and the buyer never pays more for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from market.buying_in import Purchase, buying_in
from market.installation import mark
from market.parties import Member
from market.settling import outside_of, settle
from market.trading import OrderRequest, cancel, place
from settlement import delivery
from settlement.buy_ins import NEVER_RESERVED, Fault, fault_of, share_out
from settlement.instructions import Done
from settlement.steps import Ended, Outside
from tests.engine.factories import running_engine
from tests.faults.judging import broken_invariants
from tests.faults.waiting import until
from tests.market.town import Town, a_key

SYMBOL = "CMCC-CN-3001"
GONE = "RESERVATION_NOT_FOUND: There is no such live reservation."
_REFUSED = text("""
    update instruction set status = 'refused', ended_at = now() where kind = 'deliver' and subject_id = :trade
""")


@pytest.fixture(autouse=True)
async def _engine(town: Town) -> AsyncIterator[None]:
    """An engine, and books without anything that other tests left in them."""
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        for row in await town.rows("select id, party_id, group_id from orders where state = 'open'"):
            member = Member(row.party_id, row.group_id, "subscriber", "Somebody", "zh_CN")
            await cancel(town.venue, member, row.id, a_key())
        yield


async def the_outside(town: Town) -> Outside:
    async with town.venue.sessions() as session:
        return outside_of(town.venue, await mark(session))


@asynccontextmanager
async def settling(town: Town) -> AsyncIterator[None]:
    outside, stop = await the_outside(town), asyncio.Event()
    task = asyncio.create_task(settle(town.venue, outside, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def a_seller(town: Town, lots: int, price: int) -> Member:
    seller = await town.a_member()
    await place(town.venue, seller, OrderRequest(symbol=SYMBOL, side="sell", lots=lots, price_minor=price), a_key())
    return seller


async def a_trade(town: Town, *, lots: int = 20, price: int = 300) -> tuple[int, Member, Member]:
    """Bought from a first seller and not delivered yet: the trade, the buyer with no other money, the seller."""
    seller, buyer = await a_seller(town, lots, price), await town.a_member()
    await town.put(buyer.party_id, "CNY", lots * price)
    request = OrderRequest(symbol=SYMBOL, side="buy", lots=lots, price_minor=price)
    placed = await place(town.venue, buyer, request, a_key())
    assert placed.answer is not None
    return placed.answer.fills[0].trade_id, buyer, seller


async def refused(town: Town, trade_id: int, reason: str = GONE) -> None:
    """What the worker writes when the carrier refuses a delivery."""
    async with town.venue.sessions.begin() as session:
        request = (await delivery.load(session, [trade_id], "test"))[trade_id]
        await session.execute(_REFUSED, {"trade": trade_id})
        await delivery.undo(session, [Ended(trade_id, request, datetime.now(UTC), reason=reason)])


async def ended(town: Town, trade_id: int) -> Any:
    query = "select * from buy_in where trade_id = :id and status = 'ended'"

    async def is_so() -> bool:
        return bool(await town.rows(query, id=trade_id))

    await until(is_so)
    return (await town.rows(query, id=trade_id))[0]


async def has(town: Town, member: Member, kind: str = "wallet") -> tuple[int, int]:
    """What of money a party has free and held."""
    query = """
        select coalesce(sum(available), 0)::bigint as free, coalesce(sum(held), 0)::bigint as held
        from account join asset on asset.id = asset_id
        where party_id = :party and account.kind = :kind and asset.kind = 'money'
    """
    (row,) = await town.rows(query, party=member.party_id, kind=kind)
    return row.free, row.held


async def assert_sound(town: Town) -> None:
    assert await broken_invariants(town.venue.settings.database_dsn) == {}


async def test_a_dearer_seller_delivers_at_the_first_price_and_the_first_seller_bears_the_difference(
    town: Town,
) -> None:
    trade_id, buyer, first = await a_trade(town)
    second = await a_seller(town, 20, 400)
    await town.put(first.party_id, "CNY", 600)
    (custody,) = await town.rows("select reservation_id from custody where party_id = :id", id=first.party_id)
    await town.venue.carriers["CMCC"].release(custody.reservation_id)

    async with settling(town):
        row = await ended(town, trade_id)

    assert len(row.trade_ids) == 1
    assert (row.covered_minor, row.charges_seller) == (2_000, True)
    assert await has(town, buyer) == (0, 0)
    assert await has(town, second) == (8_000 - 400, 0)
    assert (await has(town, first), await has(town, first, "debt")) == ((0, 0), (-1_400, 0))
    assert await town.value("select status from delivery where id = :id", id=row.trade_ids[0]) == "settled"
    await assert_sound(town)


async def test_what_nobody_else_offers_is_refunded(town: Town) -> None:
    trade_id, buyer, first = await a_trade(town)
    await a_seller(town, 5, 400)
    await refused(town, trade_id)

    async with settling(town):
        row = await ended(town, trade_id)

    assert len(row.trade_ids) == 1
    assert row.covered_minor == 500
    assert await has(town, buyer) == (6_000 - 5 * 300, 0)
    assert await has(town, first, "debt") == (-500, 0)
    await assert_sound(town)


async def test_without_any_other_seller_the_trade_stays_refunded(town: Town) -> None:
    trade_id, buyer, first = await a_trade(town)
    await refused(town, trade_id)

    async with settling(town):
        row = await ended(town, trade_id)

    assert (row.trade_ids, row.covered_minor) == ([], 0)
    assert (await has(town, buyer), await has(town, first, "debt")) == ((6_000, 0), (0, 0))
    await assert_sound(town)


async def test_a_cheaper_seller_leaves_the_rest_with_the_buyer(town: Town) -> None:
    trade_id, buyer, first = await a_trade(town)
    await refused(town, trade_id)
    await a_seller(town, 20, 200)

    async with settling(town):
        row = await ended(town, trade_id)

    assert (len(row.trade_ids), row.covered_minor) == (1, 0)
    assert (await has(town, buyer), await has(town, first, "debt")) == ((2_000, 0), (0, 0))
    await assert_sound(town)


async def test_data_that_ran_out_by_the_clock_is_bought_in_at_the_cost_of_the_house(town: Town) -> None:
    trade_id, buyer, first = await a_trade(town)
    await a_seller(town, 20, 400)
    await refused(town, trade_id, "RESERVATION_EXPIRED: The reservation has expired.")

    async with settling(town):
        row = await ended(town, trade_id)

    assert (row.covered_minor, row.charges_seller) == (2_000, False)
    assert (await has(town, buyer), await has(town, first, "debt")) == ((0, 0), (0, 0))
    await assert_sound(town)


async def test_a_second_seller_who_does_not_deliver_either_ends_it_as_a_refund(town: Town) -> None:
    trade_id, buyer, first = await a_trade(town)
    second = await a_seller(town, 20, 400)
    (custody,) = await town.rows("select reservation_id from custody where party_id = :id", id=second.party_id)
    await town.venue.carriers["CMCC"].release(custody.reservation_id)
    await refused(town, trade_id)

    async with settling(town):
        row = await ended(town, trade_id)

    assert await town.value("select status from delivery where id = :id", id=row.trade_ids[0]) == "refunded"
    assert not await town.rows("select 1 from buy_in where trade_id = :id", id=row.trade_ids[0])
    assert (await has(town, buyer), await has(town, buyer, "buy_in")) == ((6_000, 0), (0, 0))
    assert await has(town, first, "debt") == (0, 0)
    await assert_sound(town)


async def test_a_buyer_who_has_spent_the_money_meanwhile_is_not_bought_in(town: Town) -> None:
    trade_id, buyer, _ = await a_trade(town)
    await refused(town, trade_id)
    await place(town.venue, buyer, OrderRequest(symbol=SYMBOL, side="buy", lots=1, price_minor=100), a_key())
    await a_seller(town, 20, 400)

    async with settling(town):
        row = await ended(town, trade_id)

    assert (row.trade_ids, row.account_id) == ([], None)
    assert await has(town, buyer) == (5_900, 100)
    await assert_sound(town)


async def test_an_order_that_is_sent_twice_buys_in_once(town: Town) -> None:
    trade_id, buyer, _ = await a_trade(town, lots=20)
    await a_seller(town, 40, 300)
    await refused(town, trade_id)
    outside, step = await the_outside(town), buying_in(town.venue.gateway)
    async with town.venue.sessions.begin() as session:
        purchase = (await step.load(session, [trade_id], "test"))[trade_id]
    assert isinstance(purchase, Purchase)

    first, again = [await step.send(outside, purchase, {}) for _ in range(2)]

    assert isinstance(first, Done)
    assert first == again == await step.ask(outside, purchase, {})
    async with settling(town):
        row = await ended(town, trade_id)
    assert len(row.trade_ids) == 1
    assert await has(town, buyer) == (0, 0)
    await assert_sound(town)


async def test_what_the_receiver_is_to_blame_for_is_only_refunded(town: Town) -> None:
    trade_id, buyer, _ = await a_trade(town)

    await refused(town, trade_id, "RECEIVER_NOT_ELIGIBLE: The receiver cannot receive data.")

    assert not await town.rows("select 1 from buy_in where trade_id = :id", id=trade_id)
    assert await has(town, buyer) == (6_000, 0)


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        (GONE, Fault(charges_seller=True)),
        ("RESERVATION_EXPIRED: The reservation has expired.", Fault(charges_seller=False)),
        (NEVER_RESERVED, Fault(charges_seller=False)),
        ("LINE_NOT_FOUND: There is no such subscriber.", None),
        ("did not succeed in 8 attempts: RESERVATION_NOT_FOUND", None),
    ],
)
def test_only_a_definite_refusal_of_the_sellers_side_is_its_fault(reason: str, fault: Fault | None) -> None:
    assert fault_of(reason) == fault


@given(lots=st.integers(1, 500), price=st.integers(5, 1_000), over=st.integers(0, 1_000), data=st.data())
def test_nothing_is_lost_and_the_buyer_never_pays_more_than_the_first_price(
    lots: int, price: int, over: int, data: st.DataObject
) -> None:
    filled = data.draw(st.integers(0, lots))
    advance = over * lots
    cost = data.draw(st.integers(0, (price + over) * filled))

    shares = share_out(
        price_minor=price * lots, quantity=lots * 100, advance_minor=advance, cost_minor=cost, bought=filled * 100
    )

    assert shares.to_buyer + shares.to_house + cost == price * lots + advance
    assert shares.to_buyer >= price * (lots - filled)
    assert 0 <= shares.covered <= advance
    assert shares.to_house == advance - shares.covered
