"""Two people become a household: one asks on the phone, the other joins at the desk, by the keyboard."""

from playwright.async_api import Browser, expect

from tests.browser.people import DESKTOP, PHONE, arrive
from tests.stack import Running

PAYER = "+8613901000120"
OTHER = "+8613901000121"


async def test_one_asks_and_the_other_joins(market: Running, browser: Browser) -> None:
    payer = await arrive(browser, market, viewport=PHONE, is_mobile=True, has_touch=True)
    other = await arrive(browser, market, viewport=DESKTOP)
    await payer.sign_in(PAYER)
    await other.sign_in(OTHER)

    # What is wrong stands beside its field, and what was typed stays.
    await payer.open("/household")
    await payer.page.fill("#invite-phone", "12")
    await payer.page.get_by_test_id("household-invite").click()
    await expect(payer.page.locator("#invite-phone-error")).to_be_visible()
    await expect(payer.page.locator("#invite-phone")).to_have_value("12")

    await payer.page.fill("#invite-phone", OTHER)
    await payer.page.get_by_test_id("household-invite").click()
    await expect(payer.page.get_by_test_id("household-asked")).to_contain_text("139****0121")

    await other.open("/household")
    question = other.page.get_by_test_id("household-question")
    await expect(question).to_contain_text("139****0120")
    await question.get_by_test_id("household-accept").focus()
    await other.page.keyboard.press("Enter")
    await expect(other.page.get_by_test_id("household-line")).to_have_count(2)
    await expect(question).to_have_count(0)

    # The payer limits the other's line; the other sees it and can't change it.
    await payer.open("/household")
    line = payer.page.get_by_test_id("household-line").filter(has_text="139****0121")
    await line.get_by_text("Limit of this line").click()
    await line.get_by_label("MB a month").fill("2000")
    await line.get_by_test_id("household-limit").click()
    await other.open("/household")
    mine = other.page.get_by_test_id("household-line").filter(has_text="139****0121")
    await expect(mine).to_contain_text("2 GB")
    await expect(other.page.get_by_test_id("household-limit")).to_have_count(0)

    await other.page.get_by_test_id("household-leave").click()
    await expect(other.page.get_by_test_id("household-line")).to_have_count(0)
