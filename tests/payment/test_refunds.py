"""Refunds and disputes: money on its way back."""

import asyncio

import pytest

from settlement.payments.errors import PaymentError, PaymentRefused
from settlement.payments.values import RefundStatus
from tests.payment.making import Http, Wallet, fresh


async def test_a_refund_gives_back_a_part(wallet: Wallet) -> None:
    paid = await wallet.charge(10_000)

    refund = await wallet.payments.refund(paid.id, 4_000, "refund-1", fresh("key"))

    assert (refund.status, refund.amount_minor, refund.payment_id) == (RefundStatus.SUCCEEDED, 4_000, paid.id)
    assert (await wallet.payments.payment(paid.id)).refunded_minor == 4_000
    assert await wallet.payments.find_refund(paid.id, "refund-1") == refund
    assert await wallet.payments.find_refund(paid.id, "refund-2") is None


async def test_refunds_never_exceed_what_was_captured(wallet: Wallet) -> None:
    held = await wallet.hold(10_000)
    await wallet.payments.capture(held.id, 6_000, fresh("key"))
    await wallet.payments.refund(held.id, 4_000, "a", fresh("key"))

    with pytest.raises(PaymentRefused):
        await wallet.payments.refund(held.id, 2_001, "b", fresh("key"))
    await wallet.payments.refund(held.id, 2_000, "c", fresh("key"))
    with pytest.raises(PaymentRefused) as refused:
        await wallet.payments.refund(held.id, 1, "d", fresh("key"))

    assert refused.value.code == "charge_already_refunded"
    assert (await wallet.payments.payment(held.id)).refunded_minor == 6_000


async def test_a_refund_that_was_made_before_is_found_by_its_reference(wallet: Wallet) -> None:
    paid = await wallet.charge(10_000)
    made = await wallet.payments.refund(paid.id, 10_000, "whole", fresh("key"))

    assert await wallet.payments.refund(paid.id, 10_000, "whole", fresh("key")) == made


async def test_refunds_at_the_same_moment_share_one_ceiling(wallet: Wallet) -> None:
    paid = await wallet.charge(10_000)

    tries = (wallet.payments.refund(paid.id, 3_000, f"r{n}", fresh("key")) for n in range(6))
    results = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(not isinstance(result, PaymentError) for result in results) == 3
    assert (await wallet.payments.payment(paid.id)).refunded_minor == 9_000


async def test_more_than_a_page_of_refunds_is_summed(wallet: Wallet) -> None:
    paid = await wallet.charge(10_000)
    for number in range(12):
        await wallet.payments.refund(paid.id, 100, f"r{number}", fresh("key"))

    assert (await wallet.payments.payment(paid.id)).refunded_minor == 1_200


async def test_a_hold_cannot_be_refunded(wallet: Wallet, http: Http) -> None:
    held = await wallet.hold()

    refusal = await http.refused("/v1/refunds", {"payment_intent": held.id})

    assert refusal["code"] == "payment_intent_unexpected_state"


async def test_a_refund_names_exactly_one_payment(wallet: Wallet, http: Http) -> None:
    paid = await wallet.charge()
    charge = (await http.get("/v1/charges", payment_intent=paid.id))["data"][0]["id"]

    assert (await http.refused("/v1/refunds", {}))["param"] == "payment_intent"
    assert (await http.refused("/v1/refunds", {"payment_intent": paid.id, "charge": charge}))["status"] == 400
    assert (await http.post("/v1/refunds", {"charge": charge, "reason": "duplicate"}))["reason"] == "duplicate"


async def test_a_refund_may_take_its_time(wallet: Wallet, http: Http) -> None:
    paid = await wallet.charge(10_000, "pm_card_pendingRefund")

    refund = await wallet.payments.refund(paid.id, 10_000, "slow", fresh("key"))
    await http.advance(60)

    finished = await wallet.payments.find_refund(paid.id, "slow")
    assert refund.status is RefundStatus.PENDING
    assert finished is not None
    assert finished.status is RefundStatus.SUCCEEDED


async def test_a_failed_refund_brings_the_money_back(wallet: Wallet, http: Http) -> None:
    paid = await wallet.charge(10_000, "pm_card_refundFail")
    refund = await wallet.payments.refund(paid.id, 10_000, "bad", fresh("key"))

    await http.advance(60)

    failed = await wallet.payments.find_refund(paid.id, "bad")
    assert failed is not None
    assert (failed.status, failed.failure_reason) == (RefundStatus.FAILED, "expired_or_canceled_card")
    assert (await wallet.payments.payment(paid.id)).refunded_minor == 0
    lines = await http.get("/v1/balance_transactions", source=refund.id)
    assert sorted(line["net"] for line in lines["data"]) == [-10_000, 10_000]


@pytest.mark.parametrize(
    ("evidence", "outcome", "net"), [("winning_evidence", "won", -1_500), ("losing_evidence", "lost", -11_500)]
)
async def test_a_dispute_takes_the_money_until_it_is_won(
    wallet: Wallet, http: Http, evidence: str, outcome: str, net: int
) -> None:
    paid = await wallet.charge(10_000, "pm_card_createDispute")
    dispute = (await http.get("/v1/disputes", payment_intent=paid.id))["data"][0]
    with pytest.raises(PaymentRefused) as refused:
        await wallet.payments.refund(paid.id, 10_000, "late", fresh("key"))

    closed = await http.post(f"/v1/disputes/{dispute['id']}", {"evidence[uncategorized_text]": evidence})

    assert refused.value.code == "charge_disputed"
    assert (dispute["status"], closed["status"]) == ("needs_response", outcome)
    lines = await http.get("/v1/balance_transactions", source=dispute["id"])
    assert sum(line["net"] for line in lines["data"]) == net
    again = await http.refused(f"/v1/disputes/{dispute['id']}", {"evidence[uncategorized_text]": evidence})
    assert again["code"] == "status_transition_invalid"
