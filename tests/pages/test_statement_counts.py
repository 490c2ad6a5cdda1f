"""How many SQL statements each page makes: a number that is known, and the same however long the history is."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import text

from market.tables import OfficerRow
from tests.pages.conftest import Browser
from tests.pages.history import past_of

Counting = Callable[[], AbstractContextManager[list[str]]]

SHORT, LONG = 10, 2_000
ALLOWED = {
    "/": 5,
    "/market": 2,
    "/instruments/COIN": 12,
    "/orders": 5,
    "/orders?state=all": 5,
    "/trades": 5,
    "/wallet": 8,
    "/wallet/statement": 6,
    "/coins": 5,
    "/tank": 9,
    "/gifts": 4,
    "/household": 6,
    "/notices": 3,
    "/alerts": 5,
    "/cases": 3,
    "/me": 2,
    "/settings": 4,
    "/price-index": 3,
    "/styleguide": 2,
    "/autopilot": 4,
    "/data": 10,
    "/orders/cancel-all": 3,
    "/settings/delete": 3,
    "/settings/passkeys": 3,
    "/settings/sessions": 2,
    "/step-up": 4,
    "/wallet/payouts": 8,
    "/wallet/phone-bill": 4,
}
"""For a member who is signed in: who that is, and how many notices are new, are two of them.

What all readers of a process share for two seconds, such as the list of markets, is not among them.
"""
OF_A_TRADE = {"/trades/{}": 7, "/trades/{}/case": 4}
OF_OFFICERS = {
    "/officer": 8,
    "/officer/cases": 2,
    "/officer/dead-letters": 2,
    "/officer/escalations": 5,
    "/officer/provider-events": 2,
    "/officer/reconciliation": 4,
}
"""The one who reads is one of them; each of these shows so many of the newest, or of the oldest that wait."""
VISITS = 3
"""How often a page is visited, so that one of the visits finds what all share already read."""


async def _live_through(app: Litestar, party_id: int, first: int, count: int) -> None:
    async with app.state.venue.sessions.begin() as session:
        for statement in past_of(party_id, first, count):
            await session.execute(text(statement))


@pytest.fixture
async def members(signed_in: Any, page_app: Litestar) -> dict[int, Browser]:
    """A member with a short past, and one with a long one."""
    found = {}
    for count in (SHORT, LONG):
        found[count] = await signed_in()
        await _live_through(page_app, found[count].party_id, 8 * 10**17 + found[count].party_id * 10**6, count)
    return found


async def test_no_page_makes_more_statements_than_it_may_and_none_more_for_a_longer_history(
    members: dict[int, Browser], count_statements: Counting
) -> None:
    made = {path: [await _fewest(browser, path, count_statements) for browser in members.values()] for path in ALLOWED}

    assert {path: counts for path, counts in made.items() if counts[0] != counts[1]} == {}
    assert {path: max(counts) for path, counts in made.items()} == ALLOWED


async def test_a_trade_s_pages_make_as_many_for_everybody(
    members: dict[int, Browser], count_statements: Counting
) -> None:
    made: dict[str, set[int]] = {path: set() for path in OF_A_TRADE}
    for browser in members.values():
        await browser.get("/trades")
        trade = re.search(r'data-trade="(trd_\d+)"', browser.text)
        assert trade is not None
        for path, counts in made.items():
            counts.add(await _fewest(browser, path.format(trade[1]), count_statements))

    assert made == {path: {count} for path, count in OF_A_TRADE.items()}


async def test_officers_pages_make_as_many_however_much_has_happened(
    page_app: Litestar, anybody: Callable[[], Browser], members: dict[int, Browser], count_statements: Counting
) -> None:
    assert members, "so that much has happened"
    officer = anybody()
    async with page_app.state.venue.sessions.begin() as session:
        row = OfficerRow(login="counting", password_hash="-", role="operations", carrier=None)
        session.add(row)
        await session.flush()
        number = row.id
    await officer.get("/officer/sign-in")
    await officer.post(f"/tests/officers/{number}", officer.shown["/preferences"])

    made = {path: await _fewest(officer, path, count_statements) for path in OF_OFFICERS}

    assert made == OF_OFFICERS


async def _fewest(browser: Browser, path: str, count_statements: Counting) -> int:
    counts = []
    for _ in range(VISITS):
        with count_statements() as sent:
            assert (await browser.get(path)).status_code == 200, path
        counts.append(len(sent))
    return min(counts)


async def test_a_part_of_a_page_makes_no_statement_for_the_bar(signed_in: Any, count_statements: Counting) -> None:
    browser = await signed_in()
    with count_statements() as whole:
        await browser.get("/orders")
    with count_statements() as part:
        await browser.get("/orders", htmx=True)

    assert len(whole) == len(part) + 1
