"""The officers' page of what waits for a person: seen by one of them in words, kept on the record."""

from collections.abc import Callable

import pytest
from litestar import Litestar
from sqlalchemy import select, text

from market.attention_tables import SeenByOfficerRow
from market.tables import AuditLinkRow, OfficerRow
from settlement import freezing
from settlement.payout_accounts import DISOWNED
from tests.pages.conftest import Browser


async def _officer(app: Litestar, browsers: Callable[[], Browser], carrier: str | None = None) -> Browser:
    browser = browsers()
    async with app.state.venue.sessions.begin() as session:
        taken = len(list(await session.scalars(select(OfficerRow.id))))
        row = OfficerRow(login=f"waits{taken}", password_hash="-", role="operations", carrier=carrier)
        session.add(row)
        await session.flush()
        number = row.id
    await browser.get("/officer/sign-in")
    await browser.post(f"/tests/officers/{number}", browser.shown["/preferences"])
    await browser.get("/officer/escalations")
    return browser


@pytest.fixture
async def slow(page_app: Litestar) -> int:
    """Data whose reservation the carrier does not confirm."""
    async with page_app.state.venue.sessions.begin() as session:
        custody = await session.scalar(
            text("""
            insert into custody
                (party_id, key, line_id, account_id, carrier, bucket_id, quantity_mb, status, expires_at)
            select 1, 'slow-' || count(*), 1, (select min(id) from account), 'CMCC', 'b', 100, 'refused', now()
            from custody returning id
        """)
        )
        number: int = await session.scalar(
            text("""
            insert into escalation (subject, subject_id, cause, since)
            values ('custody', :custody, 'unconfirmed', now() - interval '20 minutes') returning id
        """),
            {"custody": custody},
        )
        return number


async def _seen(app: Litestar, number: int) -> SeenByOfficerRow | None:
    async with app.state.venue.sessions() as session:
        row: SeenByOfficerRow | None = await session.get(SeenByOfficerRow, ("escalation", number))
        return row


async def test_an_officer_says_what_is_done_about_it_and_the_first_words_stay(
    page_app: Litestar, browsers: Callable[[], Browser], slow: int
) -> None:
    first, second = await _officer(page_app, browsers), await _officer(page_app, browsers)
    assert f"escalation-{slow}" in first.text

    await first.send(f"/officer/escalations/escalation/{slow}", note="I call the carrier.")
    await second.send(f"/officer/escalations/escalation/{slow}", note="So do I.")

    row = await _seen(page_app, slow)
    assert row is not None
    assert row.note == "I call the carrier."
    await second.get("/officer/escalations")
    assert "I call the carrier." in second.text
    async with page_app.state.venue.sessions() as session:
        actions = list(await session.scalars(select(AuditLinkRow.payload).where(AuditLinkRow.chain == "house")))
    assert sum(f'escalation:{slow}"' in str(entry) for entry in actions) == 1


@pytest.mark.parametrize("note", ["", "call 13912345678"])
async def test_no_words_or_a_phone_number_are_refused_beside_the_field(
    page_app: Litestar, browsers: Callable[[], Browser], slow: int, note: str
) -> None:
    officer = await _officer(page_app, browsers)

    answer = await officer.send(f"/officer/escalations/escalation/{slow}", note=note)

    assert answer.status_code in {400, 422}
    assert f'id="note-escalation-{slow}-error"' in answer.text
    assert await _seen(page_app, slow) is None


async def test_another_carriers_officer_neither_sees_it_nor_says_anything(
    page_app: Litestar, browsers: Callable[[], Browser], slow: int
) -> None:
    officer = await _officer(page_app, browsers, carrier="CTCC")

    shown = officer.text
    await officer.get("/officer/dead-letters")
    token = officer.shown["/preferences"]
    answer = await officer.post(f"/officer/escalations/escalation/{slow}", {**token, "note": "Not mine."})

    assert f"escalation-{slow}" not in shown
    assert answer.status_code == 404
    assert await _seen(page_app, slow) is None


async def test_a_member_whose_bank_account_was_changed_is_let_go_by_an_officer_with_a_reason(
    page_app: Litestar, browsers: Callable[[], Browser]
) -> None:
    async with page_app.state.venue.sessions.begin() as session:
        await freezing.freeze(session, 77, DISOWNED, "Not me.")
    officer = await _officer(page_app, browsers)
    (action,) = [each for each in officer.shown if each.startswith("/officer/freezes/")]

    answer = await officer.send(action, reason="")
    assert answer.status_code == 400
    await officer.send(action, reason="Spoken with them; the account is closed.")

    async with page_app.state.venue.sessions() as session:
        assert await freezing.is_frozen(session, 77) is None
    assert action not in officer.text
