"""Withdrawals: the wallet's money reaches the bank, or comes back to the wallet, and never both."""

import pytest
from sqlalchemy import update

from settlement import funding
from settlement.naming import external_id
from settlement.tables import PaymentRow, PayoutRow
from tests.payment.making import Http, fresh, onboard
from tests.settlement.making import Balance, a_payment_row, a_payout_row, balance, imbalance
from tests.settlement.world import World, until


async def a_withdrawal(world: World, http: Http, number: str = "000123456789", amount_minor: int = 5000) -> PayoutRow:
    """Money at the provider, a seller's account with this bank account number, and a withdrawal just asked for."""
    customer = await world.payments.create_customer("buyer", fresh("key"))
    name = fresh("fund")
    await world.payments.charge(
        customer=customer, amount_minor=amount_minor + 1000, currency="CNY", payment_method="pm_card_bypassPending",
        reference=name, key=name, return_url="https://market.example/",
    )  # fmt: skip
    seller = await onboard(world.payments, http, number)
    async with world.sessions.begin() as session:
        return await a_payout_row(session, amount_minor, seller)


async def withdrawn(world: World, payout_id: int) -> PayoutRow:
    async with world.sessions() as session:
        return await session.get_one(PayoutRow, payout_id)


async def comes_to(world: World, payout_id: int, status: str) -> PayoutRow:
    async def there() -> bool:
        return (await withdrawn(world, payout_id)).status == status

    await until(there)
    return await withdrawn(world, payout_id)


async def test_the_money_leaves_the_books_when_the_bank_has_it(world: World, provider_http: Http) -> None:
    row = await a_withdrawal(world, provider_http)

    async with world.working():
        ended = await comes_to(world, row.id, "paid")

    assert ended.transfer_reference is not None
    assert ended.payout_reference is not None
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}


@pytest.mark.parametrize("number", ["000111111116", "000999999991"])
async def test_a_payout_that_fails_comes_back_to_the_wallet(world: World, provider_http: Http, number: str) -> None:
    row = await a_withdrawal(world, provider_http, number)

    async with world.working():
        ended = await comes_to(world, row.id, "refused")

    assert ended.reason
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(5000, 0)
        assert await imbalance(session) == {}


async def test_a_transfer_that_is_refused_leaves_the_money_in_the_wallet(world: World) -> None:
    async with world.sessions.begin() as session:
        row = await a_payout_row(session, 5000, "acct_nobody")

    async with world.working():
        await comes_to(world, row.id, "refused")

    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(5000, 0)
        assert await imbalance(session) == {}


async def test_a_lost_answer_to_a_transfer_pays_once(world: World, provider_http: Http) -> None:
    row = await a_withdrawal(world, provider_http)
    before = (await provider_http.control("GET", "totals"))["transfers"]
    await provider_http.control("PUT", "faults", {"error_after_percent": 100})

    async with world.working():
        await world.status("transfer", row.id, "unknown")
        await provider_http.control("PUT", "faults", {"error_after_percent": 0})
        await comes_to(world, row.id, "paid")

    after = (await provider_http.control("GET", "totals"))["transfers"]
    assert sum(line["count"] for line in after) == sum(line["count"] for line in before) + 1


async def test_a_top_up_goes_back_to_its_card(world: World) -> None:
    row = await a_top_up(world)
    async with world.sessions.begin() as session:
        await funding.request_refund(session, row.id)

    async with world.working():
        await world.status("refund", row.id, "done")

    async with world.sessions() as session:
        ended = await session.get_one(PaymentRow, row.id)
        assert (ended.status, ended.refunded_minor) == ("refunded", 1000)
        assert await balance(session, row.account_id) == Balance(0, 0)
        assert await imbalance(session) == {}


async def test_a_refund_that_is_refused_leaves_the_money_in_the_wallet(world: World) -> None:
    row = await a_top_up(world)
    async with world.sessions.begin() as session:
        await funding.request_refund(session, row.id)
        change = update(PaymentRow).where(PaymentRow.id == row.id).values(provider_id=fresh("pi"))
        await session.execute(change)

    async with world.working():
        await world.status("refund", row.id, "refused")

    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert await imbalance(session) == {}


async def a_top_up(world: World) -> PaymentRow:
    async with world.sessions.begin() as session:
        row = await a_payment_row(session)
    name = external_id(world.mark, "top_up", row.id)
    charged = await world.payments.charge(
        customer=await world.payments.create_customer("buyer", fresh("key")), amount_minor=1000, currency="CNY",
        payment_method="pm_card_visa", reference=name, key=name, return_url="https://market.example/",
    )  # fmt: skip
    async with world.sessions.begin() as session:
        return await funding.credit_top_up(session, row.id, charged)
