"""The officer's parked events: seen, handled again by one who may, and on the record; and the wallet's way back."""

from collections.abc import Callable

import pytest
from litestar import Litestar
from sqlalchemy import func, select

from market import provider_events
from market.tables import AuditLinkRow
from settlement.tables import ProviderEventRow
from tests.pages.conftest import Browser
from tests.pages.test_dead_letters import _officer


@pytest.fixture
async def event(page_app: Litestar) -> str:
    """An event that was parked."""
    async with page_app.state.venue.sessions.begin() as session:
        taken = await session.scalar(select(func.count()).select_from(ProviderEventRow)) or 0
        row = ProviderEventRow(
            id=f"evt_parked{taken}", kind="charge.dispute.created", object_id="dp_1", payload={},
            handled_at=func.now(), outcome="for a person: another amount", parked=True,
        )  # fmt: skip
        session.add(row)
        await session.flush()
        return row.id


async def _is_parked(app: Litestar, event_id: str) -> bool:
    async with app.state.venue.sessions() as session:
        return bool((await session.get_one(ProviderEventRow, event_id)).parked)


async def test_an_operations_officer_has_a_parked_event_handled_again(
    page_app: Litestar, browsers: Callable[[], Browser], event: str
) -> None:
    browser = await _officer(page_app, browsers)
    await browser.get("/officer")
    assert "count-parked" in browser.text
    await browser.get("/officer/provider-events")
    assert "another amount" in browser.text

    await browser.send(f"/officer/provider-events/{event}/again")

    assert not await _is_parked(page_app, event)
    async with page_app.state.venue.sessions() as session:
        payloads = list(await session.scalars(select(AuditLinkRow.payload)))
    assert sum(f"event:{event}".encode() in (payload or b"") for payload in payloads) == 1


async def test_a_compliance_officer_sees_a_parked_event_and_may_not_touch_it(
    page_app: Litestar, browsers: Callable[[], Browser], event: str
) -> None:
    browser = await _officer(page_app, browsers, "compliance")
    await browser.get("/officer/provider-events")
    assert event in browser.text
    action = f"/officer/provider-events/{event}/again"
    assert action not in browser.shown

    response = await browser.post(action, browser.shown["/preferences"])

    assert response.status_code == 403
    assert await _is_parked(page_app, event)


async def test_replaying_the_parked_events_is_on_the_record(page_app: Litestar, event: str) -> None:
    assert await provider_events.replay(page_app.state.venue, None, only_parked=True) >= 1

    assert not await _is_parked(page_app, event)
    async with page_app.state.venue.sessions() as session:
        payloads = list(await session.scalars(select(AuditLinkRow.payload)))
    assert any(b"replay_events" in (payload or b"") for payload in payloads)


async def test_parked_events_are_a_figure_for_operators(
    page_app: Litestar, browsers: Callable[[], Browser], event: str
) -> None:
    page = (await browsers().get("/metrics")).text

    assert await _is_parked(page_app, event)
    assert "surplusflow_provider_events_parked" in page
