"""The autopilot's page: limits are kept, or refused beside their fields; the next step is shown; a pause is at once."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from market.autopilot_rounds import fly
from tests.pages.conftest import Browser
from tests.pages.people_with_data import Neighbours, carrier_url, neighbours, page_app, settings_with_carrier
from tests.pages.test_home import attribute, counted, rows

__all__ = ["carrier_url", "neighbours", "page_app", "settings_with_carrier"]

PAGE = "/autopilot"


@pytest.fixture(autouse=True)
async def _off(neighbours: Neighbours) -> AsyncIterator[None]:
    """Leave no line to the rounds of the next test."""
    yield
    async with neighbours.app.state.venue.sessions.begin() as session:
        await session.execute(text("update autopilot set state = 'off'"))


async def somebody(neighbours: Neighbours, **changes: str) -> Browser:
    """A member who has just switched it on."""
    browser = await neighbours.move_in()
    await browser.get(PAGE)
    await browser.send(PAGE, {"sell_down_to": "2000", "floor": "13.00", **changes})
    return browser


async def round_of(neighbours: Neighbours) -> None:
    await fly(neighbours.app.state.venue, datetime.now(UTC))


async def test_switching_on_keeps_the_limits_and_shows_what_comes_next(neighbours: Neighbours) -> None:
    seller = await somebody(neighbours)

    assert attribute(seller.text, "pilot", "data-state") == "on"
    assert seller.shown[PAGE]["sell_down_to"] == "2000"
    assert seller.shown[PAGE]["floor"] == "13.00"
    line = seller.shown[PAGE]["line_id"]
    assert f'hx-get="/autopilot/next?line_id={line}"' in seller.text
    shown = await seller.get(f"/autopilot/next?line_id={line}", htmx=True)
    assert 'data-deed="sell"' in shown.text
    assert not await rows(neighbours, "select id from open_order where party_id = :p", p=seller.party_id)


async def test_what_was_shown_is_done_and_told(neighbours: Neighbours) -> None:
    seller = await somebody(neighbours)

    await round_of(neighbours)
    await seller.get(PAGE)

    assert attribute(seller.text, "pilot-action", "data-kind") == "sell"
    assert attribute(seller.text, "pilot-action", "data-outcome") == "done"
    await seller.get("/notices")
    assert "Your autopilot put" in seller.text


async def test_a_pause_takes_its_orders_off_the_market_before_it_answers(neighbours: Neighbours) -> None:
    seller = await somebody(neighbours)
    await round_of(neighbours)
    await seller.get(PAGE)

    await seller.send("/autopilot/switch", state="paused")

    assert attribute(seller.text, "pilot", "data-state") == "paused"
    assert not await rows(neighbours, "select id from open_order where party_id = :p", p=seller.party_id)
    await seller.send("/autopilot/switch", state="on")
    assert attribute(seller.text, "pilot", "data-state") == "on"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sell_down_to": "many"}, "a whole number of MB"),
        ({"sell_down_to": "100", "buy_up_to": "500"}, "must not be less than what it buys up to"),
        ({"floor": "0"}, "an amount above zero"),
        ({"cap": ""}, "Please enter a price"),
        ({"sells": "", "buys": ""}, "Choose selling, buying or both"),
    ],
)
async def test_a_wrong_limit_is_refused_beside_its_field_and_stays_as_typed(
    neighbours: Neighbours, changes: dict[str, str], words: str
) -> None:
    seller = await neighbours.move_in()
    await seller.get(PAGE)

    answer = await seller.send(PAGE, changes)

    assert answer.status_code == 400
    assert words in answer.text
    assert 'class="error"' in answer.text
    assert all(seller.shown[PAGE].get(name, "") == value for name, value in changes.items())
    assert not await rows(neighbours, "select line_id from autopilot where party_id = :p", p=seller.party_id)


async def test_a_strangers_line_is_nobodys_to_fly(neighbours: Neighbours) -> None:
    seller, stranger = await somebody(neighbours), await neighbours.move_in()
    line = seller.shown[PAGE]["line_id"]
    await stranger.get(PAGE)

    answers = [
        await stranger.send(PAGE, line_id=line),
        await stranger.post("/autopilot/switch", {**stranger.shown[PAGE], "line_id": line, "state": "off"}),
        await stranger.get(f"/autopilot/next?line_id={line}"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]


async def test_the_page_makes_as_many_statements_with_a_log_as_without(neighbours: Neighbours) -> None:
    seller = await somebody(neighbours)
    before = await counted(neighbours, seller, PAGE)
    line = int(seller.shown[PAGE]["line_id"])
    async with neighbours.app.state.venue.sessions.begin() as session:
        await session.execute(
            text("""
                insert into autopilot_action (line_id, party_id, day, key, kind, symbol, lots, price_minor, outcome)
                select :line, :party, '2026-01-01', 'many-' || number, 'sell', 'X', 1, 1, 'done'
                from generate_series(1, 500) number
            """),
            {"line": line, "party": seller.party_id},
        )

    after = await counted(neighbours, seller, PAGE)

    assert after == before <= 12
    assert "before=act_" in seller.text
