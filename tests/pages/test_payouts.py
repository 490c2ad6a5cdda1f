"""The page of scheduled payouts: a setting is kept and waits a day; a wrong one is refused beside its field."""

from collections.abc import Callable
from typing import Any

from tests.pages.conftest import Browser

PAGE = "/wallet/payouts"


async def test_a_setting_is_kept_and_takes_effect_after_a_day(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    await browser.get(PAGE)
    assert browser.shown[PAGE]["every"] == "manual"

    await browser.send(PAGE, every="weekly", minimum="50")

    assert browser.shown[PAGE]["every"] == "weekly"
    assert browser.shown[PAGE]["minimum"] == "50.00"
    assert "after 24 hours" in browser.text


async def test_a_minimum_that_cannot_be_withdrawn_is_refused(signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    await browser.get(PAGE)

    response = await browser.send(PAGE, every="daily", minimum="0.10")

    assert response.status_code == 400
    assert "an amount that can be withdrawn" in browser.text
    await browser.get(PAGE)
    assert browser.shown[PAGE]["every"] == "manual"
