"""The autopilot at a browser: limits, what it will do next, and a pause that takes back at once what it had on sale."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.people import DESKTOP, PHONE, VIEWPORTS, Person, arrive, has_to_spare, newcomer
from tests.stack import Running


async def switched_on(person: Person) -> None:
    """Let it sell whatever lies beyond a gigabyte, at any price from a yuan on."""
    await person.open("/autopilot")
    await person.page.fill("#pilot-down", "1000")
    await person.page.fill("#pilot-floor", "1.00")
    await person.page.get_by_test_id("pilot-save").click()
    await expect(person.page.get_by_test_id("pilot")).to_have_attribute("data-state", "on")


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_limits_are_set_and_what_it_will_do_is_shown_until_it_is_off(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport)
    page = person.page
    await person.sign_in(newcomer("CUCC", has_to_spare).msisdn)

    # A limit that is none is said beside its field, and what was typed stays.
    await person.open("/autopilot")
    await page.fill("#pilot-down", "a little")
    await page.fill("#pilot-floor", "1.00")
    await page.get_by_test_id("pilot-save").click()
    await expect(page.locator("#pilot-down-error")).to_be_visible()
    await expect(page.locator("#pilot-down")).to_have_value("a little")
    await expect(page.locator("#pilot-floor")).to_have_value("1.00")

    await page.fill("#pilot-down", "2000000")
    await page.get_by_test_id("pilot-save").click()
    await expect(page.locator("#pilot-down-error")).to_contain_text("that a line could have")
    await page.fill("#pilot-down", "900000")
    await page.get_by_test_id("pilot-save").click()
    await expect(page.get_by_test_id("pilot")).to_have_attribute("data-state", "on")
    await expect(page.get_by_test_id("next-nothing")).to_be_visible()
    await page.locator("label:has(#pilot-buys)").click()
    await page.get_by_test_id("pilot-save").click()
    await expect(page.locator("#pilot-buys")).to_be_checked()
    await expect(page.locator("#pilot-down")).to_have_value("900000")

    await page.get_by_test_id("pilot-paused").click()
    await expect(page.get_by_test_id("pilot")).to_have_attribute("data-state", "paused")
    await page.get_by_test_id("pilot-on").click()
    await expect(page.get_by_test_id("pilot")).to_have_attribute("data-state", "on")
    await page.get_by_test_id("pilot-off").click()
    await expect(page.get_by_test_id("pilot")).to_have_count(0)
    await person.open("/")
    await expect(page.get_by_test_id("autopilot-card")).to_contain_text("off")
    await person.leave()


async def test_it_sells_by_itself_and_a_pause_on_another_device_takes_it_back_at_once(
    market: Running, browser: Browser
) -> None:
    """One member at two devices: the phone switches it on and pauses it, the desk looks on and switches it off."""
    somebody = newcomer("CUCC", has_to_spare).msisdn
    phone = await arrive(browser, market, viewport=PHONE)
    desk = await arrive(browser, market, viewport=DESKTOP)
    await phone.sign_in(somebody)
    await desk.sign_in(somebody)

    await switched_on(phone)
    await expect(phone.page.get_by_test_id("next-moves")).to_contain_text("on sale")

    # It looks every half minute at what has changed; the bell of an open page tells it.
    await desk.open("/orders")
    await expect(desk.page.get_by_test_id("order-row")).to_have_count(1, timeout=60_000)
    await expect(desk.page.get_by_test_id("bell")).not_to_have_attribute("data-unread", "0")

    await phone.page.get_by_test_id("pilot-paused").click()
    await expect(phone.page.get_by_test_id("pilot")).to_have_attribute("data-state", "paused")
    await expect(desk.page.get_by_test_id("order-row")).to_have_count(0)
    for each in (phone, desk):
        await each.open("/autopilot")
        sold = each.page.locator('[data-testid="pilot-action"][data-kind="sell"]')
        await expect(sold).to_have_attribute("data-outcome", "done")
        await expect(each.page.locator('[data-testid="pilot-action"][data-kind="cancel"]')).to_have_count(1)
    await desk.page.get_by_test_id("pilot-off").click()
    await expect(desk.page.get_by_test_id("pilot")).to_have_count(0)
    await phone.leave()
    await desk.leave()
