"""The pages as a browser without script uses them, and the parts that htmx asks for."""

import re
from typing import Any

import pytest
from litestar import Litestar

from settlement.buy_in_tables import BuyInRow
from tests.pages.conftest import Browser

COIN = "/instruments/COIN"


async def test_a_stranger_sees_the_market_and_the_way_in(browser: Browser) -> None:
    await browser.get("/")

    assert 'data-testid="instrument-CMCC-CN-3001"' in browser.text
    assert 'href="/sign-in"' in browser.text
    assert "Content-Security-Policy".lower() in browser.page.headers  # type: ignore[union-attr]


async def test_the_market_can_be_searched_and_filtered(browser: Browser) -> None:
    await browser.get("/market?q=mobile nationwide")
    assert "instrument-CMCC-CN-3001" in browser.text
    assert "instrument-COIN" not in browser.text

    await browser.get("/market?carrier=COIN")
    assert "instrument-COIN" in browser.text
    assert "instrument-CMCC-CN-3001" not in browser.text

    await browser.get("/market?q=nonsense")
    assert 'data-testid="empty"' in browser.text


async def test_htmx_gets_the_part_that_it_swaps_and_nothing_more(browser: Browser) -> None:
    await browser.get("/market?q=coins", htmx=True)

    assert "<html" not in browser.text
    assert "instrument-COIN" in browser.text
    assert "HX-Request" in browser.page.headers["vary"]  # type: ignore[union-attr]


@pytest.mark.parametrize("path", ["/orders", "/trades", "/wallet", "/coins", "/partner", "/data", "/stream"])
async def test_what_is_ones_own_asks_for_a_sign_in_and_comes_back(browser: Browser, path: str) -> None:
    response = await browser.get(path)

    assert response.url.path == "/sign-in"
    assert f'name="next" value="{path}"' in response.text


@pytest.mark.parametrize("path", ["/officer", "/officer/report", "/officer/report.csv", "/officer/report.xlsx"])
async def test_a_member_is_no_officer(signed_in: Any, path: str) -> None:
    browser = await signed_in()

    assert (await browser.get(path)).status_code == 403


@pytest.mark.parametrize("path", ["/", COIN, "/orders", "/trades", "/wallet", "/coins", "/data"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_every_page_of_a_member_answers_in_both_languages(signed_in: Any, path: str, language: str) -> None:
    browser = await signed_in()

    response = await browser.get(path, language=language)

    assert response.status_code == 200
    assert f'<html lang="{language}"' in response.text
    assert response.headers["content-language"] == language


async def test_a_partners_page_is_for_partners(signed_in: Any) -> None:
    assert (await (await signed_in()).get("/partner")).status_code == 403
    assert (await (await signed_in(kind="partner")).get("/partner")).status_code == 200


async def test_a_choice_of_language_theme_and_colours_is_kept(browser: Browser) -> None:
    await browser.get("/")

    for name, value in {"locale": "zh_CN", "theme": "dark", "trend": "green-up"}.items():
        await browser.send("/preferences", {name: value})

    assert 'lang="zh-CN" data-theme="dark" data-trend="green-up"' in browser.text


async def test_a_choice_that_does_not_exist_is_ignored(browser: Browser) -> None:
    await browser.get("/")

    await browser.send("/preferences", locale="tlh", back="//elsewhere.example")

    assert browser.page.url.path == "/"  # type: ignore[union-attr]
    assert 'lang="en"' in browser.text


async def test_red_is_up_in_chinese_and_green_in_english(browser: Browser) -> None:
    assert 'data-trend="red-up"' in (await browser.get("/", language="zh")).text
    assert 'data-trend="green-up"' in (await browser.get("/")).text


async def test_a_number_that_is_none_is_refused_beside_its_field(browser: Browser) -> None:
    await browser.get("/sign-in?next=/wallet")

    response = await browser.send("/sign-in", phone="12")

    assert response.status_code == 400
    assert 'id="phone-error"' in response.text
    assert 'value="12"' in response.text
    assert 'name="next" value="/wallet"' in response.text


async def test_a_wrong_password_says_so_and_keeps_the_login(browser: Browser) -> None:
    await browser.get("/officer/sign-in")

    response = await browser.send("/officer/sign-in", login="nobody", password="wrong")

    assert response.status_code == 401
    assert "Login or password is wrong." in response.text
    assert 'value="nobody"' in response.text
    assert 'wrong"' not in response.text


async def test_a_sale_is_placed_seen_changed_and_cancelled_without_script(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get(COIN + "?side=sell&price=9.00")

    await browser.send(COIN, lots="5")
    order = re.search(r'data-order="(ord_\d+)"', browser.text)[1]  # type: ignore[index]
    assert "Your order waits in the book." in browser.text

    await browser.get("/orders")
    await browser.send(f"/orders/{order}/amend", price="9.50", lots="4")
    assert "400 coins × CN¥9.50" in browser.text

    await browser.send(f"/orders/{order}/cancel")
    assert 'data-testid="empty"' in browser.text
    await browser.get("/orders?state=cancelled")
    assert order in browser.text
    assert "You cancelled it" in browser.text


async def test_the_same_ticket_sent_twice_places_one_order(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get(COIN + "?side=sell&price=9.00")
    ticket = {**browser.shown[COIN], "lots": "3"}

    await browser.post(COIN, ticket)
    await browser.post(COIN, ticket)

    await browser.get("/orders")
    assert browser.text.count('data-testid="order-row"') == 1


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"lots": ""}, 400, "lots"),
        ({"lots": "1.5"}, 400, "lots"),
        ({"lots": "5", "price": "nothing"}, 400, "price"),
        ({"lots": "5", "price": "99"}, 422, "price"),
        ({"lots": "999999"}, 422, "lots"),
        ({"lots": "5", "time_in_force": "forever"}, 400, "time-in-force"),
        ({"lots": "5", "side": "buy", "payment": "card", "payment_method": ""}, 400, "card"),
    ],
)
async def test_a_refused_ticket_keeps_what_was_typed(
    signed_in: Any, changes: dict[str, str], status: int, field: str
) -> None:
    browser = await signed_in()
    await browser.get(COIN + "?side=sell&price=9.00")
    former = browser.shown[COIN]["key"]

    response = await browser.send(COIN, changes)

    assert response.status_code == status
    assert f'id="ticket-{field}-error"' in response.text
    assert f'value="{changes["lots"]}"' in response.text
    assert browser.shown[COIN]["key"] != former


