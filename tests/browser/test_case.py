"""A trade that went wrong, as both its people see it: the buyer opens a case, the seller answers, both pages change."""

from datetime import UTC, datetime, timedelta

from playwright.async_api import Browser, expect

from market.demo.catalogue import month_ends
from market.demo.seed import BUYER, SELLER
from tests.browser.people import DESKTOP, PHONE, arrive
from tests.stack import Running


async def test_a_buyer_opens_a_case_and_the_seller_answers_it(market: Running, browser: Browser) -> None:
    symbol = f"CMCC-CN-{month_ends(datetime.now(UTC))[0] - timedelta(days=1):%y%m}"
    seller = await arrive(browser, market, viewport=DESKTOP)
    buyer = await arrive(browser, market, viewport=PHONE, is_mobile=True, has_touch=True)
    await seller.sign_in(SELLER[2])
    await buyer.sign_in(BUYER[2])
    await seller.open(f"/instruments/{symbol}")
    await seller.place("sell", lots=1, price="1.20")
    await buyer.open(f"/instruments/{symbol}")
    await buyer.place("buy", lots=1, price="1.20")
    await buyer.open("/trades")
    trade = await buyer.page.get_by_test_id("trade-row").first.get_attribute("data-trade")
    await buyer.open(f"/trades/{trade}")
    await expect(buyer.page.get_by_test_id("tracker")).to_have_attribute("data-state", "settled", timeout=30_000)

    await buyer.page.get_by_test_id("case").click()
    await buyer.page.get_by_label("The data never arrived").check()
    await buyer.page.fill("#case-words", "My phone shows nothing.")
    await buyer.page.get_by_test_id("open-case").click()
    await expect(buyer.page.get_by_test_id("case-state")).to_have_attribute("data-state", "open")

    await seller.open("/notices")
    await seller.page.get_by_test_id("notice").get_by_role("link").first.click()
    await expect(seller.page.get_by_text("My phone shows nothing.")).to_be_visible()
    await seller.page.fill("#case-words", "The carrier has moved it.")
    await seller.page.get_by_test_id("case-say").click()
    await expect(buyer.page.get_by_text("The carrier has moved it.")).to_be_visible(timeout=10_000)

    await buyer.page.get_by_test_id("withdraw-case").click()
    await expect(buyer.page.get_by_test_id("case-state")).to_have_attribute("data-state", "withdrawn")
    await expect(seller.page.get_by_test_id("case-state")).to_have_attribute("data-state", "withdrawn", timeout=10_000)
    await seller.context.close()
    await buyer.context.close()
