"""The engine over a real database and transport: what a member sees, and what the books say."""

import asyncio

import pytest

from market.engine.commands import AmendOrder, CancelOrder, ExpireOrders, SetState
from market.engine.times import microseconds, moment
from market.refusals import KeyReused
from tests.engine.factories import Floor


async def test_a_buyer_pays_the_resting_sellers_price(floor: Floor) -> None:
    seller, buyer = await floor.member(), await floor.member()

    resting = await floor.place(seller, "sell", 90, 10)
    answer = await floor.place(buyer, "buy", 100, 4)

    assert (resting.state, answer.state, answer.filled) == ("open", "filled", 4)
    assert [(fill.price_minor, fill.quantity) for fill in answer.fills] == [(90, 4)]
    assert await floor.balance(buyer.money) == (1_000_000 - 360, 360)
    assert await floor.balance(seller.coins) == (100_000 - 1_000, 1_000)
    delivery = await floor.connection.fetchrow("select * from delivery")
    assert (delivery["quantity"], delivery["amount_minor"], delivery["fee_minor"]) == (400, 360, 18)
    assert delivery["proceeds_account_id"] == seller.money
    assert delivery["coin_account_id"] == buyer.coins
    instruction = await floor.connection.fetchrow("select kind, subject_id, lane from instruction")
    assert tuple(instruction) == ("deliver", delivery["id"], "house")


async def test_a_trade_in_data_names_its_carrier_custody_and_line(floor: Floor) -> None:
    seller, buyer = await floor.member(), await floor.member()

    await floor.place(seller, "sell", 300, 20, instrument_id=2)
    await floor.place(buyer, "buy", 300, 10, instrument_id=2, time_in_force="ioc")

    delivery = await floor.connection.fetchrow("select * from delivery")
    assert (delivery["carrier"], delivery["quantity"], delivery["custody_id"]) == ("CMCC", 1_000, seller.id)
    assert (delivery["receiver_line_id"], delivery["coin_account_id"]) == (7, None)


async def test_what_an_immediate_order_does_not_fill_is_given_back(floor: Floor) -> None:
    seller, buyer = await floor.member(), await floor.member()
    await floor.place(seller, "sell", 50, 3)

    answer = await floor.place(buyer, "buy", 60, 10, time_in_force="ioc")

    assert (answer.state, answer.reason, answer.filled) == ("cancelled", "ioc_remainder", 3)
    assert await floor.balance(buyer.money) == (1_000_000 - 150, 150)


async def test_a_cancelled_order_gives_its_hold_back(floor: Floor) -> None:
    seller = await floor.member()
    placed = await floor.place(seller, "sell", 300, 20, instrument_id=2)
    assert await floor.balance(seller.data) == (98_000, 2_000)

    answer = await floor.gateway.submit(CancelOrder(seller.id, "cancel-1", b"", 2, placed.order_id or 0, version=1))

    assert (answer.accepted, answer.state, answer.reason) == (True, "cancelled", "cancelled")
    assert await floor.balance(seller.data) == (100_000, 0)
    released = await floor.connection.fetchrow("select kind, subject_id, lane from instruction")
    assert tuple(released) == ("release", seller.id, "CMCC")


async def test_an_amendment_holds_the_difference_and_may_trade(floor: Floor) -> None:
    seller, buyer = await floor.member(), await floor.member()
    await floor.place(seller, "sell", 80, 5)
    placed = await floor.place(buyer, "buy", 70, 10)

    answer = await floor.gateway.submit(AmendOrder(buyer.id, "amend-1", b"", 1, placed.order_id or 0, 90, 8, version=1))

    assert (answer.accepted, answer.open, answer.filled) == (True, 3, 5)
    assert await floor.balance(buyer.money) == (1_000_000 - 5 * 80 - 3 * 90, 5 * 80 + 3 * 90)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"price": 7, "instrument_id": 2}, "off_tick"),
        ({"price": 1001}, "outside_band"),
        ({"price": 1}, "outside_band"),
        ({"lots": 100_001}, "bad_quantity"),
        ({"lots": 10_000, "price": 1_000}, "insufficient_money"),
        ({"instrument_id": 99}, "unknown_instrument"),
        ({"instrument_id": 2, "line_id": None}, "line_missing"),
        ({"account_id": 999_999}, "unknown_account"),
        ({"time_in_force": "gtd"}, "expiry_missing"),
    ],
)
async def test_a_refused_order_changes_nothing_and_says_why(floor: Floor, change: dict[str, object], code: str) -> None:
    buyer = await floor.member()
    order = {"price": 300, "lots": 1} | change

    answer = await floor.place(buyer, "buy", **order)  # type: ignore[arg-type]

    assert (answer.accepted, answer.code) == (False, code)
    assert answer.detail
    assert await floor.balance(buyer.money) == (1_000_000, 0)
    assert await floor.connection.fetchval("select count(*) from orders") == 0


