"""Two people become a household: one asks, the other joins by the keyboard, and the one who pays sets limits."""

import pytest
from playwright.async_api import Browser, expect

from market.vault import mask
from tests.browser.people import DESKTOP, VIEWPORTS, arrive, newcomer, of_data, other, sells
from tests.stack import Running


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_one_asks_the_other_joins_and_lines_have_their_limits(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    payer = await arrive(browser, market, viewport=viewport)
    joiner = await arrive(browser, market, viewport=other(viewport))
    paying, joining = newcomer("CTCC").msisdn, newcomer("CTCC").msisdn
    await payer.sign_in(paying)
    await joiner.sign_in(joining)

    # What is wrong stands beside its field, and what was typed stays.
    await payer.open("/household")
    await payer.page.fill("#invite-phone", "12")
    await payer.page.get_by_test_id("household-invite").click()
    await expect(payer.page.locator("#invite-phone-error")).to_be_visible()
    await expect(payer.page.locator("#invite-phone")).to_have_value("12")

    await payer.page.fill("#invite-phone", joining)
    await payer.page.get_by_test_id("household-invite").click()
    await expect(payer.page.get_by_test_id("household-asked")).to_contain_text(mask(joining))

    await joiner.open("/household")
    question = joiner.page.get_by_test_id("household-question")
    await expect(question).to_contain_text(mask(paying))
    await question.get_by_test_id("household-accept").focus()
    await joiner.page.keyboard.press("Enter")
    await expect(joiner.page.get_by_test_id("household-line")).to_have_count(2)
    await expect(question).to_have_count(0)

    # The payer limits the other's line; the other sees it and can't change it.
    await payer.open("/household")
    line = payer.page.get_by_test_id("household-line").filter(has_text=mask(joining))
    await line.get_by_text("Limit of this line").click()
    await line.get_by_label("MB a month").fill("2000")
    await line.get_by_label("Yuan a month").fill("25")
    await line.get_by_test_id("household-limit").click()
    await expect(payer.page.get_by_test_id("notice-good")).to_be_visible()
    await joiner.open("/household")
    mine = joiner.page.get_by_test_id("household-line").filter(has_text=mask(joining))
    await expect(mine).to_contain_text("2 GB")
    await expect(mine).to_contain_text("25.00")
    await expect(joiner.page.get_by_test_id("household-limit")).to_have_count(0)

    # More than the limit can't be bought for the line; the answer stands where it was asked, with what was typed.
    await line.get_by_text("Buy for this line").click()
    await line.get_by_label("Lots").fill("21")
    await line.get_by_test_id("household-buy").click()
    await expect(line.get_by_role("alert")).to_be_visible()
    await expect(line.get_by_label("Lots")).to_have_value("21")

    # Empty fields lift the limit.
    await payer.open("/household")
    await line.get_by_text("Limit of this line").click()
    await line.get_by_label("MB a month").fill("")
    await line.get_by_label("Yuan a month").fill("")
    await line.get_by_test_id("household-limit").click()
    await expect(line).not_to_contain_text("2 GB")

    await joiner.page.get_by_test_id("household-leave").click()
    await expect(joiner.page.get_by_test_id("household-line")).to_have_count(0)
    await payer.leave()
    await joiner.leave()


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_the_one_who_pays_buys_for_another_line(
    market: Running, browser: Browser, viewport: dict[str, int]
) -> None:
    payer = await arrive(browser, market, viewport=viewport)
    joiner = await arrive(browser, market, viewport=other(viewport))
    seller = await arrive(browser, market, viewport=DESKTOP)
    joining = newcomer("CTCC").msisdn
    await payer.sign_in(newcomer("CTCC").msisdn)
    await joiner.sign_in(joining)
    await seller.sign_in(newcomer("CTCC", sells).msisdn)
    await seller.open(f"/instruments/{of_data('CTCC')}?mode=pro")
    await seller.place("sell", lots=2, price="1.20")
    await payer.open("/household")
    await payer.page.fill("#invite-phone", joining)
    await payer.page.get_by_test_id("household-invite").click()
    await joiner.open("/household")
    await joiner.page.get_by_test_id("household-accept").click()
    await expect(joiner.page.get_by_test_id("household-line")).to_have_count(2)

    # Without money nothing is bought, and the form says so; with it the other's line has the data.
    line = payer.page.get_by_test_id("household-line").filter(has_text=mask(joining))
    await payer.open("/household")
    await line.get_by_text("Buy for this line").click()
    await line.get_by_label("Data of").select_option(of_data("CTCC"))
    await line.get_by_label("Lots").fill("2")
    await line.get_by_test_id("household-buy").click()
    await expect(line.get_by_role("alert")).to_be_visible()
    await payer.top_up(20)
    await payer.open("/household")
    await line.get_by_text("Buy for this line").click()
    await line.get_by_label("Data of").select_option(of_data("CTCC"))
    await line.get_by_label("Lots").fill("2")
    await line.get_by_test_id("household-buy").click()
    await expect(payer.page.get_by_test_id("notice-good")).to_be_visible()
    await expect(line).to_contain_text("200 MB for CN¥2.40")

    received = joiner.page.get_by_test_id("household-line").filter(has_text=mask(joining))
    await joiner.open("/household")
    await expect(received).to_contain_text("200 MB for CN¥2.40")
    await payer.open_until("/trades", payer.page.locator('[data-state="settled"]'))
    for person in (payer, joiner, seller):
        await person.leave()
