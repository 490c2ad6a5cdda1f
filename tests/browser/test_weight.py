"""What a page costs a phone: bytes over the wire, and nothing that moves under the finger."""

from playwright.async_api import Browser

from market.demo.seed import BUYER
from tests.browser.every_page import WATCH
from tests.browser.people import PHONE, Person, arrive
from tests.browser.weighing import Scale
from tests.stack import Running

MOST_BYTES = 120_000
MOST_SHIFT = 0.02


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
