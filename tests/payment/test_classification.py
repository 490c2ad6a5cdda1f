"""Every way a call can end has one meaning."""

import ast
import inspect
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import stripe

from settlement.payments import calling, errors
from settlement.payments.classification import CODES, DECLINED, KINDS, REFUSED, UNAUTHORISED, UNKNOWN
from settlement.payments.errors import (
    PaymentDeclined,
    PaymentError,
    PaymentKeyReused,
    PaymentMismatch,
    PaymentRefused,
    PaymentUnauthorised,
    PaymentUnclassified,
    PaymentUnknown,
)
from settlement.payments.port import Payments
from settlement.payments.values import PaymentSettings
from settlement.payments.wire import ANSWER_BYTES
from tests.payment.making import ScriptedServer

OTHER_CALLS = {
    "AlreadyCanceledError", "BlockedByStripeError", "CannotProceedError", "CapabilityNotEnabledError",
    "ControlledByAlternateResourceError", "FeatureNotEnabledError", "FinancialAccountNotOpenError",
    "FxQuoteNeedsRefreshError", "InsufficientFundsError", "InvalidPaymentMethodError", "InvalidPayoutMethodError",
    "InvalidVaultedCredentialError", "NotCancelableError", "QuotaExceededError", "RecipientNotNotifiableError",
    "TemporarySessionExpiredError", "VerificationAttemptFailedError", "VerificationExpiredError",
    "VerificationNotInitiatedError",
}  # fmt: skip
"""Kinds of the provider's second API, which this port does not call."""
NOT_RAISED = {"StripeErrorWithParamCode", "SignatureVerificationError"}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as scripted:
        yield scripted


@pytest_asyncio.fixture
async def scripted(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Payments]:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0)
    monkeypatch.setattr(stripe.HTTPClient, "MAX_DELAY", 0)
    payments = Payments(PaymentSettings("sk_test", server.url, "whsec_test", 1))
    yield payments
    await payments.close()


def _known_codes() -> set[str]:
    """The codes that the provider's client lists for a payment's errors, read from its source."""
    tree = ast.parse(Path(inspect.getfile(stripe.PaymentIntent)).read_text())
    holder = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "LastPaymentError")
    annotation = next(
        node.annotation
        for node in holder.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "code"
    )
    return {str(node.value) for node in ast.walk(annotation) if isinstance(node, ast.Constant)}


def test_every_code_the_client_knows_is_classified_once() -> None:
    assert len(_known_codes()) > 150
    assert _known_codes() - CODES.keys() == set()
    assert len(CODES) == len(DECLINED) + len(UNKNOWN) + len(UNAUTHORISED) + len(REFUSED)


def test_every_kind_of_error_the_client_has_is_accounted_for() -> None:
    kinds = {
        kind.__name__
        for kind in vars(stripe._error).values()
        if inspect.isclass(kind) and issubclass(kind, stripe.StripeError)
    }

    assert kinds == {kind.__name__ for kind in KINDS} | OTHER_CALLS | NOT_RAISED


def test_every_error_of_ours_speaks_to_a_person() -> None:
    made = [
        PaymentDeclined("card_declined", "stolen_card", "pi_1"),
        PaymentRefused("amount_too_small", "Amount must be at least ¥4.00."),
        PaymentUnknown("time-out"),
        PaymentUnauthorised("api_key_expired"),
        PaymentMismatch("amount"),
        PaymentKeyReused("key"),
        PaymentUnclassified("new_code"),
        errors.ForgedEvent(),
    ]

    for error in made:
        assert isinstance(error, PaymentError)
        assert str(error).endswith(".")
        assert not any(secret in str(error) for secret in ("stolen", "amount_too_small", "time-out", "key"))


