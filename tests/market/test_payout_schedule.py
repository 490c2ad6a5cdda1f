"""Payouts by schedule: each once, never early, never below the minimum, and nothing while it can't be vouched for."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from market import payout_schedule
from market.parties import Member
from market.payout_schedule import change, due_day, keep
from market.payout_tables import PayoutRunRow
from market.refusals import BadInput
from settlement.tables import PayoutRow
from tests.market.test_wallet import a_seller, money_of, without_provider
from tests.market.town import Town

MONDAY_NOON = datetime(2029, 3, 5, 4, 0, tzinfo=UTC)
"""Noon in Beijing."""


async def a_scheduled(town: Town, minimum_minor: int = 1000, every: str = "daily") -> Member:
    seller = await a_seller(town)
    await change(town.venue, seller, every, minimum_minor, MONDAY_NOON - timedelta(days=2))
    return seller


async def payouts(town: Town, member: Member) -> list[int]:
    query = select(PayoutRow.amount_minor).where(PayoutRow.party_id == member.party_id).order_by(PayoutRow.id)
    async with town.venue.sessions() as session:
        return list(await session.scalars(query))


async def outcome(town: Town, member: Member) -> str | None:
    query = select(PayoutRunRow.outcome).where(PayoutRunRow.party_id == member.party_id)
    async with town.venue.sessions() as session:
        return await session.scalar(query)


@pytest.mark.parametrize(
    ("every", "now", "day"),
    [
        ("daily", datetime(2029, 3, 5, 2, 0, tzinfo=UTC), date(2029, 3, 5)),
        ("daily", datetime(2029, 3, 5, 1, 59, tzinfo=UTC), date(2029, 3, 4)),
        ("daily", datetime(2029, 3, 4, 17, 0, tzinfo=UTC), date(2029, 3, 4)),
        ("weekly", datetime(2029, 3, 5, 2, 0, tzinfo=UTC), date(2029, 3, 5)),
        ("weekly", datetime(2029, 3, 5, 1, 59, tzinfo=UTC), date(2029, 2, 26)),
        ("weekly", datetime(2029, 3, 10, 12, 0, tzinfo=UTC), date(2029, 3, 5)),
        ("manual", MONDAY_NOON, None),
    ],
)
def test_payouts_are_due_at_ten_in_beijing_and_weekly_ones_on_mondays(
    every: str, now: datetime, day: date | None
) -> None:
    assert due_day(every, now) == day


async def test_what_is_free_is_paid_out_once_a_day(town: Town) -> None:
    seller = await a_scheduled(town)

    await asyncio.gather(*(keep(town.venue, MONDAY_NOON) for _ in range(4)))
    await keep(town.venue, MONDAY_NOON + timedelta(hours=5))

    assert await payouts(town, seller) == [50_000]
    assert await money_of(town, seller) == (0, 50_000)
    assert await outcome(town, seller) == "requested"


async def test_nothing_is_paid_within_a_day_of_a_change(town: Town) -> None:
    seller = await a_seller(town)
    await change(town.venue, seller, "daily", 1000, MONDAY_NOON - timedelta(hours=20))

    await keep(town.venue, MONDAY_NOON)

    assert await payouts(town, seller) == []


async def test_less_than_the_minimum_stays_in_the_wallet(town: Town) -> None:
    seller = await a_scheduled(town, minimum_minor=50_001)

    await keep(town.venue, MONDAY_NOON)

    assert await payouts(town, seller) == []
    assert await outcome(town, seller) == "below_minimum"


async def test_a_payout_that_could_not_be_begun_is_begun_later_and_once(town: Town) -> None:
    seller = await a_scheduled(town)
    async with without_provider(town) as venue:
        await keep(venue, MONDAY_NOON)
    assert await payouts(town, seller) == []

    await keep(town.venue, MONDAY_NOON + timedelta(minutes=1))
    await keep(town.venue, MONDAY_NOON + timedelta(minutes=2))

    assert await payouts(town, seller) == [50_000]


async def test_nothing_is_paid_to_a_sim_card_that_was_changed_lately(town: Town) -> None:
    seller = await town.a_member(sim_changed_at=(datetime.now(UTC) - timedelta(hours=70)).isoformat())
    await town.put(seller.party_id, "CNY", 50_000)
    await change(town.venue, seller, "daily", 1000, MONDAY_NOON - timedelta(days=2))

    await keep(town.venue, MONDAY_NOON)

    assert await payouts(town, seller) == []
    assert await outcome(town, seller) == "sim_changed"


@pytest.mark.parametrize(("every", "minimum_minor"), [("hourly", 1000), ("daily", 99), ("daily", 2_000_001)])
async def test_a_schedule_that_cannot_be_kept_is_refused(town: Town, every: str, minimum_minor: int) -> None:
    seller = await town.a_member()

    with pytest.raises(BadInput):
        await change(town.venue, seller, every, minimum_minor, MONDAY_NOON)

    async with town.venue.sessions() as session:
        assert (await payout_schedule.schedule_of(session, seller)).every == "manual"
