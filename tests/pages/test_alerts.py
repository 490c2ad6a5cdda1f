"""The page of alerts: prices that are waited for, what is told by itself, and the quiet hours."""

from collections.abc import Callable
from typing import Any

from tests.pages.conftest import Browser

PAGE = "/alerts"


async def test_a_price_is_waited_for_until_it_is_removed(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    await browser.get(PAGE + "?symbol=COIN")
    await browser.send(PAGE, price="2.50")
    assert browser.text.count('data-testid="price-alert"') == 1

    (removal,) = [action for action in browser.shown if action.endswith("/remove")]
    await browser.send(removal)
    assert 'data-testid="price-alert"' not in browser.text


async def test_a_wrong_price_is_refused_beside_its_field_and_kept(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    await browser.get(PAGE)
    answer = await browser.send(PAGE, price="9999.00")
    assert answer.status_code == 400
    assert "No order can have this price here." in browser.text
    assert browser.shown[PAGE]["price"] == "9999.00"


async def test_what_is_told_by_itself_and_the_quiet_hours_are_kept(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    await browser.get(PAGE)
    here = PAGE + "/setting"
    assert browser.shown[here]["usage"] == "yes"
    fields = {name: value for name, value in browser.shown[here].items() if name != "usage"}
    await browser.post(here, {**fields, "texts": "yes", "quiet_from": "23", "quiet_until": "7"})

    browser.shown.clear()
    await browser.get(PAGE)
    kept = browser.shown[here]
    assert "usage" not in kept
    assert (kept["texts"], kept["quiet_from"], kept["quiet_until"]) == ("yes", "23", "7")
