"""Every request that our ports send is as the other side's description has it, or an extension with its reason."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from settlement.carriers.billing import Billing
from settlement.carriers.client import Carrier
from settlement.payments.port import Payments
from tests.wire.extensions import EXTENSIONS, UNDESCRIBED
from tests.wire.holding import described, operation_name, problems
from tests.wire.requests import Recorder, Request, calls_of

Change = Callable[[Request], Request]

KEYLESS = {"onboarding_link", "ensure_webhook"}
"""Calls that may be made twice without harm: a link is for one use, and the older endpoints are dropped."""


@pytest.fixture
def sent(carrier_calls: Recorder, billing_calls: Recorder, provider_calls: Recorder) -> list[tuple[str, Request]]:
    """Each request with the port and the call that sent it."""
    ports = {"carrier": carrier_calls, "billing": billing_calls, "payments": provider_calls}
    return [
        (f"{port}.{call}", request)
        for port, recorder in ports.items()
        for call, requests in recorder.sent.items()
        for request in requests
    ]


def test_every_call_of_the_ports_has_been_recorded(
    carrier_calls: Recorder, billing_calls: Recorder, provider_calls: Recorder
) -> None:
    assert carrier_calls.sent.keys() == calls_of(Carrier, "aclose", "read_push")
    assert billing_calls.sent.keys() == calls_of(Billing, "aclose")
    assert provider_calls.sent.keys() == calls_of(Payments, "close", "verify_event")
    assert all(all(recorder.sent.values()) for recorder in (carrier_calls, billing_calls, provider_calls))


def test_whatever_moves_something_carries_our_id(carrier_calls: Recorder, provider_calls: Recorder) -> None:
    created = [
        one for requests in carrier_calls.sent.values() for one in requests if "externalIdentifier" in str(one.body)
    ]
    paid = [
        (call, one) for call, requests in provider_calls.sent.items() for one in requests
        if one.method == "POST" and call not in KEYLESS
    ]  # fmt: skip

    assert len(created) == 4
    assert all(f'"externalIdentifier": "{one.headers["idempotency-key"]}"'.encode() in one.body for one in created)
    assert [call for call, one in paid if not one.headers.get("idempotency-key")] == []


@described
def test_every_request_is_as_it_is_described(sent: list[tuple[str, Request]]) -> None:
    assert {call: found for call, request in sent if (found := problems(request))} == {}


@described
def test_every_extension_is_sent_and_is_one(sent: list[tuple[str, Request]]) -> None:
    told: dict[str, str] = {}
    for _, request in sent:
        name = operation_name(request)
        told[name] = told.get(name, "") + " ".join(problems(request, extended=False))

    assert [(name, field) for name, fields in EXTENSIONS.items() for field in fields if field not in told[name]] == []
    assert [name for name in UNDESCRIBED if "is in no description" not in told[name]] == []


def in_body(old: str, new: str) -> Change:
    return lambda request: replace(request, body=_changed(request.body.decode(), old, new).encode())


def in_path(old: str, new: str) -> Change:
    return lambda request: replace(request, path=_changed(request.path, old, new))


def in_query(addition: str) -> Change:
    return lambda request: replace(request, query=request.query + addition)


def _changed(text: str, old: str, new: str) -> str:
    assert old in text, f"{old} is not in {text}"
    return text.replace(old, new)


@described
@pytest.mark.parametrize(
    ("call", "change"),
    [
        ("carrier.reserve", in_body('"amount": 500', '"amount": "500"')),
        ("carrier.reserve", in_body('"amount": {', '"amounts": {')),
        ("carrier.reserve", in_body('"units": "MB"', '"unit": "MB"')),
        ("carrier.reserve", in_body('"expirationDate": "', '"expirationDate": "on ')),
        ("carrier.settle", in_body('"reserveBalance": {', '"reservation": {')),
        ("carrier.settle", in_path("adjustBalance", "adjustBalances")),
        ("carrier.buckets", in_query("&owner=me")),
        ("carrier.line_page", in_query("&requestedDay.gte=2026")),
        ("carrier.send_code", in_body('"phoneNumber": "+', '"phoneNumber": "')),
        ("carrier.sim_swapped", in_body('"maxAge": 24', '"maxAge": 2401')),
        ("carrier.subscribe", in_body('"accessTokenType": "bearer"', '"accessTokenType": "basic"')),
        ("carrier.subscribe", in_body('"accessToken": ', '"accessKey": ')),
        ("carrier.number_recycled", in_body("2026-01-01", "01.01.2026")),
        ("billing.prepare", in_body('"amount": 12.34', '"amount": 12.3456')),
        ("billing.refund", in_body('"type": "total"', '"type": "all"')),
        ("billing.find", in_query("&clientCorrelator=ours")),
        ("payments.charge", in_body("amount=10000", "amount=100.00")),
        ("payments.charge", in_body("capture_method=automatic", "capture_method=later")),
        ("payments.charge", in_body("currency=cny", "money=cny")),
        ("payments.capture", in_body("amount_to_capture=9000", "amount=9000")),
        ("payments.transfer", in_body("destination=", "receiver=")),
        ("payments.events", in_query("&created[since]=1")),
    ],
)  # fmt: skip
def test_a_doctored_request_is_refused(sent: list[tuple[str, Request]], call: str, change: Change) -> None:
    request = next(request for name, request in sent if name == call)

    assert problems(request) == []
    assert problems(change(request)) != []