async def test_htmx_gets_the_refused_ticket_alone(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get(COIN)

    response = await browser.send(COIN, htmx=True, lots="")

    assert response.status_code == 400
    assert "<html" not in response.text
    assert 'id="ticket"' in response.text


async def test_an_order_without_its_token_is_refused(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get(COIN)

    response = await browser.send(COIN, lots="1", _csrf_token="forged")

    assert response.status_code == 403
    assert 'data-testid="problem"' in response.text
    assert 'data-testid="sign-in"' not in response.text  # they are signed in, and nobody says otherwise


async def test_buyer_and_seller_meet_and_follow_the_delivery(signed_in: Any) -> None:
    seller = await signed_in()
    await seller.get(COIN + "?side=sell&price=1.00")
    await seller.send(COIN, lots="2")

    buyer = await signed_in()
    await buyer.get(COIN + "?side=buy&price=1.00")
    await buyer.send(COIN, lots="2")
    assert "Filled: 200 coins." in buyer.text

    await buyer.get("/trades")
    trade = re.search(r'data-trade="(trd_\d+)"', buyer.text)[1]  # type: ignore[index]
    await buyer.get(f"/trades/{trade}")
    assert 'data-testid="step-matched" data-step="reached"' in buyer.text
    assert 'data-testid="step-moved" data-step="waiting"' in buyer.text
    assert "You pay" in buyer.text


async def test_both_sides_see_as_which_trade_theirs_was_bought_in(signed_in: Any, page_app: Litestar) -> None:
    seller, buyer = await signed_in(), await signed_in()
    await seller.get(COIN + "?side=sell&price=1.00")
    await seller.send(COIN, lots="2")
    await buyer.get(COIN + "?side=buy&price=1.00")
    await buyer.send(COIN, lots="2")
    await buyer.get("/trades")
    number = int(re.search(r'data-trade="trd_(\d+)"', buyer.text)[1])  # type: ignore[index]
    async with page_app.state.venue.sessions.begin() as session:
        bought = {"status": "closing", "trade_ids": [number + 1], "advance_minor": 150, "covered_minor": 150}
        session.add(
            BuyInRow(trade_id=number, charges_seller=True, account_id=None, limit_minor=None, ended_at=None, **bought)
        )

    for side in (seller, buyer):
        await side.get(f"/trades/trd_{number}")
        assert f"bought in as trade trd_{number + 1}." in side.text
    assert "more, which you bear" in seller.text
    assert "more, which you bear" not in buyer.text


async def test_somebody_elses_trade_or_order_does_not_exist(signed_in: Any) -> None:
    browser = await signed_in()

    assert (await browser.get("/trades/trd_999999999")).status_code == 404
    assert (await browser.get("/trades/trd_-1")).status_code == 404
    assert (
        await browser.post("/orders/ord_1/cancel", {**browser.shown["/preferences"], "key": "a1"})
    ).status_code == 404


async def test_the_quote_shows_fee_and_net_before_anything_is_sent(signed_in: Any) -> None:
    browser = await signed_in()

    await browser.get(f"{COIN}/quote?side=sell&type=limit&lots=10&price=2.00", htmx=True)

    assert "CN¥20.00" in browser.text
    assert "−CN¥1.00" in browser.text
    assert "CN¥19.00" in browser.text


async def test_a_buyer_sees_what_the_carrier_itself_would_ask(browser: Browser) -> None:
    await browser.get("/instruments/CMCC-CN-3001/quote?side=buy&type=limit&lots=10&price=4.00", htmx=True)

    shown = dict(re.findall(r'data-testid="quote-([a-z-]+)">([^<]*)<', browser.text))
    assert (shown["total"], shown["top-up"], shown["saving"]) == ("CN¥40.00", "CN¥100.00", "CN¥60.00")


async def test_another_candle_width_is_the_chart_alone(browser: Browser) -> None:
    response = await browser.client.get(
        f"{COIN}?span=week", headers={"HX-Request": "true", "HX-Target": "section#chart"}
    )

    assert "<html" not in response.text
    assert 'id="ticket' not in response.text
    assert 'span=week" hx-get' in response.text


async def test_a_cancel_that_is_refused_is_told_beside_the_list_or_over_the_page(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get("/orders")
    token = browser.shown["/preferences"]

    plain = await browser.post("/orders/ord_1/cancel", {**token, "key": "cancel1v1"})
    assert plain.status_code == 404
    assert 'data-testid="notice-bad"' in plain.text

    with_script = await browser.post("/orders/ord_1/cancel", {**token, "key": "cancel1v1"}, htmx=True)
    assert with_script.headers["hx-retarget"] == "#toast"


async def test_candles_come_as_plain_figures(browser: Browser) -> None:
    response = await browser.get(f"{COIN}/candles?period=15m")

    assert response.headers["content-type"] == "application/json"
    assert all(len(candle) == 5 for candle in response.json())


async def test_a_gift_of_coins_arrives_once(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get("/coins")

    response = await browser.send("/coins/gifts", phone="nonsense", coins="10")

    assert response.status_code == 400
    assert 'id="gift-phone-error"' in response.text
    assert 'value="nonsense"' in response.text


async def test_the_statement_is_a_file_too(signed_in: Any) -> None:
    browser = await signed_in(money_minor=12_345)

    response = await browser.get("/wallet/statement.csv")

    assert response.content.startswith(b"\xef\xbb\xbfat,kind,what,reference")
    assert "topped_up" in response.text
    assert ",123.45,0.00,0.00,123.45,CNY" in response.text


async def test_a_withdrawal_above_the_balance_is_refused_beside_its_amount(signed_in: Any) -> None:
    browser = await signed_in()
    await browser.get("/wallet")

    response = await browser.send("/wallet/withdraw", amount="0.001")

    assert response.status_code == 400
    assert 'id="withdraw-amount-error"' in response.text


async def test_a_partners_key_is_shown_once(signed_in: Any) -> None:
    browser = await signed_in(kind="partner")
    await browser.get("/partner")

    await browser.send("/partner/keys", name="shop")
    key = re.search(r'data-testid="api-key">(sf_[^<]+)<', browser.text)[1]  # type: ignore[index]

    await browser.get("/partner")
    assert key not in browser.text
    assert "shop" in browser.text


async def test_a_key_that_was_revoked_says_so(signed_in: Any) -> None:
    browser = await signed_in(kind="partner")
    await browser.get("/partner")
    await browser.send("/partner/keys", name="shop")
    revoke = next(action for action in browser.shown if action.endswith("/revoke"))

    await browser.send(revoke)

    assert "The key no longer works." in browser.text
    assert "Revoked" in browser.text


async def test_a_page_that_does_not_exist_is_a_page(browser: Browser) -> None:
    response = await browser.get("/instruments/NOTHING")

    assert response.status_code == 404
    assert 'data-testid="problem"' in response.text


async def test_a_problem_reaches_htmx_as_a_toast(browser: Browser) -> None:
    response = await browser.get("/instruments/NOTHING", htmx=True)

    assert response.status_code == 404
    assert response.headers["hx-retarget"] == "#toast"
    assert 'role="alert"' in response.text
    assert "<html" not in response.text
