"""Cards: charging, holding, declining, confirming with the bank."""

from urllib.parse import parse_qs, urlsplit

import pytest

from settlement.payments.errors import PaymentDeclined, PaymentMismatch, PaymentRefused
from settlement.payments.values import PaymentStatus
from settlement.simulators.payment.cards import CARDS
from tests.payment.making import Http, Wallet, fresh

WEEK_SECONDS = 7 * 86_400


async def test_a_charge_takes_the_money_at_once(wallet: Wallet) -> None:
    payment = await wallet.charge(12_345, reference="top-up-1")

    assert payment.status is PaymentStatus.SUCCEEDED
    assert (payment.captured_minor, payment.capturable_minor, payment.currency) == (12_345, 0, "CNY")
    assert (payment.reference, payment.customer) == ("top-up-1", wallet.customer)


async def test_a_hold_takes_nothing_yet_and_says_when_it_lapses(wallet: Wallet, http: Http) -> None:
    payment = await wallet.hold(8_000)

    now = (await http.control("GET", "clock"))["now"]
    assert payment.status is PaymentStatus.HELD
    assert (payment.captured_minor, payment.capturable_minor) == (0, 8_000)
    assert payment.capture_before is not None
    assert abs(payment.capture_before.timestamp() - now - WEEK_SECONDS) < 5


async def test_capturing_a_part_releases_the_rest(wallet: Wallet, http: Http) -> None:
    held = await wallet.hold(8_000)

    payment = await wallet.payments.capture(held.id, 5_000, fresh("key"))

    assert payment.status is PaymentStatus.SUCCEEDED
    assert (payment.amount_minor, payment.captured_minor, payment.capturable_minor) == (8_000, 5_000, 0)
    assert payment.refunded_minor == 0
    lines = await http.get("/v1/balance_transactions", source=(await _charge(http, held.id))["id"])
    assert [line["net"] for line in lines["data"]] == [5_000]


async def test_no_more_than_the_hold_can_be_captured(wallet: Wallet) -> None:
    held = await wallet.hold(8_000)

    with pytest.raises(PaymentRefused) as refused:
        await wallet.payments.capture(held.id, 8_001, fresh("key"))

    assert refused.value.code == "amount_too_large"


async def test_captured_before_is_success_when_the_amounts_agree(wallet: Wallet) -> None:
    held = await wallet.hold(8_000)
    await wallet.payments.capture(held.id, 5_000, fresh("key"))

    again = await wallet.payments.capture(held.id, 5_000, fresh("key"))

    assert again.captured_minor == 5_000
    with pytest.raises(PaymentMismatch):
        await wallet.payments.capture(held.id, 6_000, fresh("key"))


async def test_a_cancelled_hold_can_no_longer_be_captured(wallet: Wallet) -> None:
    held = await wallet.hold(8_000)

    canceled = await wallet.payments.cancel(held.id, fresh("key"))
    again = await wallet.payments.cancel(held.id, fresh("key"))

    assert canceled == again
    assert (canceled.status, canceled.capturable_minor, canceled.refunded_minor) == (PaymentStatus.CANCELED, 0, 0)
    with pytest.raises(PaymentRefused) as refused:
        await wallet.payments.capture(held.id, 8_000, fresh("key"))
    assert refused.value.code == "payment_intent_unexpected_state"


async def test_captured_money_cannot_be_cancelled(wallet: Wallet) -> None:
    payment = await wallet.charge()

    with pytest.raises(PaymentRefused):
        await wallet.payments.cancel(payment.id, fresh("key"))


async def test_a_hold_lapses_by_itself(wallet: Wallet, http: Http) -> None:
    held = await wallet.hold(8_000)

    await http.advance(WEEK_SECONDS + 1)

    lapsed = await wallet.payments.payment(held.id)
    assert (lapsed.status, lapsed.capturable_minor) == (PaymentStatus.CANCELED, 0)
    with pytest.raises(PaymentRefused):
        await wallet.payments.capture(held.id, 8_000, fresh("key"))
    kinds = {event["type"] for event in (await http.get("/v1/events", limit=100))["data"] if _is_of(event, held.id)}
    assert "charge.expired" in kinds
    assert "payment_intent.canceled" in kinds


@pytest.mark.parametrize("card", [name for name, card in CARDS.items() if card.decline and not card.is_challenged])
async def test_every_declining_card_declines_with_the_same_words(wallet: Wallet, card: str) -> None:
    with pytest.raises(PaymentDeclined) as declined:
        await wallet.charge(card=card)
    with pytest.raises(PaymentDeclined) as held:
        await wallet.hold(card=card)

    expected = CARDS[card].decline
    assert declined.value.decline_code == held.value.decline_code == expected
    assert str(declined.value) == "The payment was declined. Please try another card or ask your bank."
    assert declined.value.payment_id is not None
    payment = await wallet.payments.payment(declined.value.payment_id)
    assert (payment.status, payment.captured_minor) == (PaymentStatus.NEEDS_METHOD, 0)
    assert payment.decline_code == expected


async def test_a_declined_payment_can_be_confirmed_with_another_card(wallet: Wallet, http: Http) -> None:
    with pytest.raises(PaymentDeclined) as declined:
        await wallet.charge(card="pm_card_visa_chargeDeclined")

    path = f"/v1/payment_intents/{declined.value.payment_id}/confirm"
    confirmed = await http.post(path, {"payment_method": "pm_card_visa"})

    assert confirmed["status"] == "succeeded"
    assert confirmed["last_payment_error"] is None


