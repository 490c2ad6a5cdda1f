"""How many SQL statements each page makes: a number that is known, and the same however long the history is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import text

from tests.pages.conftest import Browser

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
    "/notices": 3,
    "/alerts": 5,
    "/cases": 3,
    "/me": 2,
    "/settings": 4,
    "/price-index": 3,
    "/styleguide": 2,
}
"""For a member who is signed in: who that is, and how many notices are new, are two of them.

What all readers of a process share for two seconds, such as the list of markets, is not among them.
"""
VISITS = 3
"""How often a page is visited, so that one of the visits finds what all share already read."""

HISTORY = (
    """
    insert into ended_order (id, instrument_id, party_id, group_id, side, price_minor, quantity, filled, time_in_force,
        market, post_only, self_trade, fee_basis_points, fee_minimum_minor, account_id, version, priority, state,
        reason, created_at, updated_at)
    select :first + n, 1, :party, :party, 1 + n % 2, 100 + n % 7, 5, 0, 'gtc', false, false,
        'cancel_newest', 0, 0, 1, 1, n, 'cancelled', 'cancelled', now(), now()
    from generate_series(1, :count) n
    """,
    """
    insert into trade (id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id, buyer_id, seller_id,
        taker_side, fee_minor, at)
    select :first + n, 1, 100, 1, 1, 2, case when n % 2 = 0 then :party else 1 end,
        case when n % 2 = 0 then 1 else :party end, 1, 0, now()
    from generate_series(1, :count) n
    """,
    """
    insert into posting (transfer_id, account_id, kind, reference, available_change, held_change, at)
    select :first + n, min_id, 40, 'pay_' || (:first + n), case when n % 2 = 0 then 1 else -1 end, 0, now()
    from generate_series(1, :count) n,
        (select min(account.id) as min_id from account join asset on asset.id = asset_id
         where party_id = :party and code = 'CNY') wallet
    """,
    """
    insert into notice (party_id, kind, about, facts)
    select :party, 'sold_coins', '/trades/trd_' || n, '{"coins": 100, "net_minor": 300}'
    from generate_series(1, :count) n
    """,
)


async def _live_through(app: Litestar, party_id: int, first: int, count: int) -> None:
    """Give a member a past: orders, trades, entries of the wallet and notices."""
    async with app.state.venue.sessions.begin() as session:
        await session.execute(text("set local session_replication_role = replica"))
        for statement in HISTORY:
            sql = statement.replace(":first", str(first)).replace(":count", str(count))
            await session.execute(text(sql.replace(":party", str(party_id))))


@pytest.fixture
async def members(signed_in: Any, page_app: Litestar) -> dict[int, Browser]:
    """A member with a short past, and one with a long one."""
    found = {}
    for place, count in enumerate((SHORT, LONG)):
        found[count] = await signed_in()
        await _live_through(page_app, found[count].party_id, 8 * 10**17 + place * 10**6, count)
    return found


async def test_no_page_makes_more_statements_than_it_may_and_none_more_for_a_longer_history(
    members: dict[int, Browser], count_statements: Counting
) -> None:
    made = {path: [await _fewest(browser, path, count_statements) for browser in members.values()] for path in ALLOWED}

    assert {path: counts for path, counts in made.items() if counts[0] != counts[1]} == {}
    assert {path: max(counts) for path, counts in made.items()} == ALLOWED


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
