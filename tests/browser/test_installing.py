"""The pages as an app: what a browser needs to install them, and what they keep on the device."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from market.demo.seed import BUYER
from tests.browser.people import PHONE, VIEWPORTS, arrive
from tests.stack import Running

KEPT = """async () => {
  const found = [];
  for (const name of await caches.keys()) {
    for (const request of await (await caches.open(name)).keys()) found.push(new URL(request.url).pathname);
  }
  return found;
}"""
ACTIVE = (
    "async () => (await navigator.serviceWorker.ready).active !== null && navigator.serviceWorker.controller !== null"
)


async def _is_active(page: Page) -> None:
    await page.wait_for_function(ACTIVE)


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_browser_finds_all_that_it_needs_to_install_the_pages(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    visitor = await arrive(browser, market, viewport=viewport)
    await visitor.open("/market")
    await _is_active(visitor.page)
    devtools = await visitor.context.new_cdp_session(visitor.page)

    manifest: dict[str, Any] = await devtools.send("Page.getAppManifest")
    told = json.loads(manifest["data"])
    errors = await devtools.send("Page.getInstallabilityErrors")

    assert manifest["errors"] == []
    assert told["lang"] == "en"
    assert {(icon["sizes"], icon["purpose"]) for icon in told["icons"]} == {
        ("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")
    }  # fmt: skip
    problems = {error["errorId"] for error in errors["installabilityErrors"]}
    assert problems <= {"in-incognito"}, "every profile of a test is a private one"


async def test_the_manifest_speaks_the_readers_language(market: Running, browser: Browser) -> None:
    visitor = await arrive(browser, market, viewport=PHONE)
    answer = await visitor.context.request.get(f"{market.web}/manifest.webmanifest?lang=zh-CN")

    assert answer.headers["content-type"] == "application/manifest+json"
    assert (await answer.json())["name"] == "流市"


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_without_a_network_a_page_says_so_in_the_readers_language(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    member = await arrive(browser, market, viewport=viewport)
    await member.sign_in(BUYER[2])
    await _is_active(member.page)
    await member.open("/orders")
    await member.context.set_offline(True)

    await member.page.goto(f"{market.web}/wallet")
    await expect(member.page.get_by_test_id("offline")).to_be_visible()
    assert await member.page.evaluate("document.documentElement.lang") == "en"
    styled = await member.page.evaluate("getComputedStyle(document.querySelector('.card')).borderTopWidth")
    assert styled == "1px", "its style sheet is kept too"

    await member.context.set_offline(False)
    await member.page.get_by_role("link", name="Try again").click()
    await expect(member.page.get_by_test_id("home")).to_be_visible()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_nothing_of_a_member_is_kept_on_the_device(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    member = await arrive(browser, market, viewport=viewport)
    await member.sign_in(BUYER[2])
    await _is_active(member.page)
    for path in ("/", "/orders", "/wallet", "/me"):
        await member.open(path)

    kept = await member.page.evaluate(KEPT)

    assert "/offline/en" in kept
    assert all(path.startswith(("/static/", "/offline/")) for path in kept), kept


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_caches_of_former_versions_are_deleted(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    visitor = await arrive(browser, market, viewport=viewport)
    await visitor.open("/sign-in")
    await _is_active(visitor.page)
    await visitor.page.evaluate("caches.open('surplusflow-former')")

    await visitor.page.evaluate("async () => (await navigator.serviceWorker.getRegistration()).unregister()")
    await visitor.open("/sign-in")

    await visitor.page.wait_for_function("async () => !(await caches.keys()).includes('surplusflow-former')")
