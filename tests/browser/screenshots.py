"""Takes a picture of every page: phone and desktop, light and dark, 中文 and English.

`make screenshots` writes all of them into `test-results/screenshots`, and the few that the READMEs show into
`docs/images`; `make screenshots PICTURES="error-* long-*"` takes only those whose names fit. A long name with 10,000
rows of history, somebody with nothing, a market that is paused, and every page of trouble are among them.
"""

import asyncio
import itertools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, async_playwright

from market.demo.catalogue import SHANGHAI
from market.demo.seed import BUYER
from tests.browser.every_page import PAGES, Role
from tests.browser.people import CHROMIUM_ARGUMENTS, DESKTOP, PHONE, Person, arrive, of_data
from tests.browser.scenes import (
    TROUBLE,
    database,
    enter_as_officer,
    enter_as_partner,
    make_a_break,
    make_a_gift,
    open_a_case,
    set_state,
    trouble,
)
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
EMPTY = {
    **{f"empty-{name}": f"/{name}" for name in HISTORIES},
    "empty-home": "/",
    "empty-gifts": "/gifts",
    "empty-household": "/household",
    "empty-statement": "/wallet/statement",
    "empty-market": "/market?q=nothing+of+that+name",
}
LONG = {
    **{f"long-{name}": f"/{name}" for name in HISTORIES},
    "long-home": "/",
    "long-orders": "/orders?state=all",
    "long-statement": "/wallet/statement",
}
REFUSED = {"refused-statement": "/wallet/statement?month=never"}
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


@dataclass(frozen=True)
class Camera:
    """Takes the pictures that are wanted, as the one who is signed in sees them."""

    browser: Browser
    market: Running
    wanted: Sequence[str]

    async def take(self, pages: Pages, who: Person | None = None, status: int = 200) -> None:
        """Each page in every size, theme and language, while it answers with the status."""
        pages = {name: path for name, path in pages.items() if any(fnmatch(name, each) for each in self.wanted)}
        if not pages:
            return
        for size, theme, language in itertools.product(SIZES, THEMES, LANGUAGES):
            async with AsyncExitStack() as stack:
                context = await self.browser.new_context(
                    viewport=SIZES[size],  # type: ignore[arg-type]
                    locale=LANGUAGES[language],
                    color_scheme=theme,
                    reduced_motion="reduce",
                    device_scale_factor=2 if size == "phone" else 1,
                    storage_state=None if who is None else await who.context.storage_state(),
                )
                stack.push_async_callback(context.close)
                if status != 200:
                    await stack.enter_async_context(trouble(status, self.market, context))
                page = await context.new_page()
                for name, path in pages.items():
                    await page.goto(self.market.web + path.format(tag=LANGUAGES[language].removesuffix("-GB")))
                    await page.wait_for_load_state("load")
                    await page.wait_for_timeout(600)
                    await page.screenshot(caret="initial", path=ALL / f"{name}-{size}-{theme}-{language}.png")


def main(*wanted: str) -> None:
    """Start a market with its traders, trade in it, and take every picture, or only those whose names fit."""
    ALL.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="surplusflow-pictures-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o711)
        with running_market(Path(home) / "data") as market:
            asyncio.run(_take_all(market, wanted or ("*",)))
    if wanted:
        return
    SHOWN.mkdir(parents=True, exist_ok=True)
    for name, language in itertools.product(README, LANGUAGES):
        shutil.copy(ALL / f"{name}-{language}.png", SHOWN / f"{name}-{language}.png")


async def _take_all(market: Running, wanted: Sequence[str]) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=list(CHROMIUM_ARGUMENTS)
        )
        camera = Camera(browser, market, wanted)
        buyer, partner, officer, newcomer = [await arrive(browser, market, viewport=DESKTOP) for _ in range(4)]
        people: dict[Role, Person | None] = {"nobody": None, "member": buyer, "partner": partner, "officer": officer}
        await buyer.sign_in(BUYER[2])
        await newcomer.sign_in(NEWCOMER)
        await enter_as_partner(partner)
        await enter_as_officer(officer)
        symbol = of_data("CMCC")
        names = {
            "symbol": f"{symbol}?span=hour",
            "case": await open_a_case(buyer, await _trade_once(buyer, symbol)),
            "trade": await _trade_once(buyer, symbol),
            "gift": await make_a_gift(buyer),
            "different": await make_a_break(officer),
            "today": f"{datetime.now(SHANGHAI).date()}",
            "tag": "{tag}",
        }
        await asyncio.sleep(TRADING_SECONDS)

        for role, who in people.items():
            await camera.take(_pages(role, names), who)
        await camera.take({"landing": "/"})
        await camera.take(REFUSED, buyer)
        await camera.take(EMPTY, newcomer)
        for status, (role, path) in TROUBLE.items():
            await camera.take({f"error-{status}": path}, people[role], status)
        await set_state(market, symbol, "paused")
        await camera.take({"paused-instrument": f"/instruments/{symbol}"}, buyer)
        await _live_long(market)
        await camera.take(LONG, buyer)
        await browser.close()


def _pages(role: Role, names: Pages) -> Pages:
    """The addresses that a role sees, by the names of their pictures."""
    found = {}
    for template, (whose, path) in PAGES.items():
        if whose == role:
            name = NAMED.get(template, re.sub(r"/\{\w+\}", "-one", template).strip("/").replace("/", "-"))
            found[name] = path.format(**names)
    return found


async def _live_long(market: Running) -> None:
    """Give the buyer a long name and a long past."""
    async with database(market) as connection, connection.transaction():
        rename = "update party set name = $1 where name = $2 returning id"
        party = await connection.fetchval(rename, LONG_NAME, BUYER[0])
        for statement in past_of(party, 8 * 10**17, ROWS):
            await connection.execute(statement)


async def _trade_once(buyer: Person, symbol: str) -> str:
    """Buy a little at the best price by card, so that there is a delivery to show."""
    await buyer.open(f"/instruments/{symbol}")
    await buyer.page.get_by_test_id("ask-level").last.locator("a.level").click()
    price = await buyer.page.input_value("#ticket-price")
    await buyer.place("buy", lots=5, price=price, card="pm_card_visa")
    await buyer.open("/trades")
    return str(await buyer.page.get_by_test_id("trade-row").first.get_attribute("data-trade"))


if __name__ == "__main__":
    main(*sys.argv[1:])
