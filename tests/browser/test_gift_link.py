"""A gift by link between two people, and data given to the tank."""

from datetime import UTC, datetime, timedelta

from playwright.async_api import Browser, expect

from market.demo.catalogue import month_ends
from tests.browser.people import DESKTOP, PHONE, arrive
from tests.stack import Running

GIVER = "+8613901000122"
TAKER = "+8613901000123"


async def test_a_gift_is_made_scanned_and_taken_once(market: Running, browser: Browser) -> None:
    giver = await arrive(browser, market, viewport=PHONE, is_mobile=True, has_touch=True)
    taker = await arrive(browser, market, viewport=DESKTOP)
    await giver.sign_in(GIVER)
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
    await taker.sign_in(TAKER)
    await taker.open(path)
    await taker.page.get_by_test_id("claim-gift").click()
    await expect(taker.page.get_by_test_id("gift")).to_have_attribute("data-state", "claimed")
    await taker.open("/coins")
    await expect(taker.page.get_by_test_id("coins-available")).to_have_attribute("data-coins", "5")

    await giver.open(path)
    await expect(giver.page.get_by_test_id("gift")).to_have_attribute("data-state", "claimed")


async def test_spare_data_is_given_to_the_tank(market: Running, browser: Browser) -> None:
    giver = await arrive(browser, market, viewport=PHONE, is_mobile=True, has_touch=True)
    await giver.sign_in("+8613800138001")
    last_day = month_ends(datetime.now(UTC))[0] - timedelta(days=1)
    symbol = f"CMCC-CN-{last_day:%y%m}"

    await giver.open("/tank")
    await giver.page.select_option("#give-symbol", symbol)
    await giver.page.fill("#give-amount", "300")
    await giver.page.get_by_test_id("tank-give").click()

    level = giver.page.locator(f'[data-testid="tank-level"][data-symbol="{symbol}"]')
    await expect(level).to_have_attribute("data-mb", "300")
    await expect(giver.page.get_by_test_id("tank-given")).to_have_count(1)
