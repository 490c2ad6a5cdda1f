"""Topping up on the phone bill: only on a line of one's own that offers it, within the month's limit, once a key."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from market import phone_bill
from market.parties import Member
from market.refusals import BadInput, KeyReused, NotAllowed, NotFound, TooMany
from market.tables import LineRow
from market.venue import Venue
from settlement.carriers.billing import Billing
from settlement.phone_bill_tables import BillPaymentRow
from settlement.tables import InstructionRow
from tests.market.town import Town, a_key


@pytest.fixture
async def venue(town: Town) -> AsyncIterator[Venue]:
    """The town, where one carrier takes payments on the phone bill."""
    profile = town.venue.carriers["CMCC"].profile
    async with Billing(profile) as billing:
        yield replace(town.venue, billing={"CMCC": billing})


async def a_payer(town: Town, venue: Venue, **line: str) -> tuple[Member, int]:
    member = await town.a_member(payment="postpaid", **line)
    async with venue.sessions() as session:
        found = await session.scalars(select(LineRow.id).where(LineRow.party_id == member.party_id))
    return member, found.one()


async def count_of(venue: Venue, member: Member) -> int:
    query = select(func.count()).select_from(BillPaymentRow).where(BillPaymentRow.party_id == member.party_id)
    async with venue.sessions() as session:
        return await session.scalar(query) or 0


async def test_a_payment_is_asked_of_the_lines_own_carrier(town: Town, venue: Venue) -> None:
    member, line_id = await a_payer(town, venue)

    made = await phone_bill.top_up(venue, member, line_id, 2000, a_key())

    async with venue.sessions() as session:
        asked = await session.scalar(
            select(InstructionRow.lane).where(
                InstructionRow.kind == "bill_prepare", InstructionRow.subject_id == made.id
            )
        )
    assert (made.status, asked) == ("requested", "CMCC")


async def test_twenty_requests_with_one_key_are_one_payment(town: Town, venue: Venue) -> None:
    member, line_id = await a_payer(town, venue)
    key = a_key()

    made = await asyncio.gather(*(phone_bill.top_up(venue, member, line_id, 2000, key) for _ in range(20)))

    assert len({one.id for one in made}) == 1
    assert await count_of(venue, member) == 1
    with pytest.raises(KeyReused):
        await phone_bill.top_up(venue, member, line_id, 2001, key)


async def test_the_months_limit_of_a_line_holds_for_requests_sent_together(town: Town, venue: Venue) -> None:
    member, line_id = await a_payer(town, venue)

    tries = (phone_bill.top_up(venue, member, line_id, 20_000, a_key()) for _ in range(5))
    answers = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(isinstance(answer, TooMany) for answer in answers) == 3
    assert await count_of(venue, member) == 2


@pytest.mark.parametrize("amount_minor", [0, 99, 20_001])
async def test_one_payment_has_a_smallest_and_a_largest_amount(town: Town, venue: Venue, amount_minor: int) -> None:
    member, line_id = await a_payer(town, venue)

    with pytest.raises(BadInput):
        await phone_bill.top_up(venue, member, line_id, amount_minor, a_key())


async def test_nobody_pays_on_a_strangers_bill(town: Town, venue: Venue) -> None:
    _, line_id = await a_payer(town, venue)
    stranger, _ = await a_payer(town, venue)

    with pytest.raises(NotFound):
        await phone_bill.top_up(venue, stranger, line_id, 2000, a_key())


async def test_a_carrier_that_does_not_offer_it_is_not_asked(town: Town) -> None:
    member, line_id = await a_payer(town, town.venue)

    with pytest.raises(NotAllowed):
        await phone_bill.top_up(town.venue, member, line_id, 2000, a_key())

    assert await phone_bill.payable_lines(town.venue, member) == []
