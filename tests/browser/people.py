"""People at a real browser: they sign in with the code on their simulated phone, trade, and look."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from market.demo.catalogue import month_ends
from market.demo.people import Person as Subscriber
from market.demo.people import subscribers
from tests.stack import Running

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
VIEWPORTS = [pytest.param(PHONE, id="phone"), pytest.param(DESKTOP, id="desktop")]
"""A test of one person runs at both; where two take part, the other one is at the ``other`` of them."""
MET: set[str] = set()
"""The numbers that some test has already."""
PATIENCE_SECONDS = 30
CLOSING_SECONDS = 10
SESSIONS: dict[tuple[str, str], tuple[str, str]] = {}
"""Name and value of the newest session cookie, by address and number."""


@dataclass
class Person:
    """Somebody with a browser of their own."""

    market: Running
    context: BrowserContext
    page: Page

    @property
    def origin(self) -> str:
        """The address that this browser knows the market by."""
        return self.market.web

    async def open(self, path: str) -> None:
        answer = await self.page.goto(self.origin + path)
        assert answer is not None
        assert answer.ok, f"{path} answered {answer.status}"

    async def open_until(self, path: str, shown: Locator) -> None:
        """Load a page that does not follow by itself, until it shows what programs do meanwhile."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        await self.open(path)
        while not await shown.count():
            assert time.monotonic() < deadline, f"{path} never showed it."
            await self.open(path)

    async def sign_in(self, msisdn: str, *, anew: bool = False) -> None:
        """Be signed in: by the session that the number has already, as only so many codes are texted, or anew."""
        known = SESSIONS.get((self.origin, msisdn))
        if known and not anew:
            name, value = known
            await self.context.add_cookies([{"name": name, "value": value, "url": self.origin, "httpOnly": True}])
            await self.open("/")
            if await self.page.get_by_test_id("home").count():
                return
            await self.context.clear_cookies(name=name)
        await self._enter(msisdn)
        cookies = await self.context.cookies(self.origin)
        session = next(each for each in cookies if each["name"].endswith("session"))
        SESSIONS[self.origin, msisdn] = session["name"], session["value"]

    async def _enter(self, msisdn: str) -> None:
        """Ask for a code, read it on the phone's own page, and enter it."""
        await self.open("/sign-in")
        await self.page.fill("#phone", msisdn)
        await self.page.get_by_test_id("send-code").click()
        await self.page.wait_for_selector("#code")
        await self.page.fill("#code", await self.code_on_phone(msisdn))
        await self.page.get_by_test_id("enter-code").click()
        await expect(self.page.get_by_test_id("home")).to_be_visible()

    async def code_on_phone(self, msisdn: str) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            screen = await client.get(f"{self.market.phones}/phones/{msisdn.lstrip('+')}?refresh=off")
        found = re.search(r"验证码\D{0,20}(\d{6})", screen.text)
        assert found is not None, "No code arrived on the phone."
        return found[1]

    async def leave(self) -> None:
        await close(self.context)

    async def place(self, side: str, *, lots: int, price: str, card: str | None = None) -> str:
        """Fill in the ticket of the open instrument page and send it; gives the order's public id."""
        page = self.page
        await page.locator(f"label:has(#ticket-side-{side})").click()
        if await page.locator("#ticket-amount").count():
            coins = page.url.partition("?")[0].endswith("/COIN")
            await page.fill("#ticket-amount", str(lots * 100) if coins else f"{lots // 10}.{lots % 10}")
        else:
            await page.fill("#ticket-lots", str(lots))
        await page.fill("#ticket-price", price)
        if card is not None:
            await page.locator("label:has(#ticket-payment-card)").click()
            await page.select_option("#ticket-card", card)
        await page.get_by_test_id(f"ticket-submit-{side}").click()
        placed = page.get_by_test_id("placed")
        await expect(placed).to_be_visible(timeout=15_000)
        return str(await placed.get_attribute("data-order"))

    async def top_up(self, yuan: int) -> None:
        """Put money into the wallet, and wait until it is there."""
        await self.open("/wallet")
        available = self.page.get_by_test_id("wallet-available")
        had = int(await available.get_attribute("data-minor") or "0")
        await self.page.fill("#top-up-amount", f"{yuan}.00")
        await self.page.get_by_test_id("top-up").click()
        await expect(available).to_have_attribute("data-minor", str(had + yuan * 100))


def of_data(carrier: str) -> str:
    """The symbol of a carrier's data of this month, for the whole country."""
    return f"{carrier}-CN-{month_ends(datetime.now(UTC))[0] - timedelta(days=1):%y%m}"


def other(viewport: dict[str, int]) -> dict[str, int]:
    """A desk for whoever deals with somebody on a phone, and the other way round."""
    return DESKTOP if viewport == PHONE else PHONE


def left_mb(one: Subscriber) -> int:
    """What a subscriber has of this month's data for the whole country."""
    this_month = ("CN", None, month_ends(datetime.now(UTC))[0].isoformat())
    return sum(
        each["remaining_mb"]
        for each in one.buckets
        if (each["scope"], each["app_scope"], each["expires_at"]) == this_month
    )


def has_no_past(one: Subscriber) -> bool:
    """Whether a line's carrier tells of no past days; the others are few, and kept for who needs a forecast."""
    return one.used_since is None


def sells(one: Subscriber) -> bool:
    """Whether two gigabytes can be sold or given, over what the carrier wants to stay on the line."""
    return has_no_past(one) and left_mb(one) > 3_000


def has_to_spare(one: Subscriber) -> bool:
    """Whether a line's carrier tells of past days, and even heavy use leaves enough for a sale to be suggested."""
    now = datetime.now(UTC)
    heavy_mb = one.daily_mb * 3 // 2 * ((month_ends(now)[0] - now).days + 1)
    return one.used_since is not None and left_mb(one) - heavy_mb > 3_000


def newcomer(carrier: str = "CMCC", fitting: Callable[[Subscriber], bool] = has_no_past) -> Subscriber:
    """A subscriber whom no test has met: what one run leaves behind is in nobody else's way."""
    crowd = subscribers(datetime.now(UTC))
    found = next(one for one in crowd if one.carrier == carrier and one.msisdn not in MET and fitting(one))
    MET.add(found.msisdn)
    return found


async def arrive(browser: Browser, market: Running, *, viewport: dict[str, int], **more: Any) -> Person:
    """A new person with an empty browser profile, at a screen that is touched if it is a phone's."""
    touched = viewport == PHONE
    context = await browser.new_context(
        viewport=viewport,  # type: ignore[arg-type]
        locale="en-GB",
        reduced_motion="reduce",
        **{"is_mobile": touched, "has_touch": touched} | more,
    )
    return Person(market, context, await context.new_page())


async def close(context: BrowserContext) -> None:
    """Close somebody's browser; a page that Chromium forgets to close stays until all of Chromium ends.

    It forgets one that is just arriving somewhere (by a redirect of its own, say), and Playwright waits for ever.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSING_SECONDS):
            await context.close()
