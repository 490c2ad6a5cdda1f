"""What must hold on every page, in both languages and both themes, on a phone and on a desk."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from market.demo.catalogue import SHANGHAI, month_ends
from market.demo.seed import BUYER, SELLER
from tests.browser.every_page import (
    COLOURS,
    NEEDS_A_BREAK,
    NOT_PAGES,
    PAGES,
    Role,
    Watch,
    barriers,
    routes,
    watched,
)
from tests.browser.people import DESKTOP, PHONE, Person, arrive
from tests.stack import Running

MOST_SHIFT = 0.02
VIEWS: dict[str, dict[str, int]] = {"en": DESKTOP, "zh_CN": PHONE}
"""Each language on another screen, so that two visits see all four."""
OTHER_LANGUAGE = {
    "en": re.compile(r"\d月|(?<!CN)¥\d"),
    "zh_CN": re.compile(r"CN¥|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d"),
}
"""Amounts and dates as the other language writes them."""


@dataclass(frozen=True)
class Town:
    """A market in which something has happened, and the cookies of the people who look."""

    market: Running
    states: dict[Role, Any]
    names: dict[str, str]


@pytest.fixture(scope="session")
async def town(market: Running, browser: Browser) -> Town:
    symbol = f"CMCC-CN-{month_ends(datetime.now(UTC))[0] - timedelta(days=1):%y%m}"
    seller = await arrive(browser, market, viewport=DESKTOP)
    buyer = await arrive(browser, market, viewport=DESKTOP)
    await seller.sign_in(SELLER[2])
    await buyer.sign_in(BUYER[2])
    await seller.open(f"/instruments/{symbol}")
    await seller.place("sell", lots=3, price="1.10")
    await buyer.open(f"/instruments/{symbol}")
    await buyer.place("buy", lots=1, price="1.10")
    await buyer.open("/trades")
    trade = str(await buyer.page.get_by_test_id("trade-row").first.get_attribute("data-trade"))
    await buyer.open(f"/trades/{trade}")
    await expect(buyer.page.get_by_test_id("tracker")).to_have_attribute("data-state", "settled", timeout=30_000)
    case, gift = await _open_a_case(buyer), await _make_a_gift(buyer)
    states: dict[Role, Any] = {
        "nobody": None,
        "member": await buyer.context.storage_state(),
        "partner": await _partner(browser, market),
        "officer": await _officer(browser, market),
    }
    today = f"{datetime.now(SHANGHAI).date()}"
    return Town(market, states, {"symbol": "COIN", "trade": trade, "case": case, "gift": gift, "today": today})


async def _open_a_case(buyer: Person) -> str:
    await buyer.page.get_by_test_id("case").click()
    await buyer.page.locator("input[type=radio]").first.check(force=True)
    await buyer.page.fill("#case-words", "My phone shows nothing.")
    await buyer.page.get_by_test_id("open-case").click()
    await expect(buyer.page.get_by_test_id("case-state")).to_be_visible()
    return buyer.page.url.partition("/cases/")[2].partition("?")[0]


async def _make_a_gift(giver: Person) -> str:
    await giver.open("/gifts")
    await giver.page.fill("#gift-link-coins", "5")
    await giver.page.get_by_test_id("make-gift").click()
    address = await giver.page.get_by_test_id("gift-address").input_value()
    return address.rpartition("/")[2]


async def _partner(browser: Browser, market: Running) -> Any:
    phone = re.search(r"Partner.*phone (\S+)", (market.data_dir / "demo-logins.txt").read_text(encoding="utf-8"))
    assert phone is not None
    partner = await arrive(browser, market, viewport=DESKTOP)
    await partner.sign_in(phone[1])
    return await partner.context.storage_state()


async def _officer(browser: Browser, market: Running) -> Any:
    officer = await arrive(browser, market, viewport=DESKTOP)
    await officer.open("/officer/sign-in")
    await officer.page.fill("#login", "officer")
    await officer.page.fill("#password", market.officer_password)
    await officer.page.get_by_test_id("officer-enter").click()
    await officer.page.wait_for_url("**/officer")
    return await officer.context.storage_state()


def test_every_page_has_its_line_and_every_line_its_page() -> None:
    assert set(routes()) == PAGES.keys() | NOT_PAGES | NEEDS_A_BREAK


@pytest.mark.parametrize("role", ["nobody", "member", "partner", "officer"])
@pytest.mark.parametrize("locale", VIEWS)
async def test_every_page_is_without_barriers_in_both_themes_and_keeps_to_itself(
    town: Town, browser: Browser, role: Role, locale: str
) -> None:
    context = await browser.new_context(
        viewport=VIEWS[locale],  # type: ignore[arg-type]
        locale="en-GB",
        color_scheme="light",
        reduced_motion="reduce",
        storage_state=town.states[role],
    )
    await context.add_cookies([{"name": "locale", "value": locale, "url": town.market.web}])
    watch = await watched(context, town.market.web)
    page = await context.new_page()
    tag = locale.replace("_", "-")

    wrong: dict[str, list[str]] = {}
    for template, (whose, path) in PAGES.items():
        if whose == role:
            where = path.format(tag=tag, **town.names)
            wrong[template] = await _visit(page, town.market.web + where, locale, watch)
    await context.close()

    assert {template: found for template, found in wrong.items() if found} == {}


async def _visit(page: Page, address: str, locale: str, watch: Watch) -> list[str]:
    """Everything that is wrong with one page."""
    answer = await page.goto(address, wait_until="load")
    assert answer is not None
    wrong = [] if answer.status == 200 else [f"answered {answer.status}"]
    wrong += await barriers(page)
    language = await page.evaluate("document.documentElement.lang")
    title, text = await page.title(), await page.inner_text("body")
    if language != locale.replace("_", "-"):
        wrong.append(f"lang is {language}")
    if bool(re.search(r"[一-鿿]", title)) != (locale == "zh_CN") or title.startswith(" ·"):
        wrong.append(f"title is {title}")
    wrong += [f"written as {found[0]!r}" for found in OTHER_LANGUAGE[locale].finditer(text)]
    if (shift := await page.evaluate("window.sfShift")) > MOST_SHIFT:
        wrong.append(f"shifts by {shift:.3f}")
    wrong += [f"breaks {each}" for each in await page.evaluate("window.sfViolations")]
    wrong += [f"asks {each}" for each in watch.left_the_host] + [f"says {each}" for each in watch.complaints]
    watch.left_the_host.clear()
    watch.complaints.clear()
    await page.evaluate("document.documentElement.dataset.theme = 'dark'")
    return wrong + [f"dark {each}" for each in await barriers(page, COLOURS)]
