"""Lists: newest first, a page at a time, selected and expanded."""

from typing import Any

import pytest

from tests.payment.making import Http, Wallet


async def _three(http: Http) -> tuple[str, list[str]]:
    customer = await http.customer()
    made = [
        (await http.post("/v1/payment_intents", {"amount": 500 + n, "currency": "cny", "customer": customer}))["id"]
        for n in range(5)
    ]
    return customer, made[::-1]


async def test_pages_go_down_from_the_newest_and_back_up(http: Http) -> None:
    customer, newest_first = await _three(http)

    async def page(**cursor: str) -> tuple[list[str], bool]:
        answer = await http.get("/v1/payment_intents", customer=customer, limit=2, **cursor)
        return [intent["id"] for intent in answer["data"]], answer["has_more"]

    assert await page() == (newest_first[0:2], True)
    assert await page(starting_after=newest_first[1]) == (newest_first[2:4], True)
    assert await page(starting_after=newest_first[3]) == (newest_first[4:5], False)
    assert await page(ending_before=newest_first[4]) == (newest_first[2:4], True)
    assert await page(ending_before=newest_first[2]) == (newest_first[0:2], False)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"starting_after": "pi_nothing"}, "starting_after"),
        ({"ending_before": "pi_nothing"}, "ending_before"),
        ({"created[gte]": "yesterday"}, "gte"),
        ({"created[near]": 5}, "near"),
        ({"colour": "red"}, "colour"),
        ({"expand[]": "data.metadata"}, "expand"),
        ({"expand[]": "latest_charge"}, "expand"),
        ({"expand[]": "data.latest_charge.payment_intent.latest_charge.payment_intent.customer"}, "expand"),
    ],
)
async def test_a_wrong_question_is_refused(http: Http, query: dict[str, Any], param: str) -> None:
    await http.post("/v1/payment_intents", {"amount": 500, "currency": "cny"})

    answer = await http.ask("GET", "/v1/payment_intents", query)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_lists_are_selected_by_time(http: Http) -> None:
    await http.advance(10)
    customer = await http.customer()
    created = (await http.get(f"/v1/customers/{customer}"))["created"]

    async def found(**when: int) -> bool:
        data = (await http.get("/v1/customers", limit=100, **when))["data"]
        return customer in [item["id"] for item in data]

    assert await found(created=created)
    assert await found(**{"created[gte]": created, "created[lt]": created + 1})
    assert not await found(**{"created[gt]": created})
    assert not await found(**{"created[lte]": created - 1})


async def test_ids_are_expanded_along_paths(wallet: Wallet, http: Http) -> None:
    paid = await wallet.charge(10_000)
    await http.post("/v1/refunds", {"payment_intent": paid.id, "amount": 100})

    paths = ["latest_charge.balance_transaction", "latest_charge.refunds", "customer", "payment_method"]
    intent = await http.get(f"/v1/payment_intents/{paid.id}", **{"expand[]": paths})
    plain = await http.get(f"/v1/payment_intents/{paid.id}")

    assert intent["customer"]["id"] == wallet.customer == plain["customer"]
    assert intent["latest_charge"]["id"] == plain["latest_charge"]
    assert intent["latest_charge"]["balance_transaction"]["net"] == 10_000
    assert [refund["amount"] for refund in intent["latest_charge"]["refunds"]["data"]] == [100]
    assert intent["payment_method"]["card"]["last4"] == "4242"


async def test_every_list_answers(wallet: Wallet, http: Http, seller: str) -> None:
    paid = await wallet.charge(10_000, "pm_card_createDispute")
    await wallet.payments.transfer(seller, 500, "CNY", group="lists", reference="t", key=paid.id)
    await wallet.payments.pay_out(seller, 200, "CNY", "p", f"{paid.id}/p")
    transfer = (await http.get("/v1/transfers", transfer_group="lists", destination=seller))["data"][0]
    await http.post(f"/v1/transfers/{transfer['id']}/reversals", {"amount": 100})

    for path in ("charges", "refunds", "disputes", "customers", "accounts", "transfers", "events", "payment_methods"):
        assert (await http.get(f"/v1/{path}"))["object"] == "list"
    assert len((await http.get("/v1/payouts", seller, status="pending"))["data"]) == 1
    assert (await http.get("/v1/payouts", seller, status="paid"))["data"] == []
    reversals = (await http.get(f"/v1/transfers/{transfer['id']}/reversals"))["data"]
    one = await http.get(f"/v1/transfers/{transfer['id']}/reversals/{reversals[0]['id']}")
    assert (one["amount"], one["transfer"]) == (100, transfer["id"])
    whole = await http.get(f"/v1/transfers/{transfer['id']}", **{"expand[]": ["destination", "destination_payment"]})
    assert (whole["destination"]["id"], whole["amount_reversed"]) == (seller, 100)
    assert (await http.get(f"/v1/accounts/{seller}/external_accounts"))["data"][0]["last4"] == "6789"
    assert (await http.get("/v1/account"))["payouts_enabled"]


async def test_objects_can_be_renamed_and_described(wallet: Wallet, http: Http, seller: str) -> None:
    paid = await wallet.charge(10_000)
    refund = await http.post("/v1/refunds", {"payment_intent": paid.id, "amount": 100})
    transfer = await wallet.payments.transfer(seller, 500, "CNY", group="g", reference="t", key=paid.id)
    payout = await wallet.payments.pay_out(seller, 200, "CNY", "p", f"{paid.id}/p")
    endpoint = await http.post(
        "/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/none", "enabled_events[]": "refund.failed"}
    )

    places = {
        f"/v1/refunds/{refund['id']}": None,
        f"/v1/transfers/{transfer.id}": None,
        f"/v1/payouts/{payout.id}": seller,
        f"/v1/webhook_endpoints/{endpoint['id']}": None,
        f"/v1/accounts/{seller}": None,
    }
    for path, account in places.items():
        await http.post(path, {"metadata[note]": "seen"}, account)
        assert (await http.get(path, account))["metadata"]["note"] == "seen"
    await http.ask("DELETE", f"/v1/webhook_endpoints/{endpoint['id']}")
    customer = await http.customer()
    deleted = await http.ask("DELETE", f"/v1/customers/{customer}")

    assert deleted.json()["deleted"] is True
    assert (await http.ask("GET", f"/v1/customers/{customer}")).status_code == 404
