"""What must hold on every page, in both languages and both themes, on a phone and on a desk."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from market.demo.catalogue import SHANGHAI
from market.demo.seed import BUYER, SELLER
from tests.browser.every_page import NOT_PAGES, PAGES, Role, Watch, barriers, routes, watched
from tests.browser.people import DESKTOP, PHONE, arrive, close, of_data
from tests.browser.scenes import (
    TROUBLE,
    enter_as_officer,
    enter_as_partner,
    make_a_break,
    make_a_gift,
    open_a_case,
    trouble,
)
from tests.stack import Running

pytestmark = pytest.mark.timeout(400)  # the first of them makes the town, and each looks at dozens of pages

MOST_SHIFT = 0.02
SCREENS = {"phone": PHONE, "desktop": DESKTOP}
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


@dataclass(frozen=True)
class Visit:
    """One page of somebody's browser, in one language on one screen, and what must not happen there."""

    page: Page
    locale: str
    screen: str
    watch: Watch


@pytest.fixture(scope="session")
async def town(market: Running, browser: Browser) -> Town:
    symbol = of_data("CMCC")
    seller, buyer, partner, officer = [await arrive(browser, market, viewport=DESKTOP) for _ in range(4)]
    await seller.sign_in(SELLER[2])
    await buyer.sign_in(BUYER[2])
    await enter_as_partner(partner)
    await enter_as_officer(officer)
    await seller.open(f"/instruments/{symbol}")
    await seller.place("sell", lots=3, price="1.10")
    await buyer.open(f"/instruments/{symbol}")
    await buyer.place("buy", lots=1, price="1.10")
    await buyer.open("/trades")
    trade = str(await buyer.page.get_by_test_id("trade-row").first.get_attribute("data-trade"))
    names = {
        "symbol": symbol,
        "trade": trade,
        "case": await open_a_case(buyer, trade),
        "gift": await make_a_gift(buyer),
        "different": await make_a_break(officer),
        "today": f"{datetime.now(SHANGHAI).date()}",
    }
    states: dict[Role, Any] = {
        "nobody": None,
        "member": await buyer.context.storage_state(),
        "partner": await partner.context.storage_state(),
        "officer": await officer.context.storage_state(),
    }
    return Town(market, states, names)


@asynccontextmanager
async def _visit(town: Town, browser: Browser, role: Role, locale: str, screen: str) -> AsyncIterator[Visit]:
    context = await browser.new_context(
        viewport=SCREENS[screen],  # type: ignore[arg-type]
        is_mobile=screen == "phone",
        has_touch=screen == "phone",
        locale="en-GB",
        color_scheme="light",
        reduced_motion="reduce",
        storage_state=town.states[role],
    )
    await context.add_cookies([{"name": "locale", "value": locale, "url": town.market.web}])
    watch = await watched(context, town.market.web)
    yield Visit(await context.new_page(), locale, screen, watch)
    await close(context)


def test_every_page_has_its_line_and_every_line_its_page() -> None:
    assert set(routes()) == PAGES.keys() | NOT_PAGES


@pytest.mark.parametrize("role", ["nobody", "member", "partner", "officer"])
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("locale", OTHER_LANGUAGE)
async def test_every_page_is_without_barriers_in_both_themes_and_keeps_to_itself(
    town: Town, browser: Browser, locale: str, screen: str, role: Role
) -> None:
    wrong: dict[str, list[str]] = {}
    async with _visit(town, browser, role, locale, screen) as visit:
        for template, (whose, path) in PAGES.items():
            if whose == role:
                where = path.format(tag=locale.replace("_", "-"), **town.names)
                wrong[template] = await _wrong_with(visit, town.market.web + where)

    assert {template: found for template, found in wrong.items() if found} == {}


@pytest.mark.parametrize("status", TROUBLE)
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("locale", OTHER_LANGUAGE)
async def test_a_page_of_trouble_is_without_barriers_in_both_themes(
    town: Town, browser: Browser, locale: str, screen: str, status: int
) -> None:
    role, path = TROUBLE[status]
    async with (
        _visit(town, browser, role, locale, screen) as visit,
        trouble(status, town.market, visit.page.context),
    ):
        wrong = await _wrong_with(visit, town.market.web + path, status)

    assert wrong == []


async def _wrong_with(visit: Visit, address: str, status: int = 200) -> list[str]:
    """Everything that is wrong with one page."""
    page, locale, watch = visit.page, visit.locale, visit.watch
    await page.emulate_media(color_scheme="light")
    answer = await page.goto(address, wait_until="load")
    assert answer is not None
    wrong = [] if answer.status == status else [f"answered {answer.status}"]
    wrong += await barriers(page)
    language = await page.evaluate("document.documentElement.lang")
    title, text = await page.title(), await page.inner_text("body")
    if language != locale.replace("_", "-"):
        wrong.append(f"lang is {language}")
    if bool(re.search(r"[一-鿿]", title)) != (locale == "zh_CN") or title.startswith(" ·"):
        wrong.append(f"title is {title}")
    wrong += [f"written as {found[0]!r}" for found in OTHER_LANGUAGE[locale].finditer(text)]
    if (width := await page.evaluate("document.documentElement.scrollWidth")) > SCREENS[visit.screen]["width"]:
        wrong.append(f"is {width} wide")
    if (shift := await page.evaluate("window.sfShift")) > MOST_SHIFT:
        wrong.append(f"shifts by {shift:.3f}")
    wrong += [f"breaks {each}" for each in await page.evaluate("window.sfViolations")]
    wrong += [f"asks {each}" for each in watch.left_the_host]
    wrong += [f"says {each}" for each in watch.complaints if not (status != 200 and f"status of {status}" in each)]
    watch.left_the_host.clear()
    watch.complaints.clear()
    await page.emulate_media(color_scheme="dark")
    return wrong + [f"dark {each}" for each in await barriers(page)]
