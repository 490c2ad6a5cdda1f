"""Card holds come to their end: what was delivered is captured once and settled, the rest goes back."""

from dataclasses import dataclass

from settlement import accounts, funding
from settlement.naming import external_id
from settlement.tables import CustodyRow, DeliveryRow, PaymentRow
from tests.payment.making import Http, fresh
from tests.settlement.making import Balance, a_payment_row, balance, imbalance, money
from tests.settlement.world import World


@dataclass
class Purchase:
    """A card hold and the trades that an immediate order made with it."""

    payment: PaymentRow
    custody: CustodyRow
    trades: list[DeliveryRow]


async def a_purchase(
    world: World, *suffixes: str, hold_minor: int = 1000, amount_minor: int = 300, card: str = "pm_card_visa"
) -> Purchase:
    """An order paid by card that has ended: one trade for each suffix, which chooses how its delivery goes."""
    custody = await world.reserved(1000)
    async with world.sessions.begin() as session:
        row = await a_payment_row(session, "card_hold", hold_minor)
    name = external_id(world.mark, "card_hold", row.id)
    held = await world.payments.authorise(
        customer=await world.payments.create_customer("buyer", fresh("key")),
        amount_minor=hold_minor,
        currency="CNY",
        payment_method=card,
        reference=name,
        key=name,
        return_url="https://market.example/",
    )
    async with world.sessions.begin() as session:
        await funding.book_authorisation(session, row.id, held)
    terms = {"quantity": 100, "amount_minor": amount_minor, "fee_minor": 15}
    trades = [
        await world.traded(custody, suffix, money_account_id=row.account_id, payment_id=row.id, **terms)
        for suffix in suffixes
    ]
    async with world.sessions.begin() as session:
        await funding.finish_hold(session, row.id)
    return Purchase(row, custody, trades)


async def paid(world: World, payment_id: int) -> PaymentRow:
    async with world.sessions() as session:
        return await session.get_one(PaymentRow, payment_id)


async def test_what_was_delivered_is_captured_and_the_rest_goes_back_to_the_card(world: World) -> None:
    purchase = await a_purchase(world, "0000", "0000")

    async with world.working():
        ended = [await world.ended(trade.id) for trade in purchase.trades]
        await world.status("capture", purchase.payment.id, "done")

    row = await paid(world, purchase.payment.id)
    assert {one.status for one in ended} == {"settled"}
    assert {one.payment_reference for one in ended} == {row.provider_id}
    assert (row.status, row.captured_minor) == ("succeeded", 600)
    assert (await world.payments.payment(str(row.provider_id))).captured_minor == 600
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await balance(session, purchase.trades[0].proceeds_account_id) == Balance(570, 0)
        assert await imbalance(session) == {}


async def test_only_the_delivered_part_of_an_order_is_captured(world: World) -> None:
    purchase = await a_purchase(world, "0000", "9001")

    async with world.working():
        await world.status("capture", purchase.payment.id, "done")

    statuses = [(await world.delivery(trade.id)).status for trade in purchase.trades]
    row = await paid(world, purchase.payment.id)
    assert (statuses, row.captured_minor) == (["settled", "refunded"], 300)
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}


async def test_a_hold_that_bought_nothing_is_let_go(world: World) -> None:
    purchase = await a_purchase(world, "9001")

    async with world.working():
        await world.status("void", purchase.payment.id, "done")

    row = await paid(world, purchase.payment.id)
    assert row.status == "voided"
    assert (await world.payments.payment(str(row.provider_id))).capturable_minor == 0
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}


async def test_a_capture_whose_answer_was_lost_is_asked_for_and_settled_once(world: World, provider_http: Http) -> None:
    purchase = await a_purchase(world, "0000")
    await provider_http.control("PUT", "faults", {"error_after_percent": 100})

    async with world.working():
        await world.status("capture", purchase.payment.id, "unknown")
        await provider_http.control("PUT", "faults", {"error_after_percent": 0})
        await world.status("capture", purchase.payment.id, "done")

    row = await paid(world, purchase.payment.id)
    assert (row.status, row.captured_minor) == ("succeeded", 300)
    async with world.sessions() as session:
        assert await imbalance(session) == {}


async def test_an_error_that_the_provider_repeats_under_an_old_key_is_got_over(
    world: World, provider_http: Http
) -> None:
    purchase = await a_purchase(world, "0000")
    await provider_http.control("PUT", "faults", {"error_percent": 100})

    async with world.working():
        await world.status("capture", purchase.payment.id, "unknown")
        await provider_http.control("PUT", "faults", {"error_percent": 0})
        ended = await world.status("capture", purchase.payment.id, "done")

    assert ended.attempt > 1
    assert (await paid(world, purchase.payment.id)).captured_minor == 300


async def test_the_house_pays_the_seller_when_a_capture_is_refused_after_delivery(world: World) -> None:
    purchase = await a_purchase(world, "0000")
    before = await covered(world)
    await world.payments.cancel(str((await paid(world, purchase.payment.id)).provider_id), fresh("behind"))

    async with world.working():
        (trade,) = purchase.trades
        ended = await world.ended(trade.id)
        await world.status("capture", purchase.payment.id, "refused")

    row = await paid(world, purchase.payment.id)
    assert (ended.status, row.status) == ("settled", "voided")
    assert "house covered" in str(row.reason)
    assert await covered(world) - before == -300
    async with world.sessions() as session:
        assert await balance(session, trade.proceeds_account_id) == Balance(285, 0)
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}


async def covered(world: World) -> int:
    async with world.sessions.begin() as session:
        account = await accounts.house_account(session, "uncaptured", await money(session))
        return (await balance(session, account)).available
