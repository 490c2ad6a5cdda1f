"""A trade that went wrong, as all see it: the buyer opens a case, the seller answers, and two officers decide."""

import pytest
from playwright.async_api import Browser, expect

from market.demo.seed import BUYER, SELLER
from tests.browser.people import VIEWPORTS, Person, arrive, of_data, other
from tests.stack import Running


@pytest.fixture(scope="module")
def officers(market: Running) -> dict[str, str]:
    """Passwords of two officers who may decide, by their logins."""
    made = {name: market.command("create-officer", name, "--role", "operations") for name in ("first", "second")}
    return {name: done.stdout.split()[-1] for name, done in made.items()}


async def traded(seller: Person, buyer: Person) -> str:
    """A trade of theirs that has settled, at which the buyer looks."""
    symbol = of_data("CMCC")
    await seller.sign_in(SELLER[2])
    await buyer.sign_in(BUYER[2])
    await seller.open(f"/instruments/{symbol}")
    await seller.place("sell", lots=1, price="1.20")
    await buyer.open(f"/instruments/{symbol}")
    await buyer.place("buy", lots=1, price="1.20")
    await buyer.open("/trades")
    trade = await buyer.page.get_by_test_id("trade-row").first.get_attribute("data-trade")
    await buyer.open(f"/trades/{trade}")
    await expect(buyer.page.get_by_test_id("tracker")).to_have_attribute("data-state", "settled", timeout=30_000)
    return str(trade)


async def complain(buyer: Person) -> None:
    await buyer.page.get_by_test_id("case").click()
    await buyer.page.get_by_label("The data never arrived").check()
    await buyer.page.fill("#case-words", "My phone shows nothing.")
    await buyer.page.get_by_test_id("open-case").click()
    await expect(buyer.page.get_by_test_id("case-state")).to_have_attribute("data-state", "open")


async def an_officer(browser: Browser, market: Running, viewport: dict[str, int], login: str, password: str) -> Person:
    officer = await arrive(browser, market, viewport=viewport)
    await officer.open("/officer/sign-in")
    await officer.page.fill("#login", login)
    await officer.page.fill("#password", password)
    await officer.page.get_by_test_id("officer-enter").click()
    await officer.page.wait_for_url("**/officer")
    return officer


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_buyer_opens_a_case_and_the_seller_answers_it(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    seller = await arrive(browser, market, viewport=other(viewport))
    buyer = await arrive(browser, market, viewport=viewport, accept_downloads=True)
    trade = await traded(seller, buyer)

    # A receipt of it can be kept.
    async with buyer.page.expect_download() as arriving:
        await buyer.page.get_by_test_id("receipt").click()
    assert (await arriving.value).suggested_filename == f"receipt-{trade}.json"

    await complain(buyer)
    await seller.open("/notices")
    # What is told of the sale itself may come before or after it.
    await seller.page.locator('[data-kind="case_opened"]').get_by_role("link").first.click()
    await expect(seller.page.get_by_text("My phone shows nothing.")).to_be_visible()
    await seller.page.fill("#case-words", "The carrier has moved it.")
    await seller.page.get_by_test_id("case-say").click()
    await expect(buyer.page.get_by_text("The carrier has moved it.")).to_be_visible()

    await buyer.page.get_by_test_id("withdraw-case").click()
    await expect(buyer.page.get_by_test_id("case-state")).to_have_attribute("data-state", "withdrawn")
    await expect(seller.page.get_by_test_id("case-state")).to_have_attribute("data-state", "withdrawn")
    await seller.leave()
    await buyer.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_two_officers_pay_a_buyer_back_and_the_open_page_shows_it(
    market: Running, browser: Browser, officers: dict[str, str], viewport: dict[str, int]
) -> None:
    seller = await arrive(browser, market, viewport=other(viewport))
    buyer = await arrive(browser, market, viewport=viewport)
    one = await an_officer(browser, market, viewport, "first", officers["first"])
    two = await an_officer(browser, market, other(viewport), "second", officers["second"])
    await traded(seller, buyer)
    await complain(buyer)
    case = f"/officer{buyer.page.url.removeprefix(market.web).partition('?')[0]}"

    await one.open(case)
    await one.page.fill("#decide-amount", "1.00")
    await one.page.fill("#decide-words", "The carrier knows of no transfer.")
    await one.page.get_by_test_id("decide").click()
    await expect(one.page.get_by_text("Another officer has to confirm this.")).to_be_visible()
    await expect(one.page.get_by_test_id("confirm-case")).to_have_count(0)
    await two.open(case)
    await two.page.get_by_test_id("confirm-case").click()
    await expect(two.page.get_by_test_id("case-state")).to_have_attribute("data-state", "decided")

    await expect(buyer.page.get_by_test_id("case-state")).to_have_attribute("data-state", "decided")
    for person in (seller, buyer, one, two):
        await person.leave()
