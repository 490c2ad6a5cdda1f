"""Coins: earned once a day, given once, redeemed once, and never more of them than were paid for."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from market import coins, wallet
from market.parties import Member, lines
from market.refusals import BadInput, Forbidden, KeyReused, NotAllowed, NotFound, TooMany
from market.tables import LineRow
from settlement.tables import RedemptionRow
from tests.market.town import Town, a_key, a_number

NOON = datetime(2026, 11, 10, 4, tzinfo=UTC)
"""Noon in Shanghai."""


async def coins_of(town: Town, member: Member) -> tuple[int, int]:
    found = await wallet.balances(town.venue, member)
    return found.coins_available, found.coins_held


async def a_holder(town: Town, count: int = 1_000, **line: Any) -> Member:
    member = await town.a_member(**line)
    await town.put(member.party_id, "COIN", count)
    return member


async def first_line(town: Town, member: Member) -> int:
    return (await lines(town.venue, member))[0].id


# The reward.


async def test_twenty_claims_at_once_earn_once(town: Town) -> None:
    await town.budget(100)
    member = await town.a_member()

    claims = await asyncio.gather(*(coins.claim_daily_reward(town.venue, member, NOON) for _ in range(20)))

    assert sum(claim.is_new for claim in claims) == 1
    assert await coins_of(town, member) == (5, 0)
    await town.assert_books_agree()


async def test_the_day_turns_at_midnight_in_shanghai(town: Town) -> None:
    await town.budget(100)
    member = await town.a_member()
    last_second = datetime(2026, 11, 10, 15, 59, 59, tzinfo=UTC)

    first = await coins.claim_daily_reward(town.venue, member, NOON)
    same_day = await coins.claim_daily_reward(town.venue, member, last_second)
    next_day = await coins.claim_daily_reward(town.venue, member, last_second + timedelta(seconds=1))

    assert (first.is_new, same_day.is_new, next_day.is_new) == (True, False, True)
    assert await coins_of(town, member) == (10, 0)


async def test_a_clock_that_goes_back_earns_nothing(town: Town) -> None:
    await town.budget(100)
    member = await town.a_member()
    await coins.claim_daily_reward(town.venue, member, NOON)

    assert not (await coins.claim_daily_reward(town.venue, member, NOON - timedelta(days=1))).is_new


async def test_rewards_come_out_of_a_budget_that_was_paid_for(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coins, "REWARD_COINS", 1_000_000)
    monkeypatch.setattr(coins, "EARNED_A_MONTH_COINS", 1_000_000)
    member = await town.a_member()

    with pytest.raises(NotAllowed) as caught:
        await coins.claim_daily_reward(town.venue, member, NOON)

    assert caught.value.code == "budget_used_up"
    await town.budget(1_000_000)
    assert (await coins.claim_daily_reward(town.venue, member, NOON)).is_new


async def test_a_month_earns_no_more_than_its_limit(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    await town.budget(100)
    monkeypatch.setattr(coins, "EARNED_A_MONTH_COINS", 9)
    member, now = await town.a_member(), datetime.now(UTC)
    await coins.claim_daily_reward(town.venue, member, now)

    with pytest.raises(NotAllowed) as caught:
        await coins.claim_daily_reward(town.venue, member, now + timedelta(days=1))

    assert caught.value.code == "earning_limit"


async def test_without_a_line_of_ones_own_there_is_no_reward(town: Town) -> None:
    member = await town.a_member()
    async with town.venue.sessions.begin() as session:
        await session.execute(update(LineRow).where(LineRow.party_id == member.party_id).values(state="suspended"))
    company = Member(member.party_id, member.group_id, "partner", "A company", "zh_CN")

    for claimant in (member, company):
        with pytest.raises(NotAllowed) as caught:
            await coins.claim_daily_reward(town.venue, claimant, NOON)
        assert caught.value.code == "no_line"


# Gifts.


async def test_a_gift_moves_the_coins(town: Town) -> None:
    giver, number = await a_holder(town), await town.line()
    receiver = await town.enter(number)

    gift = await coins.give(town.venue, giver, number, 300, a_key())

    assert (gift.coins, gift.masked) == (300, f"{number[3:6]}****{number[-4:]}")
    assert await coins_of(town, giver) == (700, 0)
    assert await coins_of(town, receiver) == (300, 0)
    await town.assert_books_agree()


async def test_a_gift_to_an_unknown_number_looks_the_same_and_waits(town: Town) -> None:
    giver, known, unknown = await a_holder(town), await town.line(), await town.line()
    await town.enter(known)

    gifts = [await coins.give(town.venue, giver, number, 10, a_key()) for number in (known, unknown)]

    assert [type(gift) for gift in gifts] == [coins.Gift, coins.Gift]
    assert len({len(gift.reference) for gift in gifts}) == 1
    assert await coins_of(town, await town.enter(unknown)) == (10, 0)


async def test_twenty_gifts_with_one_key_give_once(town: Town) -> None:
    giver, number, key = await a_holder(town), await town.line(), a_key()

    given = await asyncio.gather(*(coins.give(town.venue, giver, number, 100, key) for _ in range(20)))

    assert len(set(given)) == 1
    assert await coins_of(town, giver) == (900, 0)
    assert await coins_of(town, await town.enter(number)) == (100, 0)


async def test_a_gifts_key_belongs_to_one_receiver_and_one_amount(town: Town) -> None:
    giver, number, key = await a_holder(town), a_number(), a_key()
    await coins.give(town.venue, giver, number, 100, key)

    for other, count in ((number, 101), (a_number(), 100)):
        with pytest.raises(KeyReused):
            await coins.give(town.venue, giver, other, count, key)


async def test_two_who_give_to_each_other_never_deadlock(town: Town) -> None:
    numbers = [await town.line(), await town.line()]
    members = [await town.enter(number) for number in numbers]
    for member in members:
        await town.put(member.party_id, "COIN", 100)

    await asyncio.gather(
        *(coins.give(town.venue, members[turn % 2], numbers[1 - turn % 2], 1, a_key()) for turn in range(20))
    )

    assert [await coins_of(town, member) for member in members] == [(100, 0), (100, 0)]


async def test_gifts_sent_together_never_give_more_than_there_is(town: Town) -> None:
    giver = await a_holder(town, 100)

    answers = await asyncio.gather(
        *(coins.give(town.venue, giver, a_number(), 40, a_key()) for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(answer, coins.Gift) for answer in answers) == 2
    assert {answer.code for answer in answers if isinstance(answer, NotAllowed)} == {"insufficient_coins"}
    assert await coins_of(town, giver) == (20, 0)


async def test_a_gift_to_oneself_is_refused(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    await town.put(member.party_id, "COIN", 100)

    with pytest.raises(NotAllowed) as caught:
        await coins.give(town.venue, member, number, 10, a_key())

    assert caught.value.code == "own_number"


@pytest.mark.parametrize("count", [-1, 0, 1_001])
async def test_a_gift_has_a_smallest_and_a_largest_size(town: Town, count: int) -> None:
    with pytest.raises(BadInput) as caught:
        await coins.give(town.venue, await town.a_member(), a_number(), count, a_key())

    assert caught.value.field == "coins"


@pytest.mark.parametrize("phone", ["10086", "+8619212345678"])
async def test_a_gift_goes_to_numbers_of_our_carriers_only(town: Town, phone: str) -> None:
    with pytest.raises(BadInput) as caught:
        await coins.give(town.venue, await a_holder(town), phone, 10, a_key())

    assert caught.value.field == "phone"


async def test_gifts_are_limited_by_number_and_by_sum(town: Town) -> None:
    often, much = await a_holder(town, 1_000), await a_holder(town, 5_000)
    for _ in range(20):
        await coins.give(town.venue, often, a_number(), 1, a_key())
    await coins.give(town.venue, much, a_number(), 1_000, a_key())

    for member in (often, much):
        with pytest.raises(TooMany) as caught:
            await coins.give(town.venue, member, a_number(), 1, a_key())
        assert caught.value.code == "gift_limit"


# Redemptions.


async def test_a_redemption_sets_the_coins_aside_and_instructs_the_carrier(town: Town) -> None:
    member = await a_holder(town, carrier="CTCC")

    made = await coins.redeem(town.venue, member, await first_line(town, member), 300, a_key())

    assert made.status == "requested"
    assert await coins_of(town, member) == (700, 300)
    (instruction,) = await town.rows(
        "select lane, status from instruction where kind = 'redeem' and subject_id = :id", id=made.id
    )
    assert tuple(instruction) == ("CTCC", "ready")
    await town.assert_books_agree()


async def test_twenty_redemptions_with_one_key_set_aside_once(town: Town) -> None:
    member, key = await a_holder(town), a_key()
    line_id = await first_line(town, member)

    made = await asyncio.gather(*(coins.redeem(town.venue, member, line_id, 100, key) for _ in range(20)))

    assert len({each.id for each in made}) == 1
    assert await coins_of(town, member) == (900, 100)
    with pytest.raises(KeyReused):
        await coins.redeem(town.venue, member, line_id, 101, key)


async def test_coins_are_not_redeemed_twice(town: Town) -> None:
    member = await a_holder(town, 100)
    line_id = await first_line(town, member)

    answers = await asyncio.gather(
        *(coins.redeem(town.venue, member, line_id, 100, a_key()) for _ in range(2)), return_exceptions=True
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["NotAllowed", "Redemption"]
    assert await coins_of(town, member) == (0, 100)


async def test_a_months_redemptions_are_limited_and_what_was_refused_does_not_count(town: Town) -> None:
    member = await a_holder(town, 10_000)
    line_id = await first_line(town, member)
    made = await coins.redeem(town.venue, member, line_id, 5_000, a_key())

    with pytest.raises(TooMany):
        await coins.redeem(town.venue, member, line_id, 1, a_key())

    async with town.venue.sessions.begin() as session:
        await session.execute(update(RedemptionRow).where(RedemptionRow.id == made.id).values(status="refused"))
    assert (await coins.redeem(town.venue, member, line_id, 1, a_key())).status == "requested"


@pytest.mark.parametrize("count", [-1, 0, 5_001])
async def test_a_redemption_has_a_smallest_and_a_largest_size(town: Town, count: int) -> None:
    with pytest.raises(BadInput):
        await coins.redeem(town.venue, await town.a_member(), 1, count, a_key())


async def test_coins_become_data_on_an_active_line_of_ones_own(town: Town) -> None:
    member, other = await a_holder(town), await town.a_member()

    with pytest.raises(NotFound):
        await coins.redeem(town.venue, member, await first_line(town, other), 10, a_key())

    line_id = await first_line(town, member)
    async with town.venue.sessions.begin() as session:
        await session.execute(update(LineRow).where(LineRow.id == line_id).values(state="suspended"))
    with pytest.raises(Forbidden):
        await coins.redeem(town.venue, member, line_id, 10, a_key())
    assert await coins_of(town, member) == (1_000, 0)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (NOON, datetime(2026, 12, 31, 16, tzinfo=UTC)),
        (datetime(2026, 12, 31, 15, 59, tzinfo=UTC), datetime(2027, 1, 31, 16, tzinfo=UTC)),
        (datetime(2026, 12, 31, 16, tzinfo=UTC), datetime(2027, 2, 28, 16, tzinfo=UTC)),
        (datetime(2027, 1, 30, tzinfo=UTC), datetime(2027, 2, 28, 16, tzinfo=UTC)),
    ],
)
def test_redeemed_data_lasts_until_the_next_month_ends_in_shanghai(now: datetime, end: datetime) -> None:
    assert coins.end_of_next_month(now) == end
