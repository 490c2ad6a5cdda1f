"""The ticket's further choices and the orders that come of them, as a browser without script sees and sends them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar

from market.engine.commands import SetState, State
from settlement.accounts import HOUSE
from tests.pages.conftest import Browser
from tests.web.making import a_key
from web.i18n import CLOCK

COIN = "/instruments/COIN"
COIN_ID = 1


async def placed(browser: Browser, **fields: str) -> str:
    """Send the ticket with a few fields filled in; gives the order's id."""
    await browser.get(COIN + f"?side={fields.get('side', 'sell')}&price={fields.get('price', '9.00')}")
    await browser.send(COIN, {"lots": "10", **fields})
    found = re.search(r'data-testid="placed" data-order="(ord_\d+)"', browser.text)
    assert found is not None, re.findall(r'class="error".*?</span>', browser.text)
    return found[1]


def terms(browser: Browser) -> list[str]:
    return re.findall(r'data-testid="order-terms">([^<]*)<', browser.text)


@asynccontextmanager
async def in_state(app: Litestar, state: State) -> AsyncIterator[None]:
    """Bring the market into a state, and open it again."""
    await app.state.venue.gateway.submit(SetState(HOUSE, a_key(), b"", COIN_ID, state))
    yield
    await app.state.venue.gateway.submit(SetState(HOUSE, a_key(), b"", COIN_ID, "open"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "stop", "stop": "0.05", "type": "market"}, "stop, waits for CN¥0.05"),
        ({"kind": "stop", "stop": "0.05", "price": "0.04"}, "stop, waits for CN¥0.05"),
        ({"kind": "iceberg", "display": "2"}, "iceberg, shows 200 coins of 1,000 coins"),
        ({"kind": "all_or_none"}, "all or none"),
        ({"kind": "minimum", "minimum": "3"}, "at least 300 coins at once"),
        ({"kind": "pegged", "offset_side": "above", "offset": "8.00"}, "follows the last price, CN¥8.00 above"),
        ({"falling": "yes", "fall_by": "0.50", "fall_every": "2", "fall_to": "8.00"}, "falls to CN¥8.50 at "),
    ],
)
async def test_each_kind_is_placed_and_told_in_words(signed_in: Any, fields: dict[str, str], words: str) -> None:
    browser = await signed_in()

    order = await placed(browser, **fields)

    assert words in browser.text
    await browser.get("/orders")
    assert any(words in each for each in terms(browser))
    await browser.send(f"/orders/{order}/cancel")
    assert 'data-testid="empty"' in browser.text


async def test_a_pair_is_placed_as_two_orders_that_name_each_other(signed_in: Any) -> None:
    browser = await signed_in()

    order = await placed(browser, kind="pair", stop="0.05", price="9.00")

    await browser.get("/orders")
    assert sorted(len(each.split(" · ")) for each in terms(browser)) == [1, 2]
    assert f"ends with {order}" in browser.text
    await browser.send(f"/orders/{order}/cancel")
    assert 'data-testid="empty"' in browser.text


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"kind": "stop", "stop": ""}, 400, "stop"),
        ({"kind": "stop", "stop": "99"}, 422, "stop"),
        ({"kind": "iceberg", "display": "0"}, 400, "display"),
        ({"kind": "iceberg", "display": "10"}, 422, "display"),
        ({"kind": "minimum", "minimum": "11"}, 422, "minimum"),
        ({"kind": "pegged", "offset_side": "above", "offset": ""}, 400, "offset"),
        ({"kind": "pair", "stop": ""}, 400, "stop"),
        ({"kind": "pair", "stop": "0.05", "time_in_force": "ioc"}, 400, "kind"),
        ({"kind": "pair", "stop": "0.05", "stop_limit": "x"}, 400, "stop-limit"),
        ({"falling": "yes", "fall_by": "", "fall_every": "1", "fall_to": "8"}, 400, "fall-by"),
        ({"falling": "yes", "fall_by": "1", "fall_every": "1000", "fall_to": "8"}, 400, "fall-every"),
        ({"falling": "yes", "fall_by": "1", "fall_every": "1", "fall_to": "9.50"}, 422, "fall-to"),
        ({"time_in_force": "gtd", "expires_at": "tomorrow"}, 400, "expires-at"),
        ({"time_in_force": "gtd", "expires_at": "2020-01-01T00:00"}, 422, "expires-at"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field_and_keeps_what_was_typed(
    signed_in: Any, fields: dict[str, str], status: int, field: str, language: str
) -> None:
    browser = await signed_in()
    await browser.get(COIN + "?side=sell&price=9.00", language=language)

    response = await browser.send(COIN, {"lots": "10", **fields})

    assert response.status_code == status
    assert f'id="ticket-{field}-error"' in response.text
    sent = browser.shown[COIN]
    assert {name: sent.get(name) for name in fields} == fields


async def test_a_time_is_typed_in_beijing_time(signed_in: Any) -> None:
    browser = await signed_in()
    tomorrow = (datetime.now(CLOCK) + timedelta(days=1)).date()

    order = await placed(browser, time_in_force="gtd", expires_at=f"{tomorrow}T09:30")

    await browser.get("/orders")
    assert f'datetime="{tomorrow}T01:30:00+00:00"' in browser.text
    await browser.send(f"/orders/{order}/cancel")


async def test_only_the_orders_of_the_chosen_side_are_cancelled(signed_in: Any) -> None:
    browser = await signed_in()
    kept = await placed(browser, side="buy", price="0.03", payment="wallet")
    ended = await placed(browser)
    await browser.get("/orders/cancel-all?symbol=COIN&side=sell")

    await browser.send("/orders/cancel-all")

    assert kept in browser.text
    assert ended not in browser.text
    await browser.get("/orders/cancel-all")
    await browser.send("/orders/cancel-all")
    assert 'data-testid="empty"' in browser.text


@pytest.mark.parametrize(
    ("state", "words"),
    [("pre_open", "opening auction"), ("auction", "collected"), ("paused", "moved too far")],
)
async def test_while_orders_are_collected_the_ticket_offers_only_what_can_wait(
    signed_in: Any, page_app: Litestar, state: State, words: str
) -> None:
    browser = await signed_in()
    async with in_state(page_app, state):
        await browser.get(COIN + "?mode=pro")

    assert words in re.search(r'data-testid="state-words">([^<]*)<', browser.text)[1]  # type: ignore[index]
    assert 'id="ticket-type-market"' not in browser.text
    assert '<option value="gtc"' in browser.text
    assert '<option value="ioc"' not in browser.text


@pytest.mark.parametrize("state", ["halted", "cancel_only"])
async def test_a_market_that_takes_nothing_says_so_instead_of_a_ticket(
    signed_in: Any, page_app: Litestar, state: State
) -> None:
    browser = await signed_in()
    await browser.get(COIN)
    async with in_state(page_app, state):
        await browser.get(COIN)
        told = browser.text
        response = await browser.post(COIN, {**browser.shown[COIN], "lots": "1", "price": "9.00"})

    assert 'data-testid="ticket-closed"' in told
    assert 'id="ticket"' not in told
    assert response.status_code == 422
    assert 'data-testid="notice-bad"' in response.text


async def test_the_quote_of_a_stop_or_pegged_order_tells_the_worst_it_may_come_to(signed_in: Any) -> None:
    browser = await signed_in()

    for more in ("type=market&kind=stop", "type=limit&kind=pegged"):
        await browser.get(f"{COIN}/quote?side=buy&{more}&lots=10&price=2.00", htmx=True)
        assert "You pay at most" in browser.text
        assert "CN¥100.00" in browser.text