async def test_a_household_does_not_trade_with_itself_and_compliance_sees_the_attempt(floor: Floor) -> None:
    mother = await floor.member()
    child = await floor.member(group=mother.group_id)
    await floor.place(mother, "sell", 50, 3)

    answer = await floor.place(child, "buy", 50, 3)

    assert (answer.state, answer.reason) == ("cancelled", "self_trade")
    event = await floor.connection.fetchrow("select kind, party_id, order_id from surveillance_event")
    assert tuple(event) == ("self_trade", child.id, answer.order_id)


async def test_the_same_key_gets_the_same_answer_and_another_body_a_refusal(floor: Floor) -> None:
    buyer = await floor.member()
    order = floor.order(buyer, "buy", 40, 2, key="once")

    answers = await asyncio.gather(*(floor.gateway.submit(order) for _ in range(20)))

    assert len(set(answers)) == 1
    assert await floor.connection.fetchval("select count(*) from orders") == 1
    with pytest.raises(KeyReused):
        await floor.place(buyer, "buy", 41, 2, key="once", body_hash=b"another body")


async def test_a_stale_version_or_somebody_elses_order_is_refused(floor: Floor) -> None:
    owner, stranger = await floor.member(), await floor.member()
    placed = await floor.place(owner, "buy", 40, 2)

    stale = await floor.gateway.submit(CancelOrder(owner.id, "c-1", b"", 1, placed.order_id or 0, version=9))
    foreign = await floor.gateway.submit(CancelOrder(stranger.id, "c-2", b"", 1, placed.order_id or 0))

    assert (stale.code, foreign.code) == ("stale_version", "unknown_order")
    assert await floor.connection.fetchval("select state from orders") == "open"


async def test_an_order_ends_at_its_time_before_anything_else_happens(floor: Floor) -> None:
    seller, buyer = await floor.member(), await floor.member()
    now = microseconds(await floor.connection.fetchval("select now()"))
    placed = await floor.place(seller, "sell", 50, 3, time_in_force="gtd", expires_at_us=now + 400_000)
    assert placed.state == "open"
    while microseconds(await floor.connection.fetchval("select clock_timestamp()")) < now + 400_000:  # noqa: ASYNC110
        await asyncio.sleep(0.05)

    late = await floor.place(buyer, "buy", 50, 3)

    assert (late.filled, late.open) == (0, 3)
    row = await floor.connection.fetchrow("select state, reason, expires_at from orders where id = $1", placed.order_id)
    assert tuple(row) == ("cancelled", "expired", moment(now + 400_000))
    assert await floor.balance(seller.coins) == (100_000, 0)


async def test_closing_ends_every_order_and_gives_everything_back(floor: Floor) -> None:
    members = [await floor.member() for _ in range(3)]
    for member in members:
        await floor.place(member, "sell", 300, 5, instrument_id=2)

    closed = await floor.gateway.submit(SetState(1, "close-2", b"", 2, "closed"))
    after = await floor.place(members[0], "sell", 300, 5, instrument_id=2)

    assert (closed.accepted, closed.ended_orders) == (True, 3)
    assert after.code == "market_closed"
    assert await floor.connection.fetchval("select state from instrument where id = 2") == "closed"
    assert {await floor.balance(member.data) for member in members} == {(100_000, 0)}
    assert await floor.connection.fetchval("select count(*) from instruction where kind = 'release'") == 3


async def test_expiring_nothing_is_an_answer_too(floor: Floor) -> None:
    answer = await floor.gateway.submit(ExpireOrders(1, "expire-1", b"", 1))

    assert (answer.accepted, answer.ended_orders) == (True, 0)


async def test_twenty_buyers_at_once_never_oversell(floor: Floor) -> None:
    seller = await floor.member()
    buyers = [await floor.member() for _ in range(20)]
    await floor.place(seller, "sell", 50, 30)

    answers = await asyncio.gather(*(floor.place(buyer, "buy", 50, 2, time_in_force="ioc") for buyer in buyers))

    assert sum(answer.filled for answer in answers) == 30
    assert await floor.balance(seller.coins) == (97_000, 3_000)
