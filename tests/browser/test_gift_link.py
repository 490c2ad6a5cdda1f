"""A gift by link between two people."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.people import VIEWPORTS, arrive, newcomer, other
from tests.stack import Running


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_gift_is_made_scanned_and_taken_once(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    giver = await arrive(browser, market, viewport=viewport)
    taker = await arrive(browser, market, viewport=other(viewport))
    await giver.sign_in(newcomer().msisdn)
    await giver.open("/coins")
    await giver.page.get_by_test_id("reward").click()
    await expect(giver.page.get_by_test_id("coins-available")).to_have_attribute("data-coins", "5")

    await giver.open("/gifts")
    await giver.page.fill("#gift-link-coins", "5")
    await giver.page.get_by_test_id("make-gift").click()
    picture = giver.page.get_by_test_id("gift-code")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("image => image.complete && image.naturalWidth > 0")
    address = await giver.page.get_by_test_id("gift-address").input_value()

    # A stranger sees it, signs in, and is led back to it.
    path = address[address.index("/gifts/") :]
    await taker.open(path)
    await expect(taker.page.get_by_test_id("gift-sign-in")).to_be_visible()
    await taker.sign_in(newcomer("CUCC").msisdn)
    await taker.open(path)
    await taker.page.get_by_test_id("claim-gift").click()
    await expect(taker.page.get_by_test_id("gift")).to_have_attribute("data-state", "claimed")
    await taker.open("/coins")
    await expect(taker.page.get_by_test_id("coins-available")).to_have_attribute("data-coins", "5")

    await giver.open(path)
    await expect(giver.page.get_by_test_id("gift")).to_have_attribute("data-state", "claimed")
    await giver.leave()
    await taker.leave()
