"""Takes the pictures of the documentation: phone and desktop, light and dark, 中文 and English.

`make screenshots` writes all of them into `test-results/screenshots`, and the few that the READMEs show into
`docs/images`.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, async_playwright

from market.demo.catalogue import SHANGHAI, month_ends
from market.demo.seed import BUYER
from settlement.report import ALL as ALL_CARRIERS
from tests.browser.people import CHROMIUM_ARGUMENTS, DESKTOP, PHONE, Person, arrive
from tests.stack import Running, running_market

ALL = Path("test-results/screenshots")
SHOWN = Path("docs/images")
README = ("market-phone-light", "instrument-desktop-light", "trade-phone-light", "officer-desktop-light")
SIZES = {"phone": PHONE, "desktop": DESKTOP}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LANGUAGES = {"en": "en-GB", "zh": "zh-CN"}
TRADING_SECONDS = 90
"""How long the traders move the market before it is looked at."""

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

        own = {name: f"/{name}" for name in ("orders", "trades", "wallet", "coins")}
        member = {"market": "/", "instrument": f"/instruments/{symbol}?period=1m", "trade": f"/trades/{trade}", **own}
        await _pictures(browser, buyer, member)
        today = datetime.now(SHANGHAI).date()
        report = f"/officer/report?carrier={ALL_CARRIERS}&from={today:%Y-%m}-01&to={today}"
        await _pictures(browser, officer, {"officer": report})
        await _pictures(browser, None, {"sign-in": "/sign-in"}, market)
        await browser.close()


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
