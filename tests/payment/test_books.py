"""The provider's books: every balance is the sum of its lines, whatever happens."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from settlement.payments.errors import PaymentDeclined, PaymentRefused
from settlement.payments.port import Payments
from settlement.simulators.payment.cards import CARDS
from tests.payment.making import QUICK, Http, Provider, Wallet, fresh, onboard, settings_for

FEES = replace(QUICK, fee_basis_points=60, settle_seconds=3_600)


async def _net(payments: Payments, account: str | None = None) -> int:
    since = datetime.now(UTC) - timedelta(days=1)
    return sum([line.net_minor async for line in payments.balance_transactions(since, account=account)])


async def _balance(http: Http, account: str | None = None) -> int:
    balance = await http.get("/v1/balance", account)
    return sum(amount["amount"] for part in ("available", "pending") for amount in balance[part])


async def _do_something(chance: random.Random, wallet: Wallet, http: Http, sellers: list[str]) -> None:
    """One step of a market's day, allowed or not."""
    amount, seller = chance.randrange(400, 9_000), chance.choice(sellers)
    method = chance.choice(["charge", "charge", "hold", "transfer", "pay_out", "advance"])
    if method == "advance":
        await http.advance(chance.choice([61, 3_601]))
    elif method == "transfer":
        transfer = await wallet.payments.transfer(
            seller, amount, "CNY", group="g", reference=fresh("t"), key=fresh("key")
        )
        if chance.random() < 0.3:
            await wallet.payments.reverse_transfer(transfer.id, chance.randrange(1, amount), "r", fresh("key"))
    elif method == "pay_out":
        await wallet.payments.pay_out(seller, amount, "CNY", fresh("p"), fresh("key"))
    else:
        payment = await getattr(wallet, method)(amount, chance.choice(sorted(CARDS)))
        if method == "hold":
            await wallet.payments.capture(payment.id, chance.randrange(1, amount + 2), fresh("key"))
        if chance.random() < 0.5:
            await wallet.payments.refund(payment.id, chance.randrange(1, amount + 2), "r", fresh("key"))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
async def test_balances_are_the_sums_of_their_lines(
    wallet: Wallet, payments: Payments, http: Http, seller: str, seed: int
) -> None:
    chance, sellers = random.Random(seed), [seller, await onboard(payments, http, "000111111116")]

    refused = 0
    for _ in range(25):
        try:
            await _do_something(chance, wallet, http, sellers)
        except (PaymentRefused, PaymentDeclined):
            refused += 1

    totals = await http.control("GET", "totals")
    assert totals["books_agree"], totals["disagreements"]
    assert await _balance(http) == await _net(payments)
    for account in sellers:
        assert 0 <= await _balance(http, account) == await _net(payments, account)
    assert 0 < refused < 25


async def test_a_fee_is_taken_from_each_charge_and_money_settles_later(
    new_provider: Callable[..., Awaitable[Provider]],
) -> None:
    provider = await new_provider(FEES)
    http, payments = Http(provider), Payments(settings_for(provider))
    wallet = Wallet(payments, await payments.create_customer("wallet", fresh("key")))
    seller = await onboard(payments, http)

    paid = await wallet.charge(10_001)
    lines = [line async for line in payments.balance_transactions(datetime.now(UTC) - timedelta(hours=1))]

    assert [(line.amount_minor, line.fee_minor, line.net_minor) for line in lines] == [(10_001, 61, 9_940)]
    assert lines[0].available_at - lines[0].created_at == timedelta(hours=1)
    with pytest.raises(PaymentRefused) as refused:
        await payments.transfer(seller, 500, "CNY", group="g", reference="t", key=fresh("key"))
    assert refused.value.code == "balance_insufficient"
    charge = (await http.get("/v1/charges", payment_intent=paid.id))["data"][0]["id"]
    await payments.transfer(seller, 500, "CNY", group="g", reference="t", key=fresh("key"), source_charge=charge)
    assert (await http.get("/v1/balance", seller))["pending"][0]["amount"] == 500
    await http.advance(3_601)
    assert (await http.get("/v1/balance", seller))["available"][0]["amount"] == 500
    assert (await http.get("/v1/balance"))["available"][0]["amount"] == 9_440
    assert (await http.control("GET", "totals"))["books_agree"]
    await payments.close()
    await http.close()


async def test_a_bypassing_card_settles_at_once(new_provider: Callable[..., Awaitable[Provider]]) -> None:
    provider = await new_provider(FEES)
    http, payments = Http(provider), Payments(settings_for(provider))
    wallet = Wallet(payments, await payments.create_customer("wallet", fresh("key")))

    await wallet.charge(10_000, "pm_card_bypassPending")

    assert (await http.get("/v1/balance"))["available"][0]["amount"] == 9_940
    await payments.close()
    await http.close()
