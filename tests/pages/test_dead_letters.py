"""The officer's dead letters: asked again by one, ended by two, and each word on the record."""

from collections.abc import Callable

import pytest
from litestar import Litestar
from sqlalchemy import select

from market.tables import AuditLinkRow, OfficerRow
from settlement.tables import HandoutRow, InstructionRow
from tests.pages.conftest import Browser


async def _officer(app: Litestar, browsers: Callable[[], Browser], role: str = "operations") -> Browser:
    browser = browsers()
    async with app.state.venue.sessions.begin() as session:
        taken = len(list(await session.scalars(select(OfficerRow.id))))
        row = OfficerRow(login=f"letters{taken}", password_hash="-", role=role, carrier=None)
        session.add(row)
        await session.flush()
        number = row.id
    await browser.get("/officer/sign-in")
    await browser.post(f"/tests/officers/{number}", browser.shown["/preferences"])
    await browser.get("/officer/dead-letters")
    return browser


@pytest.fixture
async def dead(page_app: Litestar) -> int:
    """A handout that the carrier contradicted."""
    async with page_app.state.venue.sessions.begin() as session:
        taken = len(list(await session.scalars(select(HandoutRow.id))))
        row = HandoutRow(
            party_id=1, key=f"dead-{taken}", line_id=1, receiver_line_id=2, carrier="CMCC", bucket_id="b",
            amount_mb=100, carrier_reference=None, reason=None, ended_at=None,
        )  # fmt: skip
        session.add(row)
        await session.flush()
        instruction = InstructionRow(
            kind="handout", subject_id=row.id, lane="CMCC", status="dead", attempt=3, claimed_by=None,
            claim_deadline=None, last_sent_at=None, request_hash=None, external_reference=None,
            reason="It contradicts us.", ended_at=None,
        )  # fmt: skip
        session.add(instruction)
        await session.flush()
        return instruction.id


async def _instruction(app: Litestar, number: int) -> InstructionRow:
    async with app.state.venue.sessions() as session:
        row: InstructionRow = await session.get_one(InstructionRow, number)
        return row


async def test_one_officer_says_and_another_confirms(
    page_app: Litestar, browsers: Callable[[], Browser], dead: int
) -> None:
    first, second = await _officer(page_app, browsers), await _officer(page_app, browsers)
    assert "It contradicts us." in first.text

    await first.send(f"/officer/dead-letters/{dead}/say", reference="move-9", reason="Looked it up.")
    await first.get("/officer/dead-letters")
    await second.get("/officer/dead-letters")
    (confirm,) = [action for action in second.shown if action.endswith("/confirm")]

    assert confirm not in first.shown
    refused = await first.post(confirm, first.shown["/preferences"])
    assert refused.status_code == 403
    assert (await _instruction(page_app, dead)).status == "dead"
    await second.send(confirm)

    row = await _instruction(page_app, dead)
    assert (row.status, row.external_reference) == ("done", "move-9")
    async with page_app.state.venue.sessions() as session:
        handout = await session.get_one(HandoutRow, row.subject_id)
        entries = [link.payload async for link in await session.stream_scalars(select(AuditLinkRow))]
    assert handout.status == "done"
    assert sum(f"instruction:{dead}".encode() in (payload or b"") for payload in entries) == 2


async def test_asking_again_takes_one_officer_of_operations(
    page_app: Litestar, browsers: Callable[[], Browser], dead: int
) -> None:
    compliance, operations = await _officer(page_app, browsers, "compliance"), await _officer(page_app, browsers)
    ask = f"/officer/dead-letters/{dead}/ask"

    assert ask not in compliance.shown
    assert (await compliance.post(ask, compliance.shown["/preferences"])).status_code == 403
    await operations.send(ask)

    assert (await _instruction(page_app, dead)).status == "unknown"
