"""The rounds: what nobody answered is asked for, what nobody came back for is given back."""

from datetime import timedelta
from typing import Any

from sqlalchemy import func, update

from settlement import custody, funding
from settlement.naming import external_id
from settlement.sweeping import Pace, sweep
from settlement.tables import CustodyRow, PaymentRow
from tests.payment.making import Http, fresh
from tests.settlement.making import Balance, a_payment_row, balance, hold, imbalance
from tests.settlement.test_card_holds import a_purchase
from tests.settlement.test_inbox import a_paid_top_up
from tests.settlement.world import World

AGES = timedelta(minutes=20)


async def aged(world: World, table: type[Any], row_id: int, age: timedelta = AGES) -> None:
    """Let this row have been made that long ago."""
    async with world.sessions.begin() as session:
        await session.execute(update(table).where(table.id == row_id).values(created_at=func.now() - age))


async def swept(world: World) -> None:
    await sweep(world.sessions, world.outside, world.announce, Pace())


async def test_a_confirmation_whose_webhook_was_lost_is_found_and_credited(world: World, provider_http: Http) -> None:
    row, provider_id = await a_paid_top_up(world, "pm_card_threeDSecure2Required")
    waiting = await world.payments.payment(provider_id)
    async with world.sessions.begin() as session:
        await funding.book_payment(session, row.id, waiting)
    assert waiting.next_action_url is not None
    await provider_http.page("POST", waiting.next_action_url, {"answer": "confirm"})
    await aged(world, PaymentRow, row.id, timedelta(minutes=2))

    await swept(world)

    async with world.sessions() as session:
        assert (await session.get_one(PaymentRow, row.id)).status == "succeeded"
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert await imbalance(session) == {}


async def test_a_reservation_that_no_order_uses_is_given_back(world: World) -> None:
    row = await world.reserved(500)
    await aged(world, CustodyRow, row.id)

    await swept(world)
    async with world.working():
        await world.status("release", row.id, "done")

    (bucket,) = await world.carrier.buckets(world.numbers[row.line_id])
    assert (bucket.remaining_mb, bucket.reserved_mb) == (500, 0)
    async with world.sessions() as session:
        assert (await session.get_one(CustodyRow, row.id)).status == "released"
        assert await imbalance(session) == {}


async def test_a_custody_that_an_order_uses_is_left_alone(world: World) -> None:
    row = await world.reserved(500)
    async with world.sessions.begin() as session:
        await hold(session, row.account_id, 100)
    await aged(world, CustodyRow, row.id)

    await swept(world)

    assert await world.instruction("release", row.id) is None
    async with world.sessions.begin() as session:
        await hold(session, row.account_id, -100)
        assert await custody.give_back(session, row.id)


async def test_a_card_hold_that_no_order_used_is_let_go(world: World) -> None:
    async with world.sessions.begin() as session:
        row = await a_payment_row(session, "card_hold")
    name = external_id(world.mark, "card_hold", row.id)
    held = await world.payments.authorise(
        customer=await world.payments.create_customer("buyer", fresh("key")), amount_minor=1000, currency="CNY",
        payment_method="pm_card_visa", reference=name, key=name, return_url="https://market.example/",
    )  # fmt: skip
    async with world.sessions.begin() as session:
        await funding.book_authorisation(session, row.id, held)
    await aged(world, PaymentRow, row.id)

    await swept(world)
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0), "an order that comes late finds no money"
    async with world.working():
        await world.status("void", row.id, "done")

    assert (await world.payments.payment(held.id)).status.is_dead


async def test_a_card_hold_with_deliveries_is_left_to_its_capture(world: World) -> None:
    purchase = await a_purchase(world, "0000")
    await aged(world, PaymentRow, purchase.payment.id)

    await swept(world)

    assert await world.instruction("void", purchase.payment.id) is None
