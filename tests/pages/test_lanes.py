"""How the lanes stand: for officers on their desk, for operators in the figures, for parties at their trade."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import text

from settlement.breaker import WAITING, Breaker, Standing, forget, show
from tests.pages.conftest import Browser
from tests.pages.test_dead_letters import _officer
from tests.pages.test_receipt import _a_trade
from web.metrics import lane_figures


@pytest.fixture
async def open_lane(page_app: Litestar) -> AsyncIterator[None]:
    """A carrier that does not answer, with one instruction that waits for it."""
    sessions = page_app.state.venue.sessions
    async with sessions.begin() as session:
        await session.execute(
            text("insert into instruction (kind, subject_id, lane) values ('handout', 987654, 'CTCC')")
        )
        await show(session, "CTCC", Breaker(Standing.OPEN, 8, next_try=30, reason="no connection"), 0)
    yield
    async with sessions.begin() as session:
        await session.execute(text("delete from instruction where kind = 'handout' and subject_id = 987654"))
        await forget(session)


@pytest.mark.usefixtures("open_lane")
async def test_the_desk_shows_a_lane_that_is_open_with_its_queue_and_its_reason(
    page_app: Litestar, browsers: Callable[[], Browser]
) -> None:
    browser = await _officer(page_app, browsers)
    await browser.get("/officer")

    assert 'data-lane="CTCC" data-state="open"' in browser.text
    assert "Does not answer" in browser.text
    assert "no connection" in browser.text


@pytest.mark.usefixtures("open_lane")
async def test_the_figures_show_it_too(page_app: Litestar) -> None:
    async with page_app.state.venue.sessions() as session:
        figures = (await lane_figures(session)).decode()

    assert 'surplusflow_lane_open{lane="CTCC"} 1.0' in figures
    assert 'surplusflow_lane_waiting{lane="CTCC"} 1.0' in figures


async def test_both_sides_of_a_trade_read_why_it_waits(page_app: Litestar, signed_in: Callable[..., Any]) -> None:
    seller, buyer = await signed_in(), await signed_in()
    trade = await _a_trade(seller, buyer)
    number = int(trade.removeprefix("trd_"))
    async with page_app.state.venue.sessions.begin() as session:
        waits = text("update instruction set reason = :reason where kind = 'deliver' and subject_id = :id")
        await session.execute(waits, {"reason": WAITING, "id": number})

    for side in (seller, buyer):
        await side.get(f"/trades/{trade}")
        assert WAITING in side.text
