"""The home page: what will be left, a sale in one tap with its undo, and a purchase in two at what was shown."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text

from market.parties import member
from market.trading import mass_cancel
from tests.pages.conftest import Browser
from tests.pages.people_with_data import (
    SYMBOL,
    Neighbours,
    carrier_url,
    neighbours,
    page_app,
    settings_with_carrier,
)
from tests.web.making import a_key

__all__ = ["carrier_url", "neighbours", "page_app", "settings_with_carrier"]


@pytest.fixture(autouse=True)
async def _empty_book(neighbours: Neighbours) -> AsyncIterator[None]:
    """Each test brings its own offers."""
    yield
    for (party,) in await rows(neighbours, "select distinct party_id from open_order"):
        venue = neighbours.app.state.venue
        async with venue.sessions() as session:
            owner = await member(session, party)
        await mass_cancel(venue, owner, a_key())


async def rows(neighbours: Neighbours, statement: str, **values: Any) -> list[Any]:
    async with neighbours.app.state.venue.sessions() as session:
        return list((await session.execute(text(statement), values)).all())


def attribute(html: str, testid: str, name: str) -> str:
    """An attribute of the first element of a test id."""
    tag = re.search(rf'<[^>]*data-testid="{testid}"[^>]*>', html)
    assert tag is not None, f"There is no {testid}."
    found = re.search(rf'{name}="([^"]*)"', tag[0])
    assert found is not None
    return found[1]


async def on_sale(seller: Browser) -> str:
    """Sell what is suggested; gives the order's id."""
    await seller.get("/data")
    await seller.send("/sell-spare")
    return attribute(seller.text, "sold", "data-order")


async def offered(neighbours: Neighbours, *, lots: int, price_minor: int) -> Browser:
    """Somebody who sells at a price."""
    seller = await neighbours.move_in(remaining_mb=9_000)
    await seller.get("/data")
    await seller.send("/sell-spare", lots=str(lots), price_minor=str(price_minor))
    assert attribute(seller.text, "sold", "data-state") == "open"
    return seller


async def test_a_stranger_sees_what_is_offered_and_where_to_begin(browser: Browser) -> None:
    page = await browser.get("/")

    assert page.status_code == 200
    assert 'data-testid="start"' in page.text
    assert f'data-testid="instrument-{SYMBOL}"' in page.text
    assert "/data" not in page.text


async def test_the_page_comes_before_the_carrier_has_answered(neighbours: Neighbours) -> None:
    member_ = await neighbours.move_in()
    await neighbours.at_carrier("PUT", "/admin/faults", {"latency_ms": 3_000})
    try:
        begun = datetime.now(UTC)
        page = await member_.get("/")
        took = datetime.now(UTC) - begun
    finally:
        await neighbours.at_carrier("PUT", "/admin/faults", {})

    assert took.total_seconds() < 3
    assert 'hx-get="/data"' in page.text
    assert '<a href="/data">' in page.text, "without script there is a way too"


async def test_the_gauge_says_what_is_left_and_the_forecast_what_will_be(neighbours: Neighbours) -> None:
    seller = await neighbours.move_in(remaining_mb=12_000, daily_mb=200)

    page = await seller.get("/data")

    low, high = (int(attribute(page.text, "forecast", f"data-{end}")) for end in ("low", "high"))
    assert attribute(page.text, "bucket-left", "data-mb") == "12000"
    assert 9_500 < low < high < 12_000
    assert "How this is computed" in page.text
    assert "<progress" in page.text


