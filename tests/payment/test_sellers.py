"""Sellers: onboarding, transfers to them, payouts to their banks."""

import asyncio

import pytest

from settlement.payments.errors import PaymentError, PaymentRefused
from settlement.payments.port import Payments
from settlement.payments.values import Payout, PayoutStatus
from tests.payment.making import Http, Wallet, fresh, onboard

STEP_SECONDS = 60


async def _fund(wallet: Wallet, seller: str, amount_minor: int) -> None:
    await wallet.charge(amount_minor + 1_000)
    await wallet.payments.transfer(seller, amount_minor, "CNY", group="g", reference=fresh("t"), key=fresh("key"))


async def _pay_out(payments: Payments, seller: str, amount_minor: int, reference: str = "payout-1") -> Payout:
    return await payments.pay_out(seller, amount_minor, "CNY", reference, fresh("key"))


async def test_a_new_account_cannot_be_paid_until_its_owner_has_completed_it(payments: Payments, http: Http) -> None:
    account = await payments.open_account("seller-1", "CN", fresh("key"))
    before = await payments.account(account)
    link = await payments.onboarding_link(account, "https://market.example/again", "https://market.example/done")
    page = await http.page("GET", link)
    answer = await http.page("POST", link, {"holder": "韩梅梅", "number": "6222 0000 1234 5678"})
    after = await payments.account(account)

    assert not before.payouts_enabled
    assert "external_account" in before.currently_due
    assert page.status_code == 200
    assert answer.headers["location"] == "https://market.example/done"
    assert (after.payouts_enabled, after.currently_due) == (True, ())
    bank = (await http.get(f"/v1/accounts/{account}"))["external_accounts"]["data"][0]
    assert (bank["last4"], bank["account_holder_name"]) == ("5678", "韩梅梅")


@pytest.mark.parametrize("typed", [{"holder": "", "number": "000123456789"}, {"holder": "A", "number": "12a4"}, {}])
async def test_onboarding_says_what_is_wrong(payments: Payments, http: Http, typed: dict[str, str]) -> None:
    account = await payments.open_account("seller-2", "CN", fresh("key"))
    link = await payments.onboarding_link(account, "https://market.example/again", "https://market.example/done")

    answer = await http.page("POST", link, typed)

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert not (await payments.account(account)).payouts_enabled


async def test_an_onboarding_link_works_once_and_not_for_long(payments: Payments, http: Http) -> None:
    account = await payments.open_account("seller-3", "CN", fresh("key"))
    urls = ("https://market.example/again", "https://market.example/done")
    used, late = await payments.onboarding_link(account, *urls), await payments.onboarding_link(account, *urls)
    await http.page("POST", used, {"holder": "A", "number": "1234"})

    await http.advance(301)

    assert (await http.page("GET", used)).status_code == 410
    assert (await http.page("GET", late)).headers["location"] == urls[0]


async def test_a_transfer_moves_money_to_the_seller(wallet: Wallet, http: Http, seller: str) -> None:
    await wallet.charge(10_000)
    before = (await http.get("/v1/balance", seller))["available"][0]["amount"]

    transfer = await wallet.payments.transfer(seller, 7_000, "CNY", group="trade-9", reference="t-9", key=fresh("key"))

    assert (transfer.destination, transfer.amount_minor, transfer.group) == (seller, 7_000, "trade-9")
    assert (await http.get("/v1/balance", seller))["available"][0]["amount"] - before == 7_000
    assert await wallet.payments.find_transfer("trade-9", "t-9") == transfer
    assert await wallet.payments.find_transfer("trade-9", "t-10") is None


async def test_a_transfer_needs_a_seller_who_can_be_paid(wallet: Wallet, payments: Payments) -> None:
    await wallet.charge(10_000)
    unready = await payments.open_account("seller-4", "CN", fresh("key"))

    codes = []
    for destination in (unready, "acct_nobody"):
        with pytest.raises(PaymentRefused) as refused:
            await payments.transfer(destination, 500, "CNY", group="g", reference="t", key=fresh("key"))
        codes.append(refused.value.code)

    assert codes == ["insufficient_capabilities_for_transfer", "resource_missing"]


async def test_transfers_at_the_same_moment_never_overdraw(wallet: Wallet, http: Http, seller: str) -> None:
    await wallet.charge(1_000)
    available = (await http.get("/v1/balance"))["available"][0]["amount"]
    share = available // 3 + 1

    tries = (
        wallet.payments.transfer(seller, share, "CNY", group="g", reference=f"t{n}", key=fresh("key")) for n in range(5)
    )
    results = await asyncio.gather(*tries, return_exceptions=True)

    refused = [result for result in results if isinstance(result, PaymentRefused)]
    assert len(refused) == 3
    assert {refusal.code for refusal in refused} == {"balance_insufficient"}
    assert (await http.get("/v1/balance"))["available"][0]["amount"] == available - 2 * share


