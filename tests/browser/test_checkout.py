"""A new card is entered at the payment provider, never with us; saved there, it pays, and who sold takes the money."""

import pytest
from playwright.async_api import Browser, expect

from market.demo.seed import BUYER
from tests.browser.people import VIEWPORTS, Person, arrive, newcomer, of_data, other, sells
from tests.stack import Running

SECURE = "4000 0000 0000 3220"


async def _pay(person: Person, number: str) -> None:
    """Enter a card on the provider's page, save it, and confirm at the bank."""
    page = person.page
    assert not page.url.startswith(person.market.web), "card entry never touches our pages"
    await page.get_by_label("Card number").fill(number)
    await page.get_by_label("Expiry (month/year)").fill("12/34")
    await page.get_by_label("Security code").fill("123")
    await page.get_by_label("Save this card for next time").check()
    await page.get_by_role("button", name="Pay").click()
    await page.get_by_role("button", name="Confirm payment").click()


async def _withdrawn(seller: Person, amount: str) -> None:
    """What a sale brought goes to the bank that the seller names at the provider, which asks who they are first."""
    page = seller.page
    await seller.open("/wallet")
    available = page.get_by_test_id("wallet-available")
    await expect(available).to_have_attribute("data-minor", amount.replace(".", ""), timeout=30_000)
    await page.fill("#withdraw-amount", amount)
    await page.get_by_test_id("withdraw").click()
    await page.wait_for_url("**/onboarding/**")
    await page.fill("#holder", "Seller")
    await page.locator("form button").click()
    await page.wait_for_url(f"{seller.market.web}/**")
    await seller.open("/wallet")
    await page.fill("#withdraw-amount", amount)
    await page.get_by_test_id("withdraw").click()
    await expect(available).to_have_attribute("data-minor", "0")


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_new_card_with_3d_secure_fills_the_wallet_then_buys_and_the_seller_is_paid(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    symbol = of_data("CMCC")
    seller = await arrive(browser, market, viewport=other(viewport))
    buyer = await arrive(browser, market, viewport=viewport)
    await seller.sign_in(newcomer(fitting=sells).msisdn)
    await buyer.sign_in(BUYER[2])
    page = buyer.page

    await buyer.open("/wallet")
    had = int(await page.get_by_test_id("wallet-available").get_attribute("data-minor") or 0)
    await page.fill("#top-up-amount", "50.00")
    await page.select_option("#top-up-card", "checkout")
    await page.get_by_test_id("top-up").click()
    await page.wait_for_url("**/checkout/*")
    await _pay(buyer, SECURE)

    await page.wait_for_url("**/wallet?topped=succeeded")
    await expect(page.get_by_test_id("wallet-available")).to_have_attribute("data-minor", str(had + 5_000))
    await page.get_by_text("Your saved cards").click()
    await expect(page.get_by_test_id("saved-card")).to_have_text("Visa ···· 3220 · 12/34")

    # The card that was saved there holds the money for a purchase; its bank asks once more.
    await seller.open(f"/instruments/{symbol}")
    await seller.place("sell", lots=10, price="1.40")
    await buyer.open(f"/instruments/{symbol}?mode=pro")
    await page.locator("label:has(#ticket-side-buy)").click()
    await page.fill("#ticket-lots", "10")
    await page.fill("#ticket-price", "1.40")
    await page.locator("label:has(#ticket-payment-card)").click()
    await page.select_option("#ticket-card", label="Visa ···· 3220 · 12/34")
    await page.get_by_test_id("ticket-submit-buy").click()
    await page.get_by_role("button", name="Confirm payment").click()
    await page.wait_for_url("**/instruments/*placed=*")
    await _withdrawn(seller, "13.30")

    # Whoever removes a card is not offered it again.
    await buyer.open("/wallet")
    await page.get_by_text("Your saved cards").click()
    await page.get_by_test_id("forget-card").click()
    await page.wait_for_url("**/wallet?card=removed")
    await expect(page.get_by_test_id("saved-card")).to_have_count(0)
    await seller.leave()
    await buyer.leave()