def _error(**details: Any) -> bytes:
    return json.dumps({"error": {"message": "No.", **details}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (402, _error(type="card_error", code="card_declined", decline_code="lost_card"), PaymentDeclined),
        (402, _error(type="card_error", code="a_code_of_tomorrow"), PaymentDeclined),
        (402, _error(type="card_error"), PaymentDeclined),
        (402, _error(type="invalid_request_error", code="balance_insufficient"), PaymentRefused),
        (400, _error(type="invalid_request_error", code="balance_insufficient"), PaymentRefused),
        (400, _error(type="invalid_request_error"), PaymentRefused),
        (404, _error(type="invalid_request_error", code="resource_missing"), PaymentRefused),
        (403, _error(type="invalid_request_error", code="account_invalid"), PaymentRefused),
        (403, _error(type="invalid_request_error"), PaymentUnauthorised),
        (401, _error(type="invalid_request_error"), PaymentUnauthorised),
        (401, _error(type="invalid_request_error", code="api_key_expired"), PaymentUnauthorised),
        (400, _error(type="invalid_request_error", code="lock_timeout"), PaymentUnknown),
        (400, _error(type="invalid_request_error", code="a_code_of_tomorrow"), PaymentUnclassified),
        (400, _error(type="idempotency_error"), PaymentKeyReused),
        (409, _error(type="invalid_request_error", code="idempotency_key_in_use"), PaymentUnknown),
        (409, _error(type="invalid_request_error", code="resource_missing"), PaymentUnknown),
        (429, _error(type="invalid_request_error", code="rate_limit"), PaymentUnknown),
        (500, _error(type="api_error"), PaymentUnknown),
        (500, _error(type="card_error", code="card_declined"), PaymentUnknown),
        (502, b"<html>Bad gateway</html>", PaymentUnknown),
        (503, b"", PaymentUnknown),
        (302, b"", PaymentUnknown),
        (200, b"<html>Welcome to the hotel</html>", PaymentUnknown),
        (200, b"[]", PaymentUnknown),
        (200, b"null", PaymentUnknown),
        (200, b"{}", PaymentMismatch),
        (200, b'{"object": "payment_intent"}', PaymentMismatch),
        (400, b"null", PaymentUnknown),
        (400, b'{"error": "invalid_grant"}', PaymentUnclassified),
        (418, _error(type="invalid_request_error"), PaymentUnknown),
    ],
)
async def test_each_answer_has_one_meaning(
    server: ScriptedServer, scripted: Payments, status: int, body: bytes, expected: type[PaymentError]
) -> None:
    server.answer(status, body)

    with pytest.raises(PaymentError) as ended:
        await scripted.payment("pi_1")

    assert type(ended.value) is expected


@pytest.mark.parametrize("behaviour", ["hang_up", "truncate", "silence", "flood"])
async def test_a_broken_connection_leaves_the_outcome_unknown(
    server: ScriptedServer, scripted: Payments, behaviour: str
) -> None:
    server.behaviour = behaviour
    server.flood_bytes = ANSWER_BYTES + 1

    with pytest.raises(PaymentUnknown):
        await scripted.capture("pi_1", 500, "key-1")

    assert [request.partition(b" ")[0] for request in server.requests] == [b"POST", b"POST"]
    keys = {
        line for request in server.requests for line in request.split(b"\r\n") if b"idempotency-key" in line.lower()
    }
    assert len(keys) == 1


async def test_a_dripping_answer_ends_at_the_longest_call(
    server: ScriptedServer, scripted: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "PAUSE_SECONDS", -1)
    server.behaviour = "drip"

    with pytest.raises(PaymentUnknown) as unknown:
        await scripted.payment("pi_1")

    assert unknown.value.reason == "time-out"
    assert len(server.requests) == 1


def _intent(**changes: Any) -> bytes:
    intent = {
        "id": "pi_1", "object": "payment_intent", "amount": 500, "amount_capturable": 0, "amount_received": 500,
        "currency": "cny", "customer": "cus_1", "latest_charge": None, "last_payment_error": None,
        "metadata": {"surplusflow_reference": "r"}, "next_action": None, "status": "succeeded",
    }  # fmt: skip
    return json.dumps(intent | changes).encode()


async def _charge(payments: Payments) -> object:
    return await payments.charge(
        customer="cus_1",
        amount_minor=500,
        currency="CNY",
        payment_method="pm_card_visa",
        reference="r",
        key="k",
        return_url="https://market.example",
    )


