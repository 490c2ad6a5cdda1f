"""A price that somebody waits for: the bell of an open page rings, the notice is read, and what is told is set."""

import pytest
from playwright.async_api import Browser, expect

from market.demo.seed import SELLER
from tests.browser.people import VIEWPORTS, arrive, newcomer, other
from tests.stack import Running

COIN = "/instruments/COIN"


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_whoever_waits_for_a_price_is_told_when_somebody_offers_it(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    waiter = await arrive(browser, market, viewport=viewport)
    seller = await arrive(browser, market, viewport=other(viewport))
    page, bell = waiter.page, waiter.page.get_by_test_id("bell")
    await waiter.sign_in(newcomer("CUCC").msisdn)
    await seller.sign_in(SELLER[2])

    await waiter.open("/alerts?symbol=COIN")
    await page.fill("#alert-price", "soon")
    await page.get_by_test_id("add-alert").click()
    await expect(page.locator("#alert-price-error")).to_be_visible()
    await expect(page.locator("#alert-price")).to_have_value("soon")
    for price in ("1.01", "0.50"):
        await page.select_option("#alert-symbol", "COIN")
        await page.fill("#alert-price", price)
        await page.get_by_test_id("add-alert").click()
    waiting = page.get_by_test_id("price-alert")
    await expect(waiting).to_have_count(2)
    await waiting.filter(has_text="0.50").get_by_role("button").click()
    await expect(waiting).to_have_count(1)

    # The page stays open, and its bell and list change by themselves.
    await waiter.open("/notices")
    read = page.get_by_test_id("read-all")
    if await read.count():
        await read.click()
    await expect(bell).to_have_attribute("data-unread", "0")
    await seller.open(COIN)
    order = await seller.place("sell", lots=1, price="1.00")
    await expect(bell).to_have_attribute("data-unread", "1", timeout=30_000)
    news = page.get_by_test_id("notice").first
    await expect(news).to_contain_text("1.00")
    await read.click()
    await expect(bell).to_have_attribute("data-unread", "0")
    await expect(news).to_be_visible()

    # It is told once.
    await waiter.open("/alerts")
    await expect(waiting).to_have_count(0)
    await seller.open("/orders")
    await seller.page.locator(f'[data-order="{order}"]').get_by_test_id("cancel").click()
    await expect(seller.page.locator(f'[data-testid="order-row"][data-order="{order}"]')).to_have_count(0)
    await waiter.leave()
    await seller.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_what_is_told_and_when_is_kept(market: Running, browser: Browser, viewport: dict[str, int]) -> None:
    person = await arrive(browser, market, viewport=viewport)
    page = person.page
    await person.sign_in(newcomer("CUCC").msisdn)
    await person.open("/alerts")
    texts, usage = page.locator("input[name=texts]"), page.locator("input[name=usage]")
    await expect(texts).not_to_be_checked()

    await page.locator("label:has(input[name=texts])").click()
    await page.locator("label:has(input[name=usage])").click()
    await page.select_option("#quiet_from", "21")
    await page.get_by_test_id("save-alerts").click()
    await expect(page.get_by_test_id("notice-good")).to_be_visible()

    await person.open("/alerts")
    await expect(texts).to_be_checked()
    await expect(usage).not_to_be_checked()
    await expect(page.locator("#quiet_from")).to_have_value("21")
    await person.leave()
