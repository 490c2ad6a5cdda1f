"""Webhooks: signed, retried, kept over a restart, and believed only when they are the provider's."""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from settlement.payments import port
from settlement.payments.errors import ForgedEvent
from settlement.payments.port import EVENT_BYTES, Payments
from tests.payment.making import QUICK, Http, Listener, Provider, Wallet, settings_for, until

SECRET = "whsec_test"
KINDS = ["payment_intent.succeeded", "refund.created", "payout.paid", "account.updated"]


def _payload(**changes: Any) -> str:
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": 1_790_000_000,
        "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
    }
    return json.dumps(event | changes)


def _sign(payload: str, secret: str = SECRET, age_seconds: int = 0) -> str:
    signed: str = stripe.WebhookSignature.generate_signature_header(payload, secret, int(time.time()) - age_seconds)
    return signed


async def _deliveries(http: Http, status: str) -> int:
    counted = (await http.control("GET", "totals"))["deliveries"]
    return sum(row["count"] for row in counted if row["status"] == status)


async def _is_given_up(http: Http) -> bool:
    return await _deliveries(http, "given_up") == 1


async def _until_delivered(http: Http, count: int) -> None:
    async def are_delivered() -> bool:
        return await _deliveries(http, "delivered") >= count

    await until(are_delivered)


def test_a_signed_event_is_believed(payments: Payments) -> None:
    payload = _payload(account="acct_9")

    event = payments.verify_event(payload.encode(), _sign(payload))

    assert (event.id, event.kind, event.account) == ("evt_1", "payment_intent.succeeded", "acct_9")
    assert (event.object_id, event.object_kind) == ("pi_1", "payment_intent")
    assert event.created_at == datetime.fromtimestamp(1_790_000_000, UTC)


def test_one_good_signature_among_several_is_enough(payments: Payments) -> None:
    payload = _payload()
    other = _sign(payload, "whsec_old").partition("v1=")[2]

    assert payments.verify_event(payload.encode(), f"{_sign(payload)},v1={other}").id == "evt_1"


def test_while_a_secret_is_replaced_both_are_good(provider: Provider) -> None:
    payments = Payments(settings_for(provider, webhook_secret="whsec_new, whsec_test"))
    payload = _payload()

    assert payments.verify_event(payload.encode(), _sign(payload, "whsec_new")).id == "evt_1"
    assert payments.verify_event(payload.encode(), _sign(payload, "whsec_test")).id == "evt_1"


GOOD = _payload()
FORGED: dict[str, Callable[[], tuple[bytes, str]]] = {
    "another secret": lambda: (GOOD.encode(), _sign(GOOD, "whsec_wrong")),
    "another object": lambda: (GOOD.replace("pi_1", "pi_2").encode(), _sign(GOOD)),
    "old": lambda: (GOOD.encode(), _sign(GOOD, age_seconds=301)),
    "no signature": lambda: (GOOD.encode(), ""),
    "no moment": lambda: (GOOD.encode(), "t=now,v1=00"),
    "a moment alone": lambda: (GOOD.encode(), f"t={int(time.time())}"),
    "beyond ASCII": lambda: (GOOD.encode(), f"t={int(time.time())},v1=ünïcode"),
    "no text": lambda: (b"\xff\xfe", _sign(GOOD)),
    "a list": lambda: (b"[]", _sign("[]")),
    "nothing": lambda: (b"null", _sign("null")),
    "no JSON": lambda: (b"{not json", _sign("{not json")),
    "no event": lambda: (b'{"object": "event"}', _sign('{"object": "event"}')),
    "no time of its own": lambda: ((odd := _payload(created="soon")).encode(), _sign(odd)),
    "another kind of event": lambda: ((odd := _payload(object="v2.core.event")).encode(), _sign(odd)),
    "huge": lambda: (b" " * (EVENT_BYTES + 1), ""),
}
"""They are signed when their turn comes: a signature grows old, and an old one is refused whatever it signs."""


@pytest.mark.parametrize("name", FORGED)
def test_what_the_provider_did_not_sign_is_forged(payments: Payments, name: str) -> None:
    payload, signature = FORGED[name]()

    with pytest.raises(ForgedEvent):
        payments.verify_event(payload, signature)


def test_without_a_secret_everything_is_forged(provider: Provider) -> None:
    payments = Payments(settings_for(provider, webhook_secret=""))

    with pytest.raises(ForgedEvent):
        payments.verify_event(GOOD.encode(), _sign(GOOD, ""))


async def test_events_arrive_signed_and_the_port_believes_them(
    provider: Provider, wallet: Wallet, listener: Listener
) -> None:
    secret = await wallet.payments.ensure_webhook(listener.url, KINDS)
    ours = Payments(settings_for(provider, webhook_secret=secret))

    payment = await wallet.charge()
    events = [ours.verify_event(*delivery) for delivery in await listener.wait_for(1, payment.id.encode())]
    assert [(event.kind, event.object_id) for event in events] == [("payment_intent.succeeded", payment.id)]
    await ours.close()


async def test_sellers_events_come_with_the_sellers_account(
    provider: Provider, wallet: Wallet, seller: str, http: Http, listener: Listener
) -> None:
    secret = await wallet.payments.ensure_webhook(listener.url, KINDS)
    ours = Payments(settings_for(provider, webhook_secret=secret))

    await http.post(f"/v1/accounts/{seller}", {"email": "seller@example.com"})

    event = ours.verify_event(*(await listener.wait_for(1, b"account.updated"))[0])
    assert (event.kind, event.account, event.object_id) == ("account.updated", seller, seller)
    await ours.close()


