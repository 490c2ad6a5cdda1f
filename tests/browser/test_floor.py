"""The pages of the market in a real browser: two people at once, the keyboard alone, and no script at all."""

import asyncio
import json
import re

import pytest
from playwright.async_api import Browser, Page, Route, expect
from redis.asyncio import Redis

from market.demo.seed import BUYER, SELLER
from tests.browser.people import PHONE, VIEWPORTS, Person, arrive, newcomer, of_data, other
from tests.faults.waiting import until
from tests.stack import Running

COIN = "/instruments/COIN"
DATA = f"/instruments/{of_data('CMCC')}"


async def at(
    browser: Browser, market: Running, who: str, path: str, viewport: dict[str, int], **more: object
) -> Person:
    """Somebody signed in, with a page open."""
    person = await arrive(browser, market, viewport=viewport, **more)
    await person.sign_in(who)
    await person.open(path)
    return person


async def cancelled(person: Person, order: str) -> None:
    """Take an order back, so that the next test finds the book as it was."""
    await person.open("/orders")
    await person.page.locator(f'[data-order="{order}"]').get_by_test_id("cancel").click()
    await expect(person.page.locator(f'[data-testid="order-row"][data-order="{order}"]')).to_have_count(0)


async def tab_to(page: Page, selector: str) -> None:
    """Walk with the Tab key until the focus is there."""
    for _ in range(150):
        await page.keyboard.press("Tab")
        if await page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
    raise AssertionError(f"The Tab key never comes to {selector}.")


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_one_places_and_the_other_sees_the_level_and_taps_it(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    seller = await at(browser, market, SELLER[2], COIN, viewport)
    buyer = await at(browser, market, BUYER[2], COIN, other(viewport))

    order = await seller.place("sell", lots=3, price="1.91")
    level = buyer.page.locator('[data-testid="ask-level"][data-price="191"]')
    await expect(level).to_have_attribute("data-lots", "3")
    await buyer.page.locator("label:has(#ticket-side-sell)").click()
    await level.locator("a.level").click()

    await expect(buyer.page.locator("#ticket-price")).to_have_value("1.91")
    await expect(buyer.page.locator("#ticket-side-buy")).to_be_checked()
    await expect(seller.page.get_by_test_id("queue-place")).to_have_attribute("data-ahead", "0")
    await cancelled(seller, order)
    await expect(level).to_have_count(0)


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_no_page_of_the_market_scrolls_sideways(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await at(browser, market, SELLER[2], "/market", viewport)
    for path in ("/market", f"{DATA}?mode=simple", f"{DATA}?mode=pro", f"{COIN}?chart=depth"):
        await person.open(path)
        assert await person.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_the_list_follows_the_market_by_itself(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    watcher = await arrive(browser, market, viewport=viewport)
    await watcher.open("/market")
    row = watcher.page.get_by_test_id("instrument-COIN")
    seller = await at(browser, market, SELLER[2], COIN, other(viewport))

    order = await seller.place("sell", lots=1, price="1.13")
    await expect(row).to_contain_text("1.13")
    await cancelled(seller, order)
    await expect(row).not_to_contain_text("1.13")
    await watcher.leave()
    await seller.leave()


async def test_a_page_whose_programs_come_slowly_is_live_all_the_same(browser: Browser, market: Running) -> None:
    """Each is held back in turn: whichever comes last, the page follows its stream."""
    for slow in ("htmx-", "hx-sse-", "live.js"):
        person = await arrive(browser, market, viewport=PHONE, service_workers="block")

        async def late(route: Route) -> None:
            await asyncio.sleep(0.5)
            await route.continue_()

        await person.page.route(f"**/{slow}*", late)
        async with person.page.expect_response("**/market/stream*") as answer:
            await person.open("/market")
        assert (await answer.value).ok
        await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_the_list_is_filtered_while_one_chooses(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport)
    await person.open("/market")
    page = person.page

    await page.locator("label:has(input[value=CUCC])").click()
    await expect(page.locator("tr[data-testid^=instrument-CMCC]")).to_have_count(0)
    await page.select_option("#filter-kind", "app")
    await expect(page.locator("tr[data-testid$=VIDEO]")).to_have_count(2)
    await expect(page.locator("tr[data-testid^=instrument-]")).to_have_count(2)
    assert "carrier=CUCC" in page.url
    assert "kind=app" in page.url


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_the_list_is_searched_while_one_types(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport)
    await person.open("/market")
    found = person.page.locator("tr[data-testid^=instrument-]")

    await person.page.locator("#q").press_sequentially("CTCC-GD")
    await expect(found).to_have_count(2)
    await found.first.get_by_role("link").first.click()
    await expect(person.page).to_have_url(re.compile(r"/instruments/CTCC-GD-"))
    await person.page.go_back()
    await expect(person.page.locator("#q")).to_have_value("CTCC-GD")
    await expect(found).to_have_count(2)
    await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_the_keyboard_alone_places_an_order_and_cancels_it(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await at(browser, market, SELLER[2], f"{COIN}?side=sell&price=1.93", viewport)
    page = person.page

    await tab_to(page, "#ticket-amount")
    await page.keyboard.type("200")
    await page.keyboard.press("Enter")
    order = await page.get_by_test_id("placed").get_attribute("data-order")
    mine = page.locator(f'#mine [data-order="{order}"]')
    await expect(mine).to_be_visible()
    await tab_to(page, "#mine [data-testid=cancel]")
    await page.keyboard.press("Enter")

    await expect(mine).to_have_count(0)


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_the_keyboard_alone_sells_buys_and_follows_the_delivery(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    seller = await at(browser, market, SELLER[2], f"{COIN}?side=sell&price=1.12", other(viewport))
    buyer = await at(browser, market, BUYER[2], f"{COIN}?side=buy&price=1.12", viewport)
    for person in (seller, buyer):
        await tab_to(person.page, "#ticket-amount")
        await person.page.keyboard.type("100")
        await person.page.keyboard.press("Enter")
        await expect(person.page.get_by_test_id("placed")).to_be_visible()

    await tab_to(buyer.page, '[data-testid=placed] a[href="/trades"]')
    await buyer.page.keyboard.press("Enter")
    await buyer.page.wait_for_url("**/trades")
    await tab_to(buyer.page, "[data-testid=trade-row] a")
    await buyer.page.keyboard.press("Enter")

    tracker = buyer.page.get_by_test_id("tracker")
    await expect(tracker).to_have_attribute("data-state", "settled", timeout=30_000)
    await seller.leave()
    await buyer.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_without_script_an_order_is_placed_and_cancelled(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await at(browser, market, SELLER[2], COIN, viewport, java_script_enabled=False)
    page = person.page
    await page.goto(f"{market.web}{COIN}?side=sell&price=1.94")

    await page.get_by_test_id("ticket-chip-1").click()
    await expect(page.locator("#ticket-amount")).to_have_value("100")
    await page.get_by_test_id("ticket-submit-sell").click()
    order = await page.get_by_test_id("placed").get_attribute("data-order")
    await page.locator(f'#mine [data-order="{order}"]').get_by_test_id("cancel").click()

    await person.open(COIN)
    await expect(page.locator(f'#mine [data-order="{order}"]')).to_have_count(0)


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_going_back_or_loading_again_places_nothing(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await at(browser, market, SELLER[2], COIN, viewport, java_script_enabled=False)
    page = person.page
    await page.goto(f"{market.web}{COIN}?side=sell&price=1.95")
    await page.fill("#ticket-amount", "100")
    await page.get_by_test_id("ticket-submit-sell").click()
    order = await page.get_by_test_id("placed").get_attribute("data-order")
    mine = page.locator("#mine [data-testid=order-row]")

    await page.reload()
    await expect(mine).to_have_count(1)
    await page.go_back()
    await expect(mine).to_have_count(1)
    await expect(page.get_by_test_id("placed")).to_have_count(0)
    await page.go_forward()
    await expect(page.get_by_test_id("placed")).to_have_attribute("data-order", order or "")
    await expect(mine).to_have_count(1)
    await cancelled(person, order or "")


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_form_sent_twice_at_once_places_one_order(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await at(browser, market, SELLER[2], f"{COIN}?side=sell&price=1.96", viewport)
    page = person.page
    await page.fill("#ticket-amount", "100")

    await page.evaluate(
        "() => { const form = document.getElementById('ticket'); form.requestSubmit(); form.requestSubmit(); }"
    )

    order = await page.get_by_test_id("placed").get_attribute("data-order")
    await expect(page.locator("#mine [data-testid=order-row]")).to_have_count(1)
    await cancelled(person, order or "")


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_two_tabs_of_one_person_do_no_harm(browser: Browser, market: Running, viewport: dict[str, int]) -> None:
    one = await at(browser, market, SELLER[2], COIN, viewport)
    twin = Person(market, one.context, await one.context.new_page())
    await twin.open(COIN)

    order = await one.place("sell", lots=1, price="1.97")
    there = twin.page.locator(f'#mine [data-order="{order}"]')
    await expect(there).to_be_visible()
    await one.open("/orders")  # the other tab cancels what this one still shows
    here = one.page.locator(f'[data-testid="order-row"][data-order="{order}"]')
    await expect(here).to_be_visible()
    stale = await here.locator("form[action$=cancel]").evaluate("(form) => Object.fromEntries(new FormData(form))")
    await there.get_by_test_id("cancel").click()
    await expect(here).to_have_count(0)
    answer = await one.page.request.post(
        f"{market.web}/orders/{order}/cancel", form=stale, headers={"Origin": market.web}
    )

    assert answer.status < 500
    await expect(there).to_have_count(0)


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_after_a_session_has_ended_the_ticket_is_as_it_was(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    somebody = newcomer().msisdn  # only so many codes are texted to one number
    person = await at(browser, market, somebody, f"{COIN}?side=sell", viewport)
    page = person.page
    await page.fill("#ticket-amount", "700")
    await page.fill("#ticket-price", "1.98")
    await person.context.add_cookies([{"name": "session", "value": "of-long-ago", "url": market.web}])

    await page.get_by_test_id("ticket-submit-sell").click()
    await page.wait_for_url(re.compile(r"/sign-in\?next="))
    await page.fill("#phone", somebody)
    await page.get_by_test_id("send-code").click()
    await page.wait_for_selector("#code")
    await page.fill("#code", await person.code_on_phone(somebody))
    await page.get_by_test_id("enter-code").click()
    await page.wait_for_url(re.compile(COIN))

    await expect(page.locator("#ticket-amount")).to_have_value("700")
    await expect(page.locator("#ticket-price")).to_have_value("1.98")
    await expect(page.locator("#ticket-side-sell")).to_be_checked()
    await expect(page.get_by_test_id("placed")).to_have_count(0)


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_lost_stream_greys_the_prices_and_blocks_the_ticket_until_it_is_back(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await at(browser, market, SELLER[2], f"{COIN}?side=sell&price=1.99", viewport)
    page = person.page
    button = page.get_by_test_id("ticket-submit-sell")
    await expect(page.locator("body")).not_to_have_class("stale")
    await expect(button).to_be_enabled()

    async def has_told_its_number() -> bool:
        return bool(await page.evaluate("() => document.getElementById('live')._htmx?.sse?.lastEventId"))

    await until(has_told_its_number)

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.headers.get("last-event-id", "")))
    await page.route("**/stream", lambda route: route.abort())
    environment = json.loads((market.data_dir / "environment.json").read_text(encoding="utf-8"))
    async with Redis.from_url(environment["SURPLUSFLOW_REDIS_URL"]) as redis:
        await redis.client_kill_filter(_type="pubsub")
    await expect(button).to_be_disabled(timeout=30_000)
    await expect(page.get_by_test_id("stale")).to_be_visible()
    await page.locator("#ticket-price").press("Enter")
    await expect(page.get_by_test_id("placed")).to_have_count(0)

    await page.unroute("**/stream")
    await expect(button).to_be_enabled(timeout=60_000)
    await expect(page.get_by_test_id("stale")).to_be_hidden()
    assert any(re.fullmatch(r"\d+-\d+", known) for known in asked), asked


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_the_ticket_can_be_simple_or_have_everything(
    browser: Browser, market: Running, viewport: dict[str, int]
) -> None:
    person = await at(browser, market, SELLER[2], DATA, viewport)
    page = person.page
    await page.locator("label:has(#ticket-side-sell)").click()
    await page.get_by_test_id("ticket-chip-10").click()
    await expect(page.locator("#ticket-amount")).to_have_value("1")
    await expect(page.get_by_test_id("quote-net")).to_be_visible()
    await expect(page.get_by_test_id("rule-sends")).to_be_visible()

    await page.get_by_test_id("ticket-switch").click()
    await expect(page.locator("#ticket-lots")).to_have_value("10")
    await page.get_by_test_id("ticket-share-100").click()
    await expect(page.locator("#ticket-lots")).not_to_have_value("10")
    await page.reload()
    await expect(page.locator("#ticket-lots")).to_be_visible()
    await page.get_by_test_id("ticket-switch").click()
    await expect(page.locator("#ticket-amount")).to_be_visible()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_the_depth_follows_the_book(browser: Browser, market: Running, viewport: dict[str, int]) -> None:
    watcher = await at(browser, market, BUYER[2], f"{COIN}?chart=depth", viewport)
    seller = await at(browser, market, SELLER[2], COIN, other(viewport))

    order = await seller.place("sell", lots=2, price="2.01")

    await expect(watcher.page.locator("#depth-table td", has_text="2.01")).to_have_count(1)
    await cancelled(seller, order)
    await expect(watcher.page.locator("#depth-table td", has_text="2.01")).to_have_count(0)


async def test_the_chart_library_is_loaded_only_where_candles_are(browser: Browser, market: Running) -> None:
    person = await arrive(browser, market, viewport=PHONE)
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))

    for path in ("/market", f"{COIN}?chart=depth"):
        await person.open(path)
        await person.page.wait_for_load_state("load")

    assert [url for url in asked if "lightweight-charts" in url] == []
