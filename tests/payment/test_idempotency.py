"""Idempotency keys: one effect and one answer, whatever is sent again."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.payment.making import Http, Provider, fresh

CHARGE = {
    "amount": 10_000,
    "currency": "cny",
    "payment_method": "pm_card_visa",
    "confirm": "true",
}


async def _count(http: Http, customer: str) -> int:
    return len((await http.get("/v1/payment_intents", customer=customer))["data"])


async def test_the_same_request_again_gets_the_same_answer_and_no_second_payment(http: Http) -> None:
    customer, key = await http.customer(), fresh("key")

    first = await http.ask("POST", "/v1/payment_intents", CHARGE | {"customer": customer}, key=key)
    second = await http.ask("POST", "/v1/payment_intents", CHARGE | {"customer": customer}, key=key)

    assert second.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["original-request"] == first.headers["request-id"]
    assert await _count(http, customer) == 1


async def test_a_key_with_another_body_is_refused(http: Http) -> None:
    key = fresh("key")
    await http.ask("POST", "/v1/payment_intents", CHARGE, key=key)

    other = await http.ask("POST", "/v1/payment_intents", CHARGE | {"amount": 10_001}, key=key)

    assert other.status_code == 400
    assert other.json()["error"]["type"] == "idempotency_error"


async def test_a_key_at_another_address_is_refused(http: Http) -> None:
    key = fresh("key")
    await http.ask("POST", "/v1/customers", {}, key=key)

    other = await http.ask("POST", "/v1/accounts", {}, key=key)

    assert other.json()["error"]["type"] == "idempotency_error"


async def test_keys_of_different_accounts_do_not_meet(http: Http, seller: str) -> None:
    key = fresh("key")
    await http.ask("POST", "/v1/customers", {}, key=key)

    other = await http.ask("POST", "/v1/customers", {}, key=key, account=seller)

    assert "idempotent-replayed" not in other.headers


async def test_a_decline_is_remembered(http: Http) -> None:
    key, body = fresh("key"), CHARGE | {"payment_method": "pm_card_visa_chargeDeclined"}

    first = await http.ask("POST", "/v1/payment_intents", body, key=key)
    second = await http.ask("POST", "/v1/payment_intents", body, key=key)

    assert (first.status_code, second.status_code) == (402, 402)
    assert second.json() == first.json()


async def test_a_malformed_request_is_not_remembered(http: Http) -> None:
    key = fresh("key")
    await http.ask("POST", "/v1/payment_intents", CHARGE | {"amount": "many"}, key=key)

    assert (await http.ask("POST", "/v1/payment_intents", CHARGE, key=key)).status_code == 200


async def test_two_at_once_with_one_key_make_one_payment(new_provider: Callable[..., Awaitable[Provider]]) -> None:
    http = Http(await new_provider())
    customer, key = await http.customer(), fresh("key")
    await http.control("PUT", "faults", {"latency_ms": 200})

    body = CHARGE | {"customer": customer}
    answers = await asyncio.gather(*(http.ask("POST", "/v1/payment_intents", body, key=key) for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["error"]["code"] == "idempotency_key_in_use"
    assert await _count(http, customer) == 1
    await http.close()


async def test_a_key_is_forgotten_after_a_day(new_provider: Callable[..., Awaitable[Provider]]) -> None:
    http = Http(await new_provider())
    customer, key = await http.customer(), fresh("key")
    body = CHARGE | {"customer": customer}
    await http.ask("POST", "/v1/payment_intents", body, key=key)

    await http.advance(86_400)
    again = await http.ask("POST", "/v1/payment_intents", body, key=key)

    assert "idempotent-replayed" not in again.headers
    assert await _count(http, customer) == 2
    await http.close()