async def test_asking_for_a_webhook_again_replaces_it(wallet: Wallet, http: Http, listener: Listener) -> None:
    first = await wallet.payments.ensure_webhook(listener.url, KINDS)
    second = await wallet.payments.ensure_webhook(listener.url, KINDS)

    endpoints = (await http.get("/v1/webhook_endpoints", limit=100))["data"]
    assert [endpoint["url"] for endpoint in endpoints].count(listener.url) == 2
    assert first != second
    assert all("secret" not in endpoint for endpoint in endpoints)


async def test_an_endpoint_gets_only_what_it_asked_for_and_nothing_when_disabled(
    new_provider: Callable[..., Awaitable[Provider]], listener: Listener
) -> None:
    http = Http(await new_provider())
    endpoint = await http.post("/v1/webhook_endpoints", {"url": listener.url, "enabled_events[]": "customer.created"})
    await http.customer()
    await http.post("/v1/payment_intents", {"amount": 500, "currency": "cny"})
    await http.post(f"/v1/webhook_endpoints/{endpoint['id']}", {"disabled": "true"})
    await http.customer()

    await _until_delivered(http, 1)

    assert [json.loads(body)["type"] for body, _ in listener.received] == ["customer.created"]
    assert await _deliveries(http, "pending") == 0
    await http.close()


async def test_a_failed_delivery_is_tried_again_until_it_arrives(
    new_provider: Callable[..., Awaitable[Provider]], listener: Listener
) -> None:
    http = Http(await new_provider())
    await http.post("/v1/webhook_endpoints", {"url": listener.url, "enabled_events[]": "*"})
    listener.statuses = [500, 302, 404]

    await http.customer()
    tries = await listener.wait_for(4)

    await _until_delivered(http, 1)
    assert len({json.loads(body)["id"] for body, _ in tries}) == 1
    event = (await http.get("/v1/events"))["data"][0]
    assert event["pending_webhooks"] == 0
    await http.close()


async def test_after_the_last_try_a_delivery_is_given_up(
    new_provider: Callable[..., Awaitable[Provider]], listener: Listener
) -> None:
    http = Http(await new_provider())
    await http.post("/v1/webhook_endpoints", {"url": listener.url, "enabled_events[]": "*"})
    listener.statuses = [500] * 10

    await http.customer()
    await until(lambda: _is_given_up(http))

    assert len(listener.received) == 4
    await http.close()


async def test_deliveries_wait_for_an_endpoint_over_a_restart(
    new_database: Callable[[str], str], listener: Listener
) -> None:
    database, patient = new_database("payment"), replace(QUICK, webhook_retry_seconds=(1, 1, 1))
    before = Provider(database, patient)
    await before.start()
    http = Http(before)
    await http.post("/v1/webhook_endpoints", {"url": listener.url, "enabled_events[]": "*"})
    listener.statuses = [503]
    customer = await http.customer()
    await listener.wait_for(1)
    await before.stop()
    await http.close()

    after = Provider(database, patient)
    await after.start()
    deliveries = await listener.wait_for(2, customer.encode())

    assert len({body for body, _ in deliveries}) == 1
    await after.stop()


async def test_duplicated_and_reordered_deliveries_carry_the_same_events(
    new_provider: Callable[..., Awaitable[Provider]], listener: Listener
) -> None:
    http = Http(await new_provider())
    await http.post("/v1/webhook_endpoints", {"url": listener.url, "enabled_events[]": "*"})
    await http.control("PUT", "faults", {"duplicate_webhooks_percent": 100, "reordered_webhooks_percent": 50})

    made = [await http.customer() for _ in range(12)]
    await listener.wait_for(24)

    came = [json.loads(body)["data"]["object"]["id"] for body, _ in listener.received]
    assert sorted(came) == sorted(made * 2)
    assert list(dict.fromkeys(came)) != made
    struck = (await http.control("GET", "faults"))["struck"]
    assert struck["duplicate_webhooks_percent"] == 12
    assert struck["reordered_webhooks_percent"] > 0
    await http.close()


async def test_lost_webhooks_can_be_caught_up_with(
    wallet: Wallet, seller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "PAGE", 3)
    since = datetime.now(UTC) - timedelta(hours=1)

    payment = await wallet.charge()
    ours = [event async for event in wallet.payments.events(since)]
    theirs = [event async for event in wallet.payments.events(since, account=seller)]

    found = [event for event in ours if event.object_id == payment.id]
    assert {event.kind for event in found} == {"payment_intent.created", "payment_intent.succeeded"}
    assert len({event.id for event in ours}) == len(ours) > 3
    assert {event.account for event in theirs} == {seller}
    assert [event.created_at for event in ours] == sorted((event.created_at for event in ours), reverse=True)


async def test_an_event_keeps_the_moment_it_was_made(http: Http) -> None:
    customer = await http.post("/v1/customers", {"name": "before"})
    await http.post(f"/v1/customers/{customer['id']}", {"name": "after"})

    events = (await http.get("/v1/events", **{"types[]": ["customer.created", "customer.updated"]}))["data"][:2]

    assert [event["data"]["object"]["name"] for event in events] == ["after", "before"]
    assert events[0]["request"]["id"].startswith("req_")
    one = await http.get(f"/v1/events/{events[0]['id']}")
    assert one == events[0]
