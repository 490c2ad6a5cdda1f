"""Takes a picture of every page: phone and desktop, light and dark, 中文 and English.

`make screenshots` writes all of them into `test-results/screenshots`, and the few that the READMEs show into
`docs/images`. A long name with 10,000 rows of history, somebody with nothing, and what goes wrong are among them.
"""

import asyncio
import itertools
import json
import os
import re
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Formatter
from typing import Any, Literal

import asyncpg
from playwright.async_api import Browser, async_playwright

from market.database import raw_dsn
from market.demo.catalogue import SHANGHAI, month_ends
from market.demo.seed import BUYER
from tests.browser.every_page import PAGES, Role
from tests.browser.people import CHROMIUM_ARGUMENTS, DESKTOP, PHONE, Person, arrive
from tests.pages.history import past_of
from tests.stack import Running, running_market
from web.pages.styleguide import LONG_NAME

ALL = Path("test-results/screenshots")
SHOWN = Path("docs/images")
README = ("home-phone-light", "instrument-desktop-light", "trade-phone-light", "officer-desktop-light")
SIZES = {"phone": PHONE, "desktop": DESKTOP}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LANGUAGES = {"en": "en-GB", "zh": "zh-CN"}
TRADING_SECONDS = 90
"""How long the traders move the market before it is looked at."""

NEWCOMER = "+8613901000188"
HISTORIES = ("orders", "trades", "wallet", "notices", "cases", "alerts", "me")
ROWS = 10_000
NAMED = {
    "/": "home",
    "/instruments/{symbol}": "instrument",
    "/trades/{name}": "trade",
    "/officer": "officer-markets",
    "/officer/report": "officer",
}
"""Pictures whose name is not their address."""

Pages = dict[str, str]


def main() -> None:
    """Start a market with its traders, trade once, and take every picture."""
    ALL.mkdir(parents=True, exist_ok=True)
    SHOWN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="surplusflow-pictures-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o711)
        with running_market(Path(home) / "data") as market:
            asyncio.run(_take_all(market))
    for name, language in itertools.product(README, LANGUAGES):
        shutil.copy(ALL / f"{name}-{language}.png", SHOWN / f"{name}-{language}.png")


async def _take_all(market: Running) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=list(CHROMIUM_ARGUMENTS)
        )
        symbol = f"CMCC-CN-{month_ends(datetime.now(UTC))[0] - timedelta(days=1):%y%m}"
        buyer = await arrive(browser, market, viewport=DESKTOP)
        await buyer.sign_in(BUYER[2])
        trade = await _trade_once(buyer, symbol)
        officer = await arrive(browser, market, viewport=DESKTOP)
        await _enter_as_officer(officer)
        await asyncio.sleep(TRADING_SECONDS)

        names = {
            "symbol": f"{symbol}?span=hour",
            "trade": trade,
            "today": f"{datetime.now(SHANGHAI).date()}",
            "tag": "en",
        }
        await _pictures(browser, buyer, _pages("member", names) | {"not-found": "/nothing", "forbidden": "/officer"})
        await _pictures(browser, officer, _pages("officer", names))
        await _pictures(browser, None, _pages("nobody", names) | {"landing": "/"}, market)
        newcomer = await arrive(browser, market, viewport=DESKTOP)
        await newcomer.sign_in(NEWCOMER)
        await _pictures(browser, newcomer, {f"empty-{name}": f"/{name}" for name in HISTORIES})
        await _live_long(market)
        await _pictures(browser, buyer, {f"long-{name}": f"/{name}" for name in HISTORIES})
        await browser.close()


def _pages(role: Role, names: Pages) -> Pages:
    """The addresses that a role sees, by the names of their pictures; what this market does not have is left out."""
    found = {}
    for template, (whose, path) in PAGES.items():
        wanted = {field for _, field, _, _ in Formatter().parse(path) if field}
        if whose == role and wanted <= names.keys():
            found[NAMED.get(template, re.sub(r"/\{\w+\}", "-one", template).strip("/").replace("/", "-"))] = (
                path.format(**names)
            )
    return found


async def _live_long(market: Running) -> None:
    """Give the buyer a long name and a long past."""
    environment = json.loads((market.data_dir / "environment.json").read_text(encoding="utf-8"))
    connection = await asyncpg.connect(raw_dsn(environment["SURPLUSFLOW_DATABASE_URL"]))
    party = await connection.fetchval("update party set name = $1 where name = $2 returning id", LONG_NAME, BUYER[0])
    async with connection.transaction():
        for statement in past_of(party, 8 * 10**17, ROWS):
            await connection.execute(statement)
    await connection.close()


async def _trade_once(buyer: Person, symbol: str) -> str:
    """Buy a little at the best price by card, so that there is a delivery to show."""
    await buyer.open(f"/instruments/{symbol}")
    await buyer.page.get_by_test_id("ask-level").last.locator("a.level").click()
    price = await buyer.page.input_value("#ticket-price")
    await buyer.place("buy", lots=5, price=price, card="pm_card_visa")
    await buyer.open("/trades")
    return str(await buyer.page.get_by_test_id("trade-row").first.get_attribute("data-trade"))


async def _enter_as_officer(officer: Person) -> None:
    await officer.open("/officer/sign-in")
    await officer.page.fill("#login", "officer")
    await officer.page.fill("#password", officer.market.officer_password)
    await officer.page.get_by_test_id("officer-enter").click()
    await officer.page.wait_for_url("**/officer")


async def _pictures(browser: Browser, who: Person | None, pages: Pages, market: Running | None = None) -> None:
    """Every page in every size, theme and language, as the one who is signed in sees it."""
    address = who.market.web if who is not None else market.web if market is not None else ""
    state: Any = None if who is None else await who.context.storage_state()
    for size, theme, language in itertools.product(SIZES, THEMES, LANGUAGES):
        context = await browser.new_context(
            viewport=SIZES[size],  # type: ignore[arg-type]
            locale=LANGUAGES[language],
            color_scheme=theme,
            reduced_motion="reduce",
            device_scale_factor=2 if size == "phone" else 1,
            storage_state=state,
        )
        page = await context.new_page()
        for name, path in pages.items():
            await page.goto(address + path)
            await page.wait_for_load_state("load")
            await page.wait_for_timeout(600)
            await page.screenshot(caret="initial", path=ALL / f"{name}-{size}-{theme}-{language}.png")
        await context.close()


if __name__ == "__main__":
    main()
