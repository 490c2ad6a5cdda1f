"""What a page costs a phone: bytes over the wire, and nothing that moves under the finger."""

import itertools
from datetime import UTC, datetime, timedelta

from playwright.async_api import Browser, expect

from market.demo.catalogue import month_ends
from market.demo.seed import BUYER
from market.engine.commands import State
from tests.browser.every_page import WATCH
from tests.browser.people import DESKTOP, PHONE, Person, arrive
from tests.browser.scenes import set_state
from tests.browser.weighing import Scale
from tests.stack import Running

MOST_BYTES = 120_000
MOST_SHIFT = 0.02
NARROWEST = {"width": 320, "height": 640}
DRAWN = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
SHIFT = "() => { const moved = window.sfShift; window.sfShift = 0; return moved; }"
STATES: tuple[State, ...] = ("paused", "halted", "cancel_only", "auction", "open")


async def _phone(browser: Browser, market: Running) -> Person:
    person = await arrive(browser, market, viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)
    await person.context.add_init_script(WATCH)
    return person


async def test_the_first_page_is_light(market: Running, browser: Browser) -> None:
    stranger = await _phone(browser, market)
    scale = await Scale.under(stranger.page)

    await stranger.page.goto(f"{market.web}/", wait_until="networkidle")

    assert scale.bytes <= MOST_BYTES, scale.by_address
    assert not any("lightweight-charts" in address for address in scale.by_address)


async def test_the_first_page_of_a_member_is_light_and_does_not_move(market: Running, browser: Browser) -> None:
    member = await _phone(browser, market)
    await member.sign_in(BUYER[2])
    visit = await member.context.new_page()
    scale = await Scale.under(visit)

    await visit.goto(f"{market.web}/")
    await visit.wait_for_load_state("load")
    await visit.wait_for_selector('[data-testid="bucket"]')

    assert scale.bytes <= MOST_BYTES, scale.by_address
    assert await visit.evaluate("window.sfShift") <= MOST_SHIFT


async def test_nothing_moves_when_a_market_is_paused_halted_or_opened_while_its_page_is_open(
    market: Running, browser: Browser
) -> None:
    """An instrument with a long name, in which nobody else trades, while the words above its book come and go."""
    symbol = f"CTCC-CN-{month_ends(datetime.now(UTC))[1] - timedelta(days=1):%y%m}-VIDEO"
    readers: dict[str, Person] = {}
    for viewport, locale in itertools.product((NARROWEST, PHONE, DESKTOP), ("en", "zh_CN")):
        reader = readers[f"{viewport['width']} {locale}"] = await arrive(browser, market, viewport=viewport)
        await reader.context.add_cookies([{"name": "locale", "value": locale, "url": market.web}])
        await reader.context.add_init_script(WATCH)
        await reader.open(f"/instruments/{symbol}")

    moved: dict[tuple[str, str], float] = {}
    for state in STATES:
        await set_state(market, symbol, state)
        for who, reader in readers.items():
            shown = reader.page.locator("#headline").get_by_test_id("market-state")
            await expect(shown).to_have_attribute("data-state", state, timeout=30_000)
            await reader.page.evaluate(DRAWN)
            moved[who, state] = await reader.page.evaluate(SHIFT)
    for reader in readers.values():
        await reader.leave()

    assert {when: shift for when, shift in moved.items() if shift > MOST_SHIFT} == {}
