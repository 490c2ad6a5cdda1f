"""The page of notices: what a member was told, in their language, and read only when they say so."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from litestar import Litestar

from market import notices
from tests.pages.conftest import Browser
from web.notice_words import NOTICES, notice_words

PAGE = "/notices"


@pytest.mark.parametrize("kind", NOTICES)
@pytest.mark.parametrize("locale", ["en", "zh_CN"])
def test_every_kind_of_notice_is_a_sentence_whatever_else_is_known(kind: str, locale: str) -> None:
    wanted = re.findall(r"%\((\w+)\)s", NOTICES[kind])
    facts = {name: "2026-11-30T16:00:00+00:00" if name.endswith("_at") else 1_000 for name in wanted}
    sentence = notice_words(kind, {**facts, "of_something_else_at": None}, locale)
    assert "%(" not in sentence
    assert "None" not in sentence


async def told(app: Litestar, party_id: int, count: int = 1, **more: Any) -> None:
    async with app.state.venue.sessions.begin() as session:
        for number in range(count):
            mb = 1_000 + number
            await notices.tell(session, party_id, "sold", "/trades/trd_1", quantity_mb=mb, net_minor=1_425, **more)


async def test_a_notice_is_a_sentence_in_the_reader_s_language(
    page_app: Litestar, signed_in: Callable[..., Any]
) -> None:
    browser: Browser = await signed_in()
    await told(page_app, browser.party_id)

    await browser.get(PAGE)
    assert re.search(r"You sold 1 GB and received (CN)?¥14\.25\.", browser.text)
    assert "/trades/trd_1" in browser.text


async def test_a_notice_stays_new_until_the_member_says_otherwise(
    page_app: Litestar, signed_in: Callable[..., Any]
) -> None:
    browser: Browser = await signed_in()
    await told(page_app, browser.party_id)
    await browser.get(PAGE)
    await browser.get(PAGE)
    assert await count(page_app, browser.party_id) == 1
    seen = browser.shown[PAGE]

    await told(page_app, browser.party_id)
    await browser.post(PAGE, seen)

    assert await count(page_app, browser.party_id) == 1, "what came after the page was made stays new"


async def test_the_same_thing_is_told_once(page_app: Litestar, signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    await told(page_app, browser.party_id, 3, once="sold-1")
    assert await count(page_app, browser.party_id) == 1


async def test_older_notices_are_on_the_next_page(page_app: Litestar, signed_in: Callable[..., Any]) -> None:
    browser: Browser = await signed_in()
    await told(page_app, browser.party_id, 27)
    await browser.get(PAGE)
    assert browser.text.count('data-testid="notice"') == 25
    assert await count(page_app, browser.party_id) == 27

    await browser.get(browser.text.split('href="/notices?before=')[1].split('"')[0].join(["/notices?before=", ""]))
    assert browser.text.count('data-testid="notice"') == 2


async def count(app: Litestar, party_id: int) -> int:
    async with app.state.venue.sessions() as session:
        return await notices.unread(session, party_id)
