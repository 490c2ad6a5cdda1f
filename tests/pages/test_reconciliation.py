"""The officers' page of reconciliation: breaks with both sides, explained in words, corrected by two persons."""

from datetime import UTC, datetime

import pytest
from litestar import Litestar
from sqlalchemy import select

from market.refusals import NotFound
from settlement.ledger_tables import AccountRow
from settlement.reconciliation.tables import BreakRow, ReconciliationRow
from tests.pages import test_officer
from tests.pages.test_officer import SignsIn

officer = test_officer.officer


@pytest.fixture
async def break_id(page_app: Litestar) -> int:
    """A payment that the provider has and we do not."""
    async with page_app.state.venue.sessions.begin() as session:
        run = ReconciliationRow(
            day=datetime.now(UTC).date(), scope="all", status="done", ended_at=None, totals=[], result_hash=b"",
            reason=None,
        )  # fmt: skip
        session.add(run)
        await session.flush()
        row = BreakRow(
            counterparty="provider", kind="payment", subject=f"pi_stranger_{run.id}", subject_id=None,
            cause="missing_here", detail="nothing of that name is known here", ours=None, theirs=1500, unit="CNY",
            at=datetime.now(UTC), first_run_id=run.id, last_run_id=run.id, owner_id=None, explanation=None,
            escalated_at=None, ended_at=None,
        )  # fmt: skip
        session.add(row)
        await session.flush()
        return row.id


async def _status(app: Litestar, break_id: int) -> str:
    async with app.state.venue.sessions() as session:
        return str(await session.scalar(select(BreakRow.status).where(BreakRow.id == break_id)))


async def test_a_break_is_shown_with_both_sides_and_explained(
    officer: SignsIn,
    page_app: Litestar,
    break_id: int,
) -> None:
    browser = await officer()

    await browser.get("/officer/reconciliation?cause=missing_here")
    assert f'data-testid="break-{break_id}"' in browser.text
    await browser.get(f"/officer/reconciliation/{break_id}")
    assert "1,500" in browser.text
    refused = await browser.send(f"/officer/reconciliation/{break_id}/explain", explanation="")
    assert refused.status_code == 400
    await browser.send(f"/officer/reconciliation/{break_id}/explain", explanation="A test payment of the provider.")

    assert await _status(page_app, break_id) == "explained"


async def test_a_correction_is_booked_by_another_officer_than_the_one_who_proposed_it(
    officer: SignsIn,
    page_app: Litestar,
    break_id: int,
) -> None:
    first, second = await officer(), await officer()
    await first.get(f"/officer/reconciliation/{break_id}")
    action = f"/officer/reconciliation/{break_id}/adjust"
    wrong = await first.send(
        action, category="goodwill", source="provider", target="suspense", amount="15", reason="Unknown."
    )
    assert wrong.status_code == 400
    await first.send(
        action, category="correction", source="provider", target="suspense", amount="15", reason="Unknown."
    )
    await first.get("/officer/reconciliation")
    (decision,) = [name for name in first.shown if name.startswith("/officer/adjustments/")]

    assert (await first.send(decision, decision="confirm")).status_code == 422
    assert await _status(page_app, break_id) == "open"
    await second.get("/officer/reconciliation")
    await second.send(decision, decision="confirm")

    assert await _status(page_app, break_id) == "adjusted"
    async with page_app.state.venue.sessions() as session:
        balances = await session.scalars(select(AccountRow.available).where(AccountRow.kind == "suspense"))
        assert list(balances) == [1500]
    assert (await second.send(decision, decision="confirm")).status_code == 422


async def test_an_officer_of_a_carrier_sees_no_money_breaks_and_corrects_nothing(
    officer: SignsIn,
    break_id: int,
) -> None:
    browser = await officer("CMCC")

    await browser.get("/officer/reconciliation")
    assert f'data-testid="break-{break_id}"' not in browser.text
    assert (await browser.get(f"/officer/reconciliation/{break_id}")).status_code == 404
    fields = {**browser.shown["/officer/reconciliation"], "decision": "confirm"}
    assert (await browser.post("/officer/adjustments/1", fields)).status_code == NotFound.status
