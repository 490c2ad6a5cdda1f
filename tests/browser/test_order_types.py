"""The ticket's further choices in a real browser: fields come and go with what is chosen, and a price can fall."""

import pytest
from playwright.async_api import Browser, expect

from market.demo.seed import SELLER
from tests.browser.people import VIEWPORTS, Person, arrive, of_data
from tests.stack import Running


async def a_seller(browser: Browser, market: Running, viewport: dict[str, int]) -> Person:
    """The seller of the demonstration at the ticket of their own data, about to sell."""
    person = await arrive(browser, market, viewport=viewport)
    await person.sign_in(SELLER[2])
    await person.open(f"/instruments/{of_data('CMCC')}?mode=pro")
    await person.page.locator("label:has(#ticket-side-sell)").click()
    return person


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_fields_appear_only_for_what_was_chosen(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await a_seller(browser, market, viewport)
    page = person.page

    await expect(page.locator("#ticket-kind")).to_be_hidden()
    await page.get_by_test_id("ticket-more").click()
    for kind, shown in {
        "plain": set[str](),
        "stop": {"stop"},
        "pair": {"stop", "stop-limit"},
        "iceberg": {"display"},
        "minimum": {"minimum"},
        "pegged": {"offset-side"},
    }.items():
        await page.select_option("#ticket-kind", kind)
        for field in ("stop", "stop-limit", "display", "minimum", "offset-side"):
            await expect(page.locator(f"#ticket-{field}")).to_be_visible(visible=field in shown)
    await expect(page.locator("#ticket-price")).to_be_hidden()
    await expect(page.locator("#ticket-expires-at")).to_be_hidden()
    await page.select_option("#ticket-time-in-force", "gtd")
    await expect(page.locator("#ticket-expires-at")).to_be_visible()
    await expect(page.locator("#ticket-fall-by")).to_be_hidden()
    await page.locator("label:has(#ticket-side-buy)").click()
    await expect(page.locator("#ticket-falling")).to_be_hidden()
    await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_seller_lets_the_price_fall_until_it_sells(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await a_seller(browser, market, viewport)
    page = person.page

    await page.locator("label:has(#ticket-falling)").click()
    for field, value in {"fall-by": "0.10", "fall-every": "2", "fall-to": "2.00"}.items():
        await page.fill(f"#ticket-{field}", value)
    order = await person.place("sell", lots=3, price="3.00")

    await expect(page.get_by_test_id("placed-terms")).to_contain_text("falls to CN¥2.90 at")
    await person.open("/orders")
    await expect(page.locator(f'[data-order="{order}"]').get_by_test_id("order-terms")).to_contain_text(
        "down to CN¥2.00"
    )
    await page.select_option("#cancel-side", "sell")
    await page.get_by_test_id("cancel-all").click()
    await page.get_by_role("button", name="Cancel them").click()
    await expect(page.get_by_test_id("empty")).to_be_visible()
    await person.leave()
