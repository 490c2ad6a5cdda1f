"""The home page at a browser: a sale in one tap and its undo, a purchase in two, an empty wallet filled in between."""

import pytest
from playwright.async_api import Browser, Page, expect

from market.demo.seed import BUYER
from tests.browser.people import VIEWPORTS, Person, arrive, has_to_spare, newcomer, other
from tests.stack import Running

SLOW_MS = 30_000
"""For whatever asks carrier and engine on a busy machine."""


async def a_seller(
    browser: Browser, market: Running, viewport: dict[str, int], carrier: str = "CMCC", **more: bool
) -> Person:
    """Somebody with data to spare, whom no other run has sold for."""
    seller = await arrive(browser, market, viewport=viewport, **more)
    await seller.sign_in(newcomer(carrier, has_to_spare).msisdn)
    return seller


async def sell_in_one_tap(page: Page) -> str:
    """Tap what is suggested; gives the order's id."""
    await page.get_by_test_id("sell-now").first.click(timeout=SLOW_MS)
    sold = page.get_by_test_id("sold")
    await expect(sold).to_have_attribute("data-state", "open", timeout=SLOW_MS)
    return str(await sold.get_attribute("data-order"))


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_sale_in_one_tap_is_undone_by_another_and_sold_to_who_buys_in_two(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    seller = await a_seller(browser, market, viewport)
    buyer = await arrive(browser, market, viewport=other(viewport))
    await buyer.sign_in(BUYER[2])

    # Undone before anybody came.
    await seller.open("/")
    first = await sell_in_one_tap(seller.page)
    await seller.page.get_by_test_id("undo").click()
    await expect(seller.page.get_by_test_id("undone")).to_have_attribute("data-filled", "0", timeout=SLOW_MS)

    # The carrier gives it back, and the page shows it without being loaded again. On sale once more, somebody else
    # buys it in two taps at the price that was shown.
    await expect(seller.page.get_by_test_id("sell-now").first).to_be_visible(timeout=SLOW_MS)
    second = await sell_in_one_tap(seller.page)
    assert second != first
    await buyer.open("/")
    await buyer.page.get_by_test_id("buy-1000").click()
    offer = buyer.page.get_by_test_id("offer")
    await expect(offer).to_be_visible(timeout=SLOW_MS)
    total = int(str(await offer.get_attribute("data-total")))
    had = await in_wallet(buyer)
    await buyer.page.get_by_test_id("buy-now").click()
    await expect(buyer.page.get_by_test_id("bought")).to_have_attribute("data-filled", "10", timeout=SLOW_MS)
    assert 0 < had - await in_wallet(buyer) <= total

    # Too late to undo all of it: what was sold stays sold, the rest comes back.
    await seller.page.get_by_test_id("undo").click()
    undone = seller.page.get_by_test_id("undone")
    await expect(undone).to_have_attribute("data-filled", "10", timeout=SLOW_MS)
    await expect(undone).to_have_attribute("data-state", "cancelled")
    await seller.leave()
    await buyer.leave()


async def in_wallet(person: Person) -> int:
    """Minor units that the person can spend, in a tab of its own."""
    page = await person.context.new_page()
    await page.goto(f"{person.market.web}/wallet")
    found = await page.get_by_test_id("wallet-available").get_attribute("data-minor")
    await page.close()
    return int(str(found))


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_an_empty_wallet_is_filled_on_the_way_and_the_offer_is_back(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    seller = await a_seller(browser, market, other(viewport))
    buyer = await arrive(browser, market, viewport=viewport)
    await seller.open("/")
    await sell_in_one_tap(seller.page)
    await buyer.sign_in(newcomer().msisdn)
    page = buyer.page

    await page.get_by_test_id("buy-5000").click()
    await page.get_by_test_id("fill-wallet").locator("summary").click(timeout=SLOW_MS)
    await page.get_by_test_id("fill").click()

    await expect(page.get_by_test_id("offer")).to_be_visible(timeout=SLOW_MS)
    await expect(page.locator("#pay-wallet")).to_be_checked()
    await expect(page.get_by_test_id("fill-wallet")).to_have_count(0)
    await seller.page.get_by_test_id("undo").click()
    await expect(seller.page.get_by_test_id("undone")).to_be_visible(timeout=SLOW_MS)
    await seller.leave()
    await buyer.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_selling_undoing_and_asking_for_a_price_work_without_script(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    seller = await a_seller(browser, market, viewport, "CUCC", java_script_enabled=False)

    await seller.open("/data")
    await sell_in_one_tap(seller.page)
    await seller.page.get_by_test_id("buy-500").click()
    await expect(seller.page.get_by_test_id("no-offer")).to_be_visible(timeout=SLOW_MS)  # but their own
    await seller.page.go_back()
    await seller.page.get_by_test_id("undo").click()

    await expect(seller.page.get_by_test_id("undone")).to_have_attribute("data-filled", "0", timeout=SLOW_MS)
    await seller.leave()