async def test_an_answer_that_is_what_was_asked_for_is_taken(server: ScriptedServer, scripted: Payments) -> None:
    server.answer(200, _intent())

    assert await _charge(scripted)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 501},
        {"amount": "500"},
        {"amount": 500.0},
        {"amount": True},
        {"amount": -500},
        {"amount_received": None},
        {"currency": "usd"},
        {"currency": None},
        {"customer": "cus_2"},
        {"id": "ch_1"},
        {"id": None},
        {"metadata": {}},
        {"metadata": {"surplusflow_reference": "s"}},
        {"status": "paid_in_full"},
        {"status": None},
        {"next_action": {"type": "redirect_to_url", "redirect_to_url": {"url": "javascript:alert(1)"}}},
        {"latest_charge": {"id": "ch_1", "object": "charge", "refunds": {"object": "list", "data": [{}]}}},
    ],
)
async def test_an_answer_about_something_else_halts_the_payment(
    server: ScriptedServer, scripted: Payments, changes: dict[str, Any]
) -> None:
    server.answer(200, _intent(**changes))

    with pytest.raises(PaymentMismatch):
        await _charge(scripted)


async def test_an_answer_about_another_payment_halts_it(server: ScriptedServer, scripted: Payments) -> None:
    server.answer(200, _intent(id="pi_2"))

    for asked in (scripted.payment("pi_1"), scripted.capture("pi_1", 500, "k")):
        with pytest.raises(PaymentMismatch):
            await asked


async def test_two_payments_with_one_reference_halt(server: ScriptedServer, scripted: Payments) -> None:
    intents = [json.loads(_intent()), json.loads(_intent(id="pi_2"))]
    server.answer(200, json.dumps({"object": "list", "data": intents, "has_more": False, "url": "/v1/x"}).encode())

    with pytest.raises(PaymentMismatch):
        await scripted.find_payment("r")


async def test_a_list_without_an_end_halts(server: ScriptedServer, scripted: Payments) -> None:
    intents = [json.loads(_intent())]
    server.answer(200, json.dumps({"object": "list", "data": intents, "has_more": True, "url": "/v1/x"}).encode())

    with pytest.raises(PaymentMismatch):
        await scripted.find_payment("r")


@pytest.mark.parametrize(
    "listed", [{}, {"data": None}, {"data": [], "has_more": True}, {"data": [{}], "has_more": False}]
)
async def test_a_list_that_is_none_halts(server: ScriptedServer, scripted: Payments, listed: dict[str, Any]) -> None:
    server.answer(200, json.dumps({"object": "list", "url": "/v1/x"} | listed).encode())

    with pytest.raises(PaymentMismatch):
        await scripted.find_payment("r")


async def test_a_balance_line_that_does_not_add_up_halts(server: ScriptedServer, scripted: Payments) -> None:
    line = {
        "id": "txn_1", "object": "balance_transaction", "amount": 500, "fee": 5, "net": 500, "currency": "cny",
        "type": "charge", "source": "ch_1", "created": 1, "available_on": 1,
    }  # fmt: skip
    server.answer(200, json.dumps({"object": "list", "data": [line], "has_more": False, "url": "/v1/x"}).encode())

    with pytest.raises(PaymentMismatch):
        [line async for line in scripted.balance_transactions(datetime.now(UTC))]


@pytest.mark.parametrize(
    "wrong", [{"api_key": ""}, {"api_base": "127.0.0.1:8420"}, {"api_base": "ftp://x"}, {"timeout_seconds": 0}]
)
def test_settings_that_cannot_work_stop_the_start(wrong: dict[str, Any]) -> None:
    good = {"api_key": "sk", "api_base": None, "webhook_secret": "whsec", "timeout_seconds": 10}

    with pytest.raises(ValueError, match="payment"):
        PaymentSettings(**(good | wrong))


def test_without_an_address_the_real_provider_is_meant() -> None:
    payments = Payments(PaymentSettings("sk_test", None, "whsec", 10))

    assert payments._client._requestor.base_addresses["api"] == "https://api.stripe.com"
    assert payments.longest_call_seconds == 22
