"""The provider's own page for a card: what it takes, what it keeps, and when it is over."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.payment.making import Http, fresh

DONE, BACK = "https://market.example/done?session={CHECKOUT_SESSION_ID}", "https://market.example/back"
TYPED = {"number": "4242 4242 4242 4242", "expiry": "12/34", "code": "123"}


async def opened(http: Http, **changes: str) -> Any:
    form = {
        "mode": "payment",
        "customer": await http.customer(),
        "client_reference_id": "17",
        "line_items[0][price_data][currency]": "cny",
        "line_items[0][price_data][unit_amount]": "5000",
        "line_items[0][price_data][product_data][name]": "Wallet top-up",
        "line_items[0][quantity]": "1",
        "payment_intent_data[metadata][surplusflow_reference]": fresh("ref"),
        "saved_payment_method_options[payment_method_save]": "enabled",
        "success_url": DONE,
        "cancel_url": BACK,
    }
    return await http.post("/v1/checkout/sessions", form | changes)


async def pay(http: Http, session: Any, **changes: str) -> Any:
    return await http.page("POST", urlsplit(session["url"]).path, TYPED | changes)


async def stands(http: Http, session: Any) -> Any:
    return await http.get(f"/v1/checkout/sessions/{session['id']}")


async def test_a_session_says_what_it_was_asked_for(http: Http) -> None:
    session = await opened(http)

    assert (session["status"], session["payment_status"], session["payment_intent"]) == ("open", "unpaid", None)
    assert (session["amount_total"], session["currency"], session["client_reference_id"]) == (5000, "cny", "17")


async def test_a_good_card_completes_it_and_leads_back(http: Http) -> None:
    session = await opened(http)

    answer = await pay(http, session)

    assert answer.status_code == 303
    assert answer.headers["location"] == f"https://market.example/done?session={session['id']}"
    ended = await stands(http, session)
    assert (ended["status"], ended["payment_status"], ended["url"]) == ("complete", "paid", None)
    intent = await http.get(f"/v1/payment_intents/{ended['payment_intent']}")
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 5000)
    assert intent["metadata"]["surplusflow_reference"]


@pytest.mark.parametrize(("save", "kept"), [("yes", 1), ("", 0)])
async def test_a_card_is_kept_only_when_its_owner_says_so(http: Http, save: str, kept: int) -> None:
    session = await opened(http)

    await pay(http, session, save=save)

    cards = (await http.get(f"/v1/customers/{session['customer']}/payment_methods", type="card"))["data"]
    assert len(cards) == kept
    assert all(card["allow_redisplay"] == "always" for card in cards)


@pytest.mark.parametrize("number", ["4000 0000 0000 0002", "1234 1234 1234 1234"])
async def test_a_card_that_does_not_pay_leaves_the_page_open(http: Http, number: str) -> None:
    session = await opened(http)

    answer = await pay(http, session, number=number)

    assert answer.status_code == 402
    assert 'role="alert"' in answer.text
    assert (await stands(http, session))["status"] == "open"
    assert (await pay(http, session)).status_code == 303


async def test_the_bank_is_asked_in_between_and_its_no_leads_back_to_the_page(http: Http) -> None:
    session = await opened(http)
    asked = (await pay(http, session, number="4000000000003220")).headers["location"]
    shown = await http.page("GET", asked)
    assert "https://market.example" in shown.headers["content-security-policy"], "the way back is behind two redirects"

    refused = await http.page("POST", asked, {"answer": "fail"})
    again = await http.page("GET", refused.headers["location"])

    assert again.status_code == 402
    assert (await stands(http, session))["status"] == "open"


async def test_the_bank_says_yes(http: Http) -> None:
    session = await opened(http)
    asked = (await pay(http, session, number="4000000000003220")).headers["location"]

    confirmed = await http.page("POST", asked, {"answer": "confirm"})
    back = await http.page("GET", confirmed.headers["location"])

    assert back.headers["location"].startswith("https://market.example/done")
    assert (await stands(http, session))["status"] == "complete"


async def test_paying_twice_charges_once(http: Http) -> None:
    session = await opened(http)

    answers = [await pay(http, session) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert len((await http.get("/v1/charges", customer=session["customer"]))["data"]) == 1


async def test_an_expired_page_takes_no_card(http: Http) -> None:
    session = await opened(http)

    ended = await http.post(f"/v1/checkout/sessions/{session['id']}/expire")

    assert ended["status"] == "expired"
    assert (await pay(http, session)).status_code == 410
    assert (await http.refused(f"/v1/checkout/sessions/{session['id']}/expire"))["status"] == 400


async def test_its_time_is_over_by_itself(http: Http) -> None:
    session = await opened(http)

    await http.advance(86_401)

    assert (await stands(http, session))["status"] == "expired"


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "subscription"},
        {"line_items[0][price_data][unit_amount]": "100"},
        {"success_url": "javascript:alert(1)"},
        {"expires_at": "1"},
        {"payment_intent_data[setup_future_usage]": "sometimes"},
    ],
)
async def test_a_wrong_wish_is_refused(http: Http, change: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match="error"):
        await opened(http, **change)


async def test_no_page_is_found_under_another_name(http: Http) -> None:
    assert (await http.page("GET", "/checkout/none")).status_code == 410
