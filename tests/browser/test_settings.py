"""The settings at a browser: language and colours, signing out everywhere, one's own data as a file, and leaving."""

import json

import pytest
from playwright.async_api import Browser, expect

from tests.browser.people import VIEWPORTS, arrive, newcomer, other
from tests.stack import Running


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_language_theme_and_the_colours_of_prices_are_chosen_and_kept(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport)
    page, root, main = person.page, person.page.locator("html"), person.page.get_by_role("main")
    await person.sign_in(newcomer("CUCC").msisdn)
    await person.open("/settings")

    await main.locator('button[name="theme"][value="dark"]').click()
    await expect(root).to_have_attribute("data-theme", "dark")
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await main.locator('button[name="theme"][value="light"]').click()
    await expect(root).to_have_attribute("data-theme", "light")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") != dark

    rising = "getComputedStyle(document.documentElement).getPropertyValue('--sf-up')"
    await main.locator('button[name="trend"][value="green-up"]').click()
    await expect(root).to_have_attribute("data-trend", "green-up")
    green = await page.evaluate(rising)
    await main.locator('button[name="trend"][value="red-up"]').click()
    await expect(root).to_have_attribute("data-trend", "red-up")
    assert await page.evaluate(rising) != green

    await main.locator('button[name="locale"][value="zh_CN"]').click()
    await expect(root).to_have_attribute("lang", "zh-CN")
    await expect(page.get_by_role("heading", level=1)).to_have_text("设置")
    await person.open("/market")
    await expect(root).to_have_attribute("lang", "zh-CN")
    await expect(root).to_have_attribute("data-theme", "light")
    await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_signing_out_everywhere_ends_every_device(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    here = await arrive(browser, market, viewport=viewport)
    there = await arrive(browser, market, viewport=other(viewport))
    somebody = newcomer("CTCC").msisdn
    await here.sign_in(somebody)
    await there.sign_in(somebody, anew=True)

    await here.open("/settings/sessions")
    await here.page.get_by_test_id("end-all").click()
    await expect(here.page.get_by_test_id("send-code")).to_be_visible()

    # The other one's page goes by itself, and no page of either comes back.
    await expect(there.page.get_by_test_id("send-code")).to_be_visible()
    for person in (here, there):
        await person.open("/wallet")
        await expect(person.page.get_by_test_id("send-code")).to_be_visible()
        await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_own_data_is_downloaded_and_the_account_deleted(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport, accept_downloads=True)
    page, somebody = person.page, newcomer("CTCC")
    await person.sign_in(somebody.msisdn)

    await person.open("/settings")
    async with page.expect_download() as arriving:
        await page.get_by_test_id("export").click()
    held = json.loads((await (await arriving.value).path()).read_text(encoding="utf-8"))
    assert somebody.msisdn in json.dumps(held)

    # Money in the wallet keeps the account.
    await person.open("/wallet")
    await page.fill("#top-up-amount", "5.00")
    await page.get_by_test_id("top-up").click()
    await expect(page.get_by_test_id("wallet-available")).to_have_attribute("data-minor", "500")
    await person.open("/settings")
    await page.get_by_test_id("delete-account").click()
    await expect(page.get_by_test_id("reasons-to-stay")).to_be_visible()
    await expect(page.get_by_test_id("delete-now")).to_have_count(0)
    await person.leave()

    # Somebody with nothing left goes, and begins anew on coming back.
    leaver = await arrive(browser, market, viewport=viewport)
    gone = newcomer("CTCC").msisdn
    await leaver.sign_in(gone)
    await leaver.open("/settings/delete")
    await leaver.page.locator("input[name=sure]").check()
    await leaver.page.get_by_test_id("delete-now").click()
    await expect(leaver.page.get_by_test_id("send-code")).to_be_visible()
    await leaver.page.goto(f"{market.web}/wallet")
    await expect(leaver.page.get_by_test_id("send-code")).to_be_visible()
    await leaver.leave()
