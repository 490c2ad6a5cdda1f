"""A member's own things in a browser: an order amended, renewed and cancelled, and a statement in three files."""

import csv
import io
import re
from datetime import datetime, timedelta

import openpyxl
import pytest
from playwright.async_api import Browser, Locator, expect

from market.demo.seed import BUYER
from tests.browser.people import VIEWPORTS, Person, arrive
from tests.stack import Running
from web.i18n import CLOCK

COIN = "/instruments/COIN"


def row_of(person: Person, order: str) -> Locator:
    return person.page.locator(f'[data-testid="order-row"][data-order="{order}"]')


async def placed(person: Person, price: str, minutes: int | None = None) -> str:
    """A purchase that waits in the coins' book; with ``minutes`` it ends after that long."""
    await person.open(f"{COIN}?mode=pro&side=buy&price={price}")
    page = person.page
    if minutes is not None:
        end = datetime.now(CLOCK) + timedelta(minutes=minutes)
        await page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        await page.select_option("#ticket-time-in-force", "gtd")
        await page.fill("#ticket-expires-at", f"{end:%Y-%m-%dT%H:%M}")
    return await person.place("buy", lots=3, price=price)


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_an_order_is_amended_renewed_and_cancelled(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport)
    await person.sign_in(BUYER[2])
    await person.top_up(20)
    order = await placed(person, "0.05", minutes=40)

    # The page warns, and one tap lets the order stand for longer.
    await person.open("/orders")
    row = row_of(person, order)
    await expect(row.get_by_test_id("ending")).to_be_visible()
    await row.get_by_test_id("renew").click()
    await expect(person.page.get_by_test_id("notice-good")).to_be_visible()
    await expect(row.get_by_test_id("ending")).to_have_count(0)

    # Another price and amount, in place; a price that is none is said beside its field and stays as it was typed.
    number = order.removeprefix("ord_")
    await row.get_by_test_id("change").click()
    await person.page.fill(f"#price-{number}", "cheap")
    await row.get_by_test_id("amend").click()
    await expect(person.page.locator(f"#price-{number}-error")).to_be_visible()
    await expect(person.page.locator(f"#price-{number}")).to_have_value("cheap")
    await person.page.fill(f"#price-{number}", "0.06")
    await person.page.fill(f"#lots-{number}", "2")
    await row.get_by_test_id("amend").click()
    await expect(row).to_contain_text("0.06")
    await expect(row).to_contain_text("200")

    await row.get_by_test_id("cancel").click()
    await expect(row).to_have_count(0)
    await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_without_script_an_order_is_cancelled_alone_and_with_all_others(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport, java_script_enabled=False)
    await person.sign_in(BUYER[2])
    await person.top_up(20)
    for price in ("0.03", "0.04"):
        await person.open(f"{COIN}?mode=pro&side=buy&price={price}")
        await person.page.fill("#ticket-lots", "1")
        await person.page.get_by_test_id("ticket-submit-buy").click()
        await expect(person.page.get_by_test_id("placed")).to_be_visible()

    await person.open("/orders")
    rows = person.page.get_by_test_id("order-row")
    await expect(rows).to_have_count(2)
    await rows.first.get_by_test_id("cancel").click()
    await expect(rows).to_have_count(1)
    await person.page.get_by_test_id("cancel-all").click()
    await expect(person.page.get_by_test_id("doomed")).to_have_count(1)
    await person.page.get_by_test_id("confirm").click()
    await expect(rows).to_have_count(0)
    await person.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_statement_is_read_and_kept_in_three_forms(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    person = await arrive(browser, market, viewport=viewport, accept_downloads=True)
    await person.sign_in(BUYER[2])
    await person.top_up(7)
    await person.page.get_by_test_id("statement").click()
    sums = person.page.get_by_test_id("statement-sums")
    closing = int(await sums.get_attribute("data-closing") or "")
    entries = int(await sums.get_attribute("data-entries") or "")
    await expect(person.page.get_by_test_id("statement-row")).to_have_count(entries)

    # On paper it is the statement alone.
    bar, menu = person.page.locator("header.top"), person.page.locator("nav.bottom")
    await person.page.emulate_media(media="print")
    await expect(bar).to_be_hidden()
    await expect(menu).to_be_hidden()
    await expect(sums).to_be_visible()
    await person.page.emulate_media(media="screen")
    await expect(bar).to_be_visible()

    held = {}
    for form in ("pdf", "xlsx", "csv"):
        async with person.page.expect_download() as arriving:
            await person.page.get_by_test_id(f"statement-{form}").click()
        held[form] = (await (await arriving.value).path()).read_bytes()

    lines = list(csv.DictReader(io.StringIO(held["csv"].decode("utf-8-sig"))))
    assert len(lines) == entries + 2
    assert lines[-1]["balance_after"] == f"{closing / 100:.2f}"
    book = openpyxl.load_workbook(io.BytesIO(held["xlsx"]))
    *_, last = book.worksheets[1].iter_rows(values_only=True)
    assert round(float(str(last[-1])) * 100) == closing
    assert held["pdf"].startswith(b"%PDF-")
    assert re.search(rb"/Type\s*/Page\b", held["pdf"])
    assert market.command("verify").returncode == 0
    await person.leave()