async def test_a_charge_can_be_the_source_of_no_more_than_itself(wallet: Wallet, http: Http, seller: str) -> None:
    paid = await wallet.charge(10_000)
    charge = (await http.get("/v1/charges", payment_intent=paid.id))["data"][0]["id"]

    async def draw(amount_minor: int) -> object:
        return await wallet.payments.transfer(
            seller, amount_minor, "CNY", group="g", reference="t", key=fresh("key"), source_charge=charge
        )

    await draw(6_000)
    with pytest.raises(PaymentRefused):
        await draw(4_001)
    await draw(4_000)


async def test_a_reversal_takes_back_what_is_still_there(wallet: Wallet, seller: str) -> None:
    await wallet.charge(10_000)
    transfer = await wallet.payments.transfer(seller, 7_000, "CNY", group="g", reference="t", key=fresh("key"))

    reversal = await wallet.payments.reverse_transfer(transfer.id, 2_000, "back-1", fresh("key"))
    await _pay_out(wallet.payments, seller, 5_000)

    assert (reversal.transfer_id, reversal.amount_minor) == (transfer.id, 2_000)
    for amount_minor in (5_001, 5_000):
        with pytest.raises(PaymentRefused):
            await wallet.payments.reverse_transfer(transfer.id, amount_minor, "back-2", fresh("key"))
    found = await wallet.payments.find_transfer("g", "t")
    assert found is not None
    assert transfer.id


async def test_a_payout_goes_through_transit_to_the_bank(wallet: Wallet, http: Http, seller: str) -> None:
    await _fund(wallet, seller, 5_000)

    payout = await _pay_out(wallet.payments, seller, 5_000)
    await http.advance(STEP_SECONDS)
    under_way = await wallet.payments.payout(seller, payout.id)
    await http.advance(STEP_SECONDS)
    arrived = await wallet.payments.payout(seller, payout.id)

    statuses = [payout.status, under_way.status, arrived.status]
    assert statuses == [PayoutStatus.PENDING, PayoutStatus.IN_TRANSIT, PayoutStatus.PAID]
    assert await wallet.payments.find_payout(seller, "payout-1") == arrived
    assert await wallet.payments.find_payout(seller, "payout-2") is None


@pytest.mark.parametrize(
    ("number", "steps", "code"),
    [("000111111116", 2, "no_account"), ("000111111113", 2, "account_closed"), ("000999999991", 3, "account_closed")],
)
async def test_a_failed_payout_brings_the_money_back(
    wallet: Wallet, http: Http, number: str, steps: int, code: str
) -> None:
    seller = await onboard(wallet.payments, http, number)
    await _fund(wallet, seller, 5_000)
    payout = await _pay_out(wallet.payments, seller, 5_000)

    for _ in range(steps):
        await http.advance(STEP_SECONDS)

    failed = await wallet.payments.payout(seller, payout.id)
    assert (failed.status, failed.failure_code) == (PayoutStatus.FAILED, code)
    assert (await http.get("/v1/balance", seller))["available"][0]["amount"] == 5_000


async def test_a_payout_needs_the_money_and_a_bank(wallet: Wallet, payments: Payments, seller: str) -> None:
    await _fund(wallet, seller, 5_000)
    unready = await payments.open_account("seller-5", "CN", fresh("key"))

    with pytest.raises(PaymentRefused) as too_much:
        await _pay_out(payments, seller, 5_001)
    with pytest.raises(PaymentRefused) as nowhere:
        await _pay_out(payments, unready, 500)

    assert (too_much.value.code, nowhere.value.code) == ("balance_insufficient", "payouts_not_allowed")


async def test_a_payout_can_be_cancelled_while_it_is_pending(wallet: Wallet, http: Http, seller: str) -> None:
    await _fund(wallet, seller, 5_000)
    payout = await _pay_out(wallet.payments, seller, 5_000)
    later = await _pay_out_after_funding(wallet, seller)

    canceled = await http.post(f"/v1/payouts/{payout.id}/cancel", account=seller)
    await http.advance(STEP_SECONDS)
    refusal = await http.refused(f"/v1/payouts/{later.id}/cancel", account=seller)

    assert canceled["status"] == "canceled"
    assert refusal["code"] == "status_transition_invalid"
    assert (await wallet.payments.payout(seller, payout.id)).status is PayoutStatus.CANCELED


async def _pay_out_after_funding(wallet: Wallet, seller: str) -> Payout:
    await _fund(wallet, seller, 1_000)
    return await _pay_out(wallet.payments, seller, 1_000, "payout-2")


async def test_one_seller_cannot_see_or_be_taken_for_another(wallet: Wallet, http: Http, seller: str) -> None:
    other = await onboard(wallet.payments, http)
    await _fund(wallet, seller, 5_000)
    payout = await _pay_out(wallet.payments, seller, 500)

    with pytest.raises(PaymentRefused) as refused:
        await wallet.payments.payout(other, payout.id)
    unknown = await http.ask("GET", "/v1/balance", account="acct_nobody")

    assert refused.value.code == "resource_missing"
    assert unknown.status_code == 403
    with pytest.raises(PaymentError):
        await _pay_out(wallet.payments, "acct_nobody", 500)