async def test_what_is_suggested_is_the_low_end_in_whole_lots_and_its_net_is_told(neighbours: Neighbours) -> None:
    seller = await neighbours.move_in(remaining_mb=6_000, daily_mb=200)

    page = await seller.get("/data")

    low = int(attribute(page.text, "forecast", "data-low"))
    suggested = int(attribute(page.text, "sell-now", "data-mb"))
    form = seller.shown["/sell-spare"]
    total = int(form["lots"]) * int(form["price_minor"])
    assert suggested == low // 100 * 100 == int(form["lots"]) * 100
    assert int(attribute(page.text, "sell-now", "data-minor")) == total - -(-total * 500 // 10_000)
    assert "per GB and day left" in page.text


async def test_without_a_known_day_nothing_is_suggested_and_the_page_says_why(neighbours: Neighbours) -> None:
    newcomer = await neighbours.move_in(daily_mb=0)

    page = await newcomer.get("/data")

    assert attribute(page.text, "forecast", "data-known") == "0"
    assert 'data-testid="sell-now"' not in page.text
    assert 'data-testid="sell-spare"' in page.text, "an amount can still be chosen"


async def test_one_tap_sells_once_however_often_it_is_sent(neighbours: Neighbours) -> None:
    seller = await neighbours.move_in()
    await seller.get("/data")
    form = dict(seller.shown["/sell-spare"])

    names = set()
    for _ in range(3):
        await seller.post("/sell-spare", form)
        names.add(attribute(seller.text, "sold", "data-order"))

    assert len(names) == 1
    assert attribute(seller.text, "sold", "data-state") == "open"
    assert len(await rows(neighbours, "select id from open_order where party_id = :p", p=seller.party_id)) == 1


async def test_undo_takes_back_what_was_not_traded(neighbours: Neighbours) -> None:
    seller = await neighbours.move_in()
    await on_sale(seller)

    await seller.send("/sell-spare/undo")

    assert attribute(seller.text, "undone", "data-filled") == "0"
    assert "nothing was sold" in seller.text
    assert not await rows(neighbours, "select id from open_order where party_id = :p", p=seller.party_id)


async def test_undo_says_what_was_sold_meanwhile(neighbours: Neighbours) -> None:
    seller = await neighbours.move_in()
    await on_sale(seller)
    undo = dict(seller.shown["/sell-spare/undo"])
    buyer = await neighbours.move_in(money_minor=100_000)
    await buyer.get("/buy?mb=500")
    await buyer.send("/buy")

    await seller.post("/sell-spare/undo", undo)

    assert attribute(seller.text, "undone", "data-filled") == "5"
    assert "the rest is taken back" in seller.text


async def test_an_undo_sent_twice_is_no_error(neighbours: Neighbours) -> None:
    seller = await neighbours.move_in()
    await on_sale(seller)
    undo = dict(seller.shown["/sell-spare/undo"])

    answers = [await seller.post("/sell-spare/undo", undo) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]


async def test_nobody_undoes_a_strangers_sale(neighbours: Neighbours) -> None:
    seller, stranger = await neighbours.move_in(), await neighbours.move_in()
    order = await on_sale(seller)
    await stranger.get("/data")
    fields = {**stranger.shown["/sell-spare"], "order": order}

    answer = await stranger.post("/sell-spare/undo", fields)

    assert answer.status_code == 404
    assert len(await rows(neighbours, "select id from open_order where party_id = :p", p=seller.party_id)) == 1


async def test_a_price_below_the_floor_is_refused(neighbours: Neighbours) -> None:
    seller = await neighbours.move_in()
    await seller.get("/data")

    answer = await seller.send("/sell-spare", price_minor="1")

    assert answer.status_code == 422
    assert 'data-testid="notice-bad"' in answer.text


async def test_an_amount_shows_its_price_beside_the_carriers(neighbours: Neighbours) -> None:
    await offered(neighbours, lots=20, price_minor=120)
    buyer = await neighbours.move_in(money_minor=100_000)

    page = await buyer.get("/buy?mb=1000", htmx=True)

    assert "<html" not in page.text
    assert attribute(page.text, "offer", "data-total") == "1200"
    assert "18.00" in page.text, "what the carrier asks less what it costs here"


async def test_the_second_tap_buys_once_and_never_more_than_was_shown(neighbours: Neighbours) -> None:
    await offered(neighbours, lots=20, price_minor=120)
    buyer = await neighbours.move_in(money_minor=100_000)
    await buyer.get("/buy?mb=1000")
    form = dict(buyer.shown["/buy"])

    for _ in range(2):
        await buyer.post("/buy", form)

    assert attribute(buyer.text, "bought", "data-filled") == "10"
    bought = await rows(neighbours, "select price_minor * quantity from trade where buyer_id = :p", p=buyer.party_id)
    assert [each[0] for each in bought] == [1_200]


async def test_a_price_that_rose_is_asked_about_again(neighbours: Neighbours) -> None:
    cheap = await offered(neighbours, lots=20, price_minor=120)
    await offered(neighbours, lots=20, price_minor=180)
    buyer = await neighbours.move_in(money_minor=100_000)
    await buyer.get("/buy?mb=1000")
    form = dict(buyer.shown["/buy"])
    await cheap.send("/sell-spare/undo")

    answer = await buyer.post("/buy", form)

    assert answer.status_code == 409
    assert "nothing was bought" in answer.text
    assert attribute(answer.text, "offer", "data-total") == "1800"
    assert buyer.shown["/buy"]["key"] != form["key"]
    assert not await rows(neighbours, "select id from trade where buyer_id = :p", p=buyer.party_id)
    await buyer.send("/buy")
    assert attribute(buyer.text, "bought", "data-filled") == "10"


@pytest.mark.parametrize("changes", [{"until": "1000000000"}, {"until": "99999999999"}, {"limit_minor": "301"}])
async def test_what_was_not_shown_is_not_bought(neighbours: Neighbours, changes: dict[str, str]) -> None:
    await offered(neighbours, lots=20, price_minor=120)
    buyer = await neighbours.move_in(money_minor=100_000)
    await buyer.get("/buy?mb=1000")

    answer = await buyer.send("/buy", changes)

    assert answer.status_code == 409
    assert not await rows(neighbours, "select id from trade where buyer_id = :p", p=buyer.party_id)


async def test_an_empty_wallet_is_offered_a_card_and_a_way_to_be_filled(neighbours: Neighbours) -> None:
    await offered(neighbours, lots=20, price_minor=120)
    buyer = await neighbours.move_in()

    page = await buyer.get("/buy?mb=1000")

    assert buyer.shown["/buy"]["payment"] == "card"
    assert buyer.shown["/buy/top-up"]["amount"] == "12.00"
    assert 'data-testid="fill-wallet"' in page.text


async def test_nobody_is_offered_their_own_data(neighbours: Neighbours) -> None:
    seller = await offered(neighbours, lots=20, price_minor=120)

    page = await seller.get("/buy?mb=1000")

    assert 'data-testid="no-offer"' in page.text


async def test_where_nothing_is_offered_the_page_says_so(neighbours: Neighbours) -> None:
    buyer = await neighbours.move_in()

    page = await buyer.get("/buy?mb=5000")

    assert 'data-testid="no-offer"' in page.text
    assert "/buy" not in buyer.shown


async def test_the_data_part_makes_as_many_statements_with_a_history_as_without(neighbours: Neighbours) -> None:
    old, new = await neighbours.move_in(), await neighbours.move_in(daily_mb=0)
    counts = []
    for member_ in (new, old):
        await member_.get("/data")  # the first look at a line reads its journal
        counts.append(await counted(neighbours, member_, "/data"))

    assert counts[0] == counts[1] <= 16


async def counted(neighbours: Neighbours, browser: Browser, path: str) -> int:
    """Statements that a page makes, at its fewest: what all visitors share is read again every two seconds."""
    return min([await _counted_once(neighbours, browser, path) for _ in range(3)])


async def _counted_once(neighbours: Neighbours, browser: Browser, path: str) -> int:
    made: list[str] = []
    engine = neighbours.app.state.venue.engine.sync_engine

    def note(*arguments: Any) -> None:
        made.append(arguments[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = await browser.get(path)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert answer.status_code == 200
    return len(made)
