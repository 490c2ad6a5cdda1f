"""Giving data away: to the tank and out of it again, to charity, and by what becomes of a sale that nobody takes."""

from datetime import datetime, timedelta

import pytest
from playwright.async_api import Browser, Page, expect

from market.vault import mask
from tests.browser.people import VIEWPORTS, Person, arrive, newcomer, of_data, other, sells
from tests.stack import Running
from web.i18n import CLOCK

SHORT_SALE_SECONDS = 5


async def given(person: Person, symbol: str, amount_mb: int, to: str) -> None:
    page = person.page
    await person.open("/tank")
    await page.locator(f"label:has(#give-to-{to})").click()
    await page.select_option("#give-symbol", symbol)
    await page.fill("#give-amount", str(amount_mb))
    await page.get_by_test_id("tank-give").click()
    await expect(page.get_by_test_id("notice-good")).to_be_visible()


async def in_the_tank(page: Page, symbol: str) -> int:
    level = page.locator(f'[data-testid="tank-level"][data-symbol="{symbol}"]')
    return int(str(await level.get_attribute("data-mb"))) if await level.count() else 0


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_what_one_gives_to_the_tank_another_takes(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    symbol = of_data("CTCC")
    giver = await arrive(browser, market, viewport=viewport)
    taker = await arrive(browser, market, viewport=other(viewport))
    await giver.sign_in(newcomer("CTCC", sells).msisdn)
    await taker.sign_in(newcomer("CTCC").msisdn)
    await taker.open("/tank")
    before = await in_the_tank(taker.page, symbol)

    await given(giver, symbol, 300, "tank")
    assert await in_the_tank(giver.page, symbol) == before + 300
    await expect(giver.page.get_by_test_id("tank-given")).to_have_count(1)

    # More than a line may take in a month is refused beside what was typed; less arrives.
    await taker.open("/tank")
    await taker.page.select_option("#take-symbol", symbol)
    await taker.page.fill("#take-amount", "9000")
    await taker.page.get_by_test_id("tank-take").click()
    await expect(taker.page.locator("#take-amount-error")).to_be_visible()
    await expect(taker.page.locator("#take-amount")).to_have_value("9000")
    await taker.page.fill("#take-amount", "300")
    await taker.page.get_by_test_id("tank-take").click()
    await expect(taker.page.get_by_test_id("tank-got")).to_have_count(1)
    await expect(taker.page.get_by_test_id("tank-got")).to_have_attribute("data-state", "done")  # by itself
    assert await in_the_tank(taker.page, symbol) == before
    await giver.leave()
    await taker.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_data_is_given_to_charity(market: Running, browser: Browser, viewport: dict[str, int]) -> None:
    giver = await arrive(browser, market, viewport=viewport)
    await giver.sign_in(newcomer("CTCC", sells).msisdn)

    await given(giver, of_data("CTCC"), 100, "charity")

    await expect(giver.page.get_by_test_id("tank-given")).to_contain_text("harity")
    await giver.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_what_becomes_of_unsold_data_is_chosen_with_the_sale(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    seller = await arrive(browser, market, viewport=viewport)
    page, friend = seller.page, newcomer("CTCC").msisdn
    await seller.sign_in(newcomer("CTCC", sells).msisdn)
    await seller.open(f"/instruments/{of_data('CTCC')}?side=sell&price=2.20")
    await page.fill("#ticket-amount", "0.1")

    # The friend's number is asked for only where a friend shall have it; somebody at another carrier can't.
    await expect(page.locator("#destiny-friend")).to_be_hidden()
    await page.select_option("#destiny", "friend")
    await page.fill("#destiny-friend", newcomer("CUCC").msisdn)
    await page.get_by_test_id("ticket-submit-sell").click()
    await expect(page.locator("#destiny-friend-error")).to_be_visible()
    await expect(page.locator("#destiny")).to_have_value("friend")
    await page.fill("#destiny-friend", friend)
    await page.get_by_test_id("ticket-submit-sell").click()
    order = str(await page.get_by_test_id("placed").get_attribute("data-order"))

    await seller.open("/tank")
    row = page.get_by_test_id("destiny-row")
    await expect(row).to_have_attribute("data-state", "chosen")
    await expect(row).to_contain_text(mask(friend))

    # Whoever cancels has the data again.
    await seller.open("/orders")
    await page.locator(f'[data-order="{order}"]').get_by_test_id("cancel").click()
    await expect(page.locator(f'[data-testid="order-row"][data-order="{order}"]')).to_have_count(0)
    await seller.open_until("/tank", page.locator('[data-testid="destiny-row"][data-state="given_back"]'))
    await seller.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_unsold_data_goes_where_its_seller_wanted_when_the_sale_ends(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    symbol = of_data("CTCC")
    seller = await arrive(browser, market, viewport=viewport)
    onlooker = await arrive(browser, market, viewport=other(viewport))
    await seller.sign_in(newcomer("CTCC", sells).msisdn)
    await onlooker.sign_in(newcomer("CTCC").msisdn)
    await onlooker.open("/tank")
    before = await in_the_tank(onlooker.page, symbol)

    await seller.open(f"/instruments/{symbol}?mode=pro&side=sell")
    await seller.page.get_by_test_id("ticket-more").click()
    await seller.page.select_option("#destiny", "tank")
    await seller.page.select_option("#ticket-time-in-force", "gtd")
    ends = datetime.now(CLOCK) + timedelta(seconds=SHORT_SALE_SECONDS)
    await seller.page.fill("#ticket-expires-at", f"{ends:%Y-%m-%dT%H:%M:%S}")
    await seller.place("sell", lots=2, price="2.30")

    carried_out = seller.page.locator('[data-testid="destiny-row"][data-state="carried_out"]')
    await seller.open_until("/tank", carried_out)
    await onlooker.open("/tank")
    assert await in_the_tank(onlooker.page, symbol) == before + 200
    await seller.leave()
    await onlooker.leave()
