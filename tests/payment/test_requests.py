"""What a request must look like: keys, versions, parameters, amounts, addresses."""

import base64
from typing import Any

import pytest

from settlement.simulators.payment.answers import Refusal
from settlement.simulators.payment.form import parse_form
from tests.payment.making import API_KEY, Http


async def test_without_a_key_nothing_is_answered(http: Http) -> None:
    answer = await http.ask("GET", "/v1/balance", headers={})

    assert answer.status_code == 401


async def test_a_wrong_key_is_refused_and_not_repeated_in_full(http: Http) -> None:
    answer = await http.ask("GET", "/v1/balance", headers={"Authorization": "Bearer sk_test_stolen"})

    assert answer.status_code == 401
    assert "stolen" not in answer.text


async def test_a_key_may_come_as_a_basic_user_name(http: Http) -> None:
    given = base64.b64encode(f"{API_KEY}:".encode()).decode()

    assert (await http.ask("GET", "/v1/balance", headers={"Authorization": f"Basic {given}"})).status_code == 200


async def test_every_answer_names_its_request_and_version(http: Http) -> None:
    answer = await http.ask("GET", "/v1/balance", headers=http.authorization | {"Stripe-Version": "2026-10-28.endive"})

    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["stripe-version"] == "2026-10-28.endive"


async def test_a_version_that_is_none_is_refused(http: Http) -> None:
    answer = await http.ask("GET", "/v1/balance", headers=http.authorization | {"Stripe-Version": "latest"})

    assert answer.status_code == 400


async def test_an_unknown_address_is_not_found(http: Http) -> None:
    answer = await http.page("GET", "/v1/skus", headers=http.authorization)

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Unrecognized request URL (GET: /v1/skus)."


async def test_an_object_of_another_kind_is_missing(http: Http) -> None:
    customer = await http.customer()

    answer = await http.ask("GET", f"/v1/payment_intents/{customer}")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "resource_missing"


async def test_a_body_that_is_too_large_is_refused(http: Http) -> None:
    answer = await http.page(
        "POST", "/v1/customers", {"description": "x" * 300_000}, http.authorization | {"Connection": "close"}
    )

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"amount": ""}, "parameter_missing", "amount"),
        ({"amount": "ten"}, "parameter_invalid_integer", "amount"),
        ({"amount": "10.5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "１００００"}, "parameter_invalid_integer", "amount"),
        ({"amount": "-500"}, "parameter_invalid_integer", "amount"),
        ({"amount": "0"}, "parameter_invalid_integer", "amount"),
        ({"amount": "399"}, "amount_too_small", "amount"),
        ({"amount": "100000000"}, "amount_too_large", "amount"),
        ({"amount": "49", "currency": "jpy"}, "amount_too_small", "amount"),
        ({"currency": "xxq"}, None, "currency"),
        ({"currency": ""}, "parameter_missing", "currency"),
        ({"customer": "cus_nobody"}, "resource_missing", "customer"),
        ({"payment_method": "pm_card_nonsense"}, "resource_missing", "payment_method"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"confirm": "yes"}, None, "confirm"),
        ({"return_url": "https://market.example"}, None, "return_url"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({f"metadata[{'k' * 41}]": "v"}, None, f"metadata[{'k' * 40}]"),
    ],
)
async def test_a_payment_with_a_wrong_parameter_is_refused(
    http: Http, change: dict[str, Any], code: str | None, param: str
) -> None:
    refusal = await http.refused("/v1/payment_intents", {"amount": "10000", "currency": "cny"} | change)

    assert (refusal["status"], refusal["type"]) == (400, "invalid_request_error")
    assert (refusal.get("code"), refusal["param"]) == (code, param)


async def test_zero_decimal_currencies_count_whole_units(http: Http) -> None:
    intent = await http.post("/v1/payment_intents", {"amount": 50, "currency": "JPY"})

    assert (intent["amount"], intent["currency"]) == (50, "jpy")


async def test_metadata_is_merged_and_emptied_key_by_key(http: Http) -> None:
    customer = await http.post("/v1/customers", {"metadata[a]": "1", "metadata[b]": "2"})

    changed = await http.post(f"/v1/customers/{customer['id']}", {"metadata[a]": "", "metadata[c]": "3"})
    emptied = await http.post(f"/v1/customers/{customer['id']}", {"metadata": ""})

    assert changed["metadata"] == {"b": "2", "c": "3"}
    assert emptied["metadata"] == {}


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        ("a=1&b=%E6%B5%81", {"a": "1", "b": "流"}),
        ("a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("e[]=x&e[]=y", {"e": {"0": "x", "1": "y"}}),
        ("e[0]=x&e[1]=y", {"e": {"0": "x", "1": "y"}}),
        ("a=1&a=2", {"a": "2"}),
        ("", {}),
    ],
)
def test_brackets_are_read_as_the_client_writes_them(raw: str, fields: dict[str, Any]) -> None:
    assert parse_form(raw) == fields


@pytest.mark.parametrize(
    "raw", ["a[b=1", "=1", "a=1&a[b]=2", "a=%00", "a=%ff", "&".join(f"k{n}=1" for n in range(999))]
)
def test_a_form_that_is_none_is_refused(raw: str) -> None:
    with pytest.raises(Refusal):
        parse_form(raw)
