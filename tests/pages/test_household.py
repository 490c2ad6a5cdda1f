"""The page of a household: one asks, the other answers; limits and buying are the payer's."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from sqlalchemy import select

from market.household_tables import HouseholdInvitationRow, HouseholdMemberRow, HouseholdRow
from market.tables import LineRow
from market.venue import Venue
from tests.pages.conftest import Browser

PAGE = "/household"
ASK = "/household/invitations"


@pytest.fixture
def venue(page_app: Litestar) -> Venue:
    found: Venue = page_app.state.venue
    return found


async def line_of(venue: Venue, who: Browser) -> tuple[int, str]:
    """The line of somebody, and its number; it gets one when it is first asked for."""
    async with venue.sessions.begin() as session:
        row = await session.scalar(select(LineRow).where(LineRow.party_id == who.party_id))
        if row is None:
            number = f"+86139{secrets.randbelow(10**8):08d}"
            row = LineRow(
                party_id=who.party_id, carrier="CMCC", province="GD", plan="prepaid", base_mb=0, state="active",
                number_hash=venue.vault.lookup(number), number_sealed=venue.vault.seal(number),
                verified_at=datetime.now(UTC),
            )  # fmt: skip
            session.add(row)
            await session.flush()
    return row.id, venue.vault.open(row.number_sealed)


async def two(venue: Venue, signed_in: Callable[..., Any]) -> tuple[Browser, Browser]:
    """Two people with a line each."""
    payer, other = await signed_in(), await signed_in()
    for each in (payer, other):
        await line_of(venue, each)
    return payer, other


async def asked(venue: Venue, payer: Browser, other: Browser) -> None:
    """An invitation as it stands in the books: here nobody's carrier takes part, so none can be made by the page."""
    line_id, _ = await line_of(venue, other)
    async with venue.sessions.begin() as session:
        home = HouseholdRow(payer_id=payer.party_id)
        session.add(home)
        await session.flush()
        session.add(HouseholdMemberRow(party_id=payer.party_id, household_id=home.id))
        session.add(
            HouseholdInvitationRow(
                household_id=home.id, inviter_id=payer.party_id, invited_id=other.party_id, line_id=line_id,
                expires_at=datetime.now(UTC) + timedelta(days=7), ended_at=None,
            )
        )  # fmt: skip


async def answered(other: Browser, answer: str) -> None:
    await other.get(PAGE)
    action = next(action for action in other.shown if action.startswith(ASK) and action.endswith(answer))
    await other.send(action)


async def test_one_asks_and_the_other_joins(venue: Venue, signed_in: Callable[..., Any]) -> None:
    payer, other = await two(venue, signed_in)

    await asked(venue, payer, other)
    await payer.get(PAGE)
    assert 'data-testid="household-asked"' in payer.text
    await other.get(PAGE)
    assert 'data-testid="household-question"' in other.text
    await answered(other, "accept")

    assert other.text.count('data-testid="household-line"') == 2
    await payer.get(PAGE)
    assert payer.text.count('data-testid="household-line"') == 2
    assert 'data-testid="household-asked"' not in payer.text


async def test_one_asks_and_the_other_does_not_want_to(venue: Venue, signed_in: Callable[..., Any]) -> None:
    payer, other = await two(venue, signed_in)
    await asked(venue, payer, other)

    await answered(other, "decline")

    assert 'data-testid="household-question"' not in other.text
    assert 'data-testid="household-line"' not in other.text


async def test_a_wrong_number_is_refused_beside_its_field_and_stays(signed_in: Callable[..., Any]) -> None:
    payer: Browser = await signed_in()
    await payer.get(PAGE)

    page = await payer.send(ASK, phone="12")

    assert page.status_code == 400
    assert 'id="invite-phone-error"' in payer.text
    assert payer.shown[ASK]["phone"] == "12"


async def test_a_limit_is_kept_shown_and_lifted(venue: Venue, signed_in: Callable[..., Any]) -> None:
    payer, other = await two(venue, signed_in)
    await asked(venue, payer, other)
    await answered(other, "accept")
    action = f"/household/lines/{(await line_of(venue, other))[0]}/limit"
    await payer.get(PAGE)

    await payer.send(action, monthly_mb="2000", monthly_amount="30")
    assert "Limit: 2 GB a month." in payer.text
    assert "Limit: CN¥30.00 a month." in payer.text
    refused = await payer.send(action, monthly_mb="many", monthly_amount="")
    assert refused.status_code == 400
    assert payer.shown[action]["monthly_mb"] == "many"

    await payer.send(action, monthly_mb="", monthly_amount="")
    assert "Limit:" not in payer.text
    await other.get(PAGE)
    assert action not in other.text


async def test_leaving_shows_an_empty_household(venue: Venue, signed_in: Callable[..., Any]) -> None:
    payer, other = await two(venue, signed_in)
    await asked(venue, payer, other)
    await answered(other, "accept")

    await other.send("/household/leave")

    assert 'data-testid="empty"' in other.text
