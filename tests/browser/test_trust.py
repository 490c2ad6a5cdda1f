"""Passkeys, proofs and sessions as people meet them, with a real browser's authenticator and the code on a phone."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from redis.asyncio import Redis

from tests.browser.people import VIEWPORTS, Person, arrive, newcomer, other
from tests.stack import Running


class Guest(Person):
    """Somebody who comes by name: an address without one can have no passkeys."""

    @property
    def origin(self) -> str:
        return self.market.web.replace("127.0.0.1", "localhost")


async def a_guest(browser: Browser, market: Running, **more: Any) -> Guest:
    person = await arrive(browser, market, **more)
    return Guest(person.market, person.context, person.page)


async def with_authenticator(page: Page) -> None:
    """A device that keeps passkeys and knows its owner, as phones do."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    device = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": device})


@asynccontextmanager
async def sessions_of(market: Running) -> AsyncIterator[Redis]:
    environment = json.loads((market.data_dir / "environment.json").read_text(encoding="utf-8"))
    async with Redis.from_url(environment["SURPLUSFLOW_REDIS_URL"]) as redis:
        yield redis


async def proofs_run_out(market: Running) -> None:
    """As if ten minutes had passed since anybody proved anything."""
    async with sessions_of(market) as redis:
        async for key in redis.scan_iter("surplusflow:session:*"):
            held = json.loads(await redis.get(key) or b"{}")
            await redis.set(key, json.dumps({**held, "proved": {}}), keepttl=True)


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_passkey_is_added_signs_in_and_proves_before_payouts_change(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await a_guest(browser, market, viewport=viewport)
    page = person.page
    await with_authenticator(page)
    await person.sign_in(newcomer().msisdn)

    await person.open("/settings/passkeys")
    await page.fill("#passkey-name", "my phone")
    await page.get_by_test_id("add-passkey-button").click()
    await expect(page.locator('[data-testid="passkey"][data-name="my phone"]')).to_be_visible()

    await person.open("/me")
    await page.get_by_test_id("sign-out-here").click()
    await person.open("/sign-in")
    await page.get_by_test_id("passkey-sign-in-button").click()
    await expect(page.get_by_test_id("home")).to_be_visible()

    await proofs_run_out(market)
    await person.open("/wallet/payouts")
    await page.select_option("#every", "weekly")
    await page.fill("#minimum", "66.50")
    await page.get_by_test_id("payout-schedule").click()
    await page.get_by_test_id("passkey-proof-button").click()
    await expect(page.locator("#minimum")).to_have_value("66.50")
    await expect(page.locator("#every")).to_have_value("weekly")
    await page.get_by_test_id("payout-schedule").click()
    await expect(page.locator("#minimum")).to_have_value("66.50")
    await expect(page.get_by_test_id("notice-wait")).to_be_visible()

    await person.open("/settings/passkeys")
    await page.get_by_test_id("prove-first").click()
    await page.get_by_test_id("passkey-proof-button").click()
    await page.locator('[data-testid="passkey"] summary').click()
    await page.get_by_test_id("remove-passkey").click()
    await expect(page.get_by_test_id("no-passkeys")).to_be_visible()
    await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_code_proves_before_a_withdrawal_and_what_was_typed_is_kept(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport)
    page = person.page
    somebody = newcomer("CUCC").msisdn
    await person.sign_in(somebody)
    await proofs_run_out(market)

    await person.open("/wallet")
    await page.fill("#withdraw-amount", "12.34")
    await page.get_by_test_id("withdraw").click()
    await page.get_by_test_id("prove-by-code").click()
    await page.wait_for_selector("#code")
    await page.fill("#code", "000000")
    await page.get_by_test_id("prove").click()
    await expect(page.locator("#code-error")).to_be_visible()
    await page.fill("#code", await person.code_on_phone(somebody))
    await page.get_by_test_id("prove").click()

    await expect(page.locator("#withdraw-amount")).to_have_value("12.34")
    await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_one_device_signs_another_out(market: Running, browser: Browser, viewport: dict[str, int]) -> None:
    here = await arrive(browser, market, viewport=viewport)
    there = await arrive(browser, market, viewport=other(viewport))
    somebody = newcomer("CTCC").msisdn
    await here.sign_in(somebody)
    await there.sign_in(somebody, anew=True)

    await here.open("/settings/sessions")
    await expect(here.page.get_by_test_id("sitting")).to_have_count(2)
    await here.page.get_by_test_id("end-sitting").click()
    await expect(here.page.get_by_test_id("sitting")).to_have_count(1)

    page = await there.context.new_page()  # the open one may be on its way out by itself
    await page.goto(f"{market.web}/wallet")
    await expect(page.get_by_test_id("send-code")).to_be_visible()
    await here.leave()
    await there.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_name_is_checked_and_the_limit_grows(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport)
    page, somebody = person.page, newcomer("CUCC")
    await person.sign_in(somebody.msisdn)
    await person.open("/settings")
    before = int(await page.get_by_test_id("allowance-month").get_attribute("data-minor") or 0)

    await page.fill("#real-name", "Somebody Else")
    await page.fill("#document", "440101199001011234")
    await page.get_by_test_id("check-name").click()
    await expect(page.locator("#document-error")).to_be_visible()
    await expect(page.locator("#real-name")).to_have_value("Somebody Else")
    await expect(page.locator("#document")).to_have_value("")

    await page.fill("#real-name", somebody.name)
    await page.fill("#document", f"demo {somebody.msisdn[-8:]}")
    await page.get_by_test_id("check-name").click()
    await expect(page.get_by_test_id("allowance-month")).to_have_attribute("data-minor", str(before * 5))
    await person.leave()