@pytest.mark.parametrize("method", ["charge", "hold"])
async def test_the_bank_asks_and_the_buyer_confirms(wallet: Wallet, http: Http, method: str) -> None:
    asked = await getattr(wallet, method)(card="pm_card_threeDSecure2Required")

    assert (asked.status, asked.captured_minor) == (PaymentStatus.NEEDS_ACTION, 0)
    page = await http.page("GET", asked.next_action_url)
    assert "¥100.00" in page.text
    answer = await http.page("POST", asked.next_action_url, {"answer": "confirm"})

    back = urlsplit(answer.headers["location"])
    assert (answer.status_code, back.netloc, back.path) == (303, "market.example", "/wallet")
    assert parse_qs(back.query)["payment_intent"] == [asked.id]
    assert parse_qs(back.query)["redirect_status"] == ["succeeded"]
    payment = await wallet.payments.payment(asked.id)
    assert payment.status is (PaymentStatus.SUCCEEDED if method == "charge" else PaymentStatus.HELD)
    assert payment.next_action_url is None


async def test_the_bank_asks_and_the_buyer_refuses(wallet: Wallet, http: Http) -> None:
    asked = await wallet.charge(card="pm_card_authenticationRequired")
    assert asked.next_action_url is not None

    answer = await http.page("POST", asked.next_action_url, {"answer": "fail"})

    assert "redirect_status=failed" in answer.headers["location"]
    payment = await wallet.payments.payment(asked.id)
    assert (payment.status, payment.captured_minor) == (PaymentStatus.NEEDS_METHOD, 0)
    assert payment.decline_code == "payment_intent_authentication_failure"


async def test_a_confirmed_question_is_not_asked_again(wallet: Wallet, http: Http) -> None:
    asked = await wallet.charge(card="pm_card_threeDSecure2Required")
    assert asked.next_action_url is not None
    await http.page("POST", asked.next_action_url, {"answer": "confirm"})

    assert (await http.page("GET", asked.next_action_url)).status_code == 410
    assert (await http.page("POST", asked.next_action_url, {"answer": "fail"})).status_code == 410
    assert (await wallet.payments.payment(asked.id)).status is PaymentStatus.SUCCEEDED


async def test_a_confirmed_question_may_still_end_in_a_decline(wallet: Wallet, http: Http) -> None:
    asked = await wallet.charge(card="pm_card_threeDSecureRequiredChargeDeclined")
    assert asked.next_action_url is not None

    answer = await http.page("POST", asked.next_action_url, {"answer": "confirm"})

    assert "redirect_status=failed" in answer.headers["location"]
    assert (await wallet.payments.payment(asked.id)).decline_code == "generic_decline"


async def test_without_a_buyer_present_a_question_is_a_decline(http: Http) -> None:
    body = {"amount": 500, "currency": "cny", "payment_method": "pm_card_authenticationRequired", "confirm": "true"}

    refusal = await http.refused("/v1/payment_intents", body | {"off_session": "true"})

    assert (refusal["status"], refusal["code"]) == (402, "authentication_required")


async def test_a_saved_card_pays_for_its_customer_only(http: Http) -> None:
    owner, other = await http.customer(), await http.customer()
    method = await http.post("/v1/payment_methods/pm_card_mastercard/attach", {"customer": owner})
    body = {"amount": 500, "currency": "cny", "payment_method": method["id"], "confirm": "true"}

    paid = await http.post("/v1/payment_intents", body | {"customer": owner})
    refusal = await http.refused("/v1/payment_intents", body | {"customer": other})

    assert paid["status"] == "succeeded"
    assert refusal["param"] == "payment_method"
    listed = await http.get(f"/v1/customers/{owner}/payment_methods")
    assert [card["id"] for card in listed["data"]] == [method["id"]]


async def test_a_detached_card_is_spent(http: Http) -> None:
    customer = await http.customer()
    method = await http.post("/v1/payment_methods/pm_card_visa/attach", {"customer": customer})

    detached = await http.post(f"/v1/payment_methods/{method['id']}/detach")
    refusal = await http.refused(f"/v1/payment_methods/{method['id']}/attach", {"customer": customer})

    assert detached["customer"] is None
    assert refusal["code"] == "payment_method_unexpected_state"
    assert (await http.get("/v1/payment_methods", customer=customer))["data"] == []


async def test_a_payment_can_be_changed_before_it_is_confirmed_only(http: Http) -> None:
    intent = await http.post("/v1/payment_intents", {"amount": 500, "currency": "cny"})
    path = f"/v1/payment_intents/{intent['id']}"

    changed = await http.post(path, {"amount": 700, "payment_method": "pm_card_visa", "description": "top-up"})
    await http.post(f"{path}/confirm")
    refusal = await http.refused(path, {"amount": 900})

    assert (changed["amount"], changed["status"], changed["description"]) == (700, "requires_confirmation", "top-up")
    assert refusal["code"] == "payment_intent_unexpected_state"


async def test_confirming_or_capturing_out_of_turn_is_refused(wallet: Wallet, http: Http) -> None:
    paid, unpaid = await wallet.charge(), await http.post("/v1/payment_intents", {"amount": 500, "currency": "cny"})

    for path in (f"{paid.id}/confirm", f"{unpaid['id']}/confirm", f"{unpaid['id']}/capture", f"{paid.id}/capture"):
        assert (await http.refused(f"/v1/payment_intents/{path}"))["code"] == "payment_intent_unexpected_state"


async def _charge(http: Http, payment_id: str) -> dict[str, str]:
    charge: dict[str, str] = (await http.get("/v1/charges", payment_intent=payment_id))["data"][0]
    return charge


def _is_of(event: dict[str, dict[str, dict[str, str]]], payment_id: str) -> bool:
    content = event["data"]["object"]
    return payment_id in {content["id"], content.get("payment_intent")}
