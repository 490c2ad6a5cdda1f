"""Households: two people agree, they never trade with each other, and the payer's limits hold."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import household_invitations, household_views, households
from market.household_views import Home
from market.line_limits import Amount, check_limit
from market.parties import Member, member
from market.refusals import Conflict, NotAllowed, NotFound, TooMany
from market.trading import OrderRequest, Placed, amend, cancel, mass_cancel, place
from tests.engine.factories import running_engine
from tests.market.giving import SYMBOL, Somebody, assert_sound, comes_to, settling, somebody, told
from tests.market.town import Town, a_key


@pytest.fixture(autouse=True)
async def _engine(town: Town) -> AsyncIterator[None]:
    """An engine, and a book without anything that other tests left in it."""
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        for row in await town.rows("select id, party_id, group_id from orders where state = 'open'"):
            owner = Member(row.party_id, row.group_id, "subscriber", "Somebody", "zh_CN")
            await cancel(town.venue, owner, row.id, a_key())
        yield


def now() -> datetime:
    return datetime.now(UTC)


async def again(town: Town, who: Somebody) -> Member:
    """The member as their next request sees them."""
    async with town.venue.sessions() as session:
        return await member(session, who.member.party_id)


async def invited(town: Town, by: Somebody, who: Somebody) -> int:
    return await household_invitations.invite(town.venue, by.member, who.number, now())


async def joined(town: Town, by: Somebody, who: Somebody) -> None:
    await household_invitations.accept(town.venue, who.member, await invited(town, by, who), now())


async def seen_by(town: Town, who: Somebody) -> Home:
    async with town.venue.sessions() as session:
        return await household_views.home(session, town.venue.vault, who.member, now())


async def ordered(town: Town, who: Somebody, side: Any, lots: int, price: int = 300, **more: Any) -> Placed:
    request = OrderRequest(symbol=SYMBOL, side=side, lots=lots, price_minor=price, **more)
    return await place(town.venue, await again(town, who), request, a_key())


async def test_two_people_agree_and_share_one_group(town: Town) -> None:
    payer, other = await somebody(town), await somebody(town)

    invitation = await invited(town, payer, other)
    assert (await again(town, other)).group_id == other.member.party_id
    await household_invitations.accept(town.venue, other.member, invitation, now())

    assert (await again(town, other)).group_id == (await again(town, payer)).group_id == payer.member.party_id
    assert await told(town, other.member) == ["household_invited"]
    assert await told(town, payer.member) == ["household_joined"]


async def test_members_of_a_household_never_trade_with_each_other(town: Town) -> None:
    payer, other = await somebody(town), await somebody(town)
    await joined(town, payer, other)
    await town.put(other.member.party_id, "CNY", 3_000)

    await ordered(town, payer, "sell", 10)
    placed = await ordered(town, other, "buy", 10)

    assert placed.answer is not None
    assert not placed.answer.fills
    await assert_sound(town)


async def test_whoever_leaves_is_on_their_own_again(town: Town) -> None:
    payer, other = await somebody(town), await somebody(town)
    await joined(town, payer, other)

    await households.leave(town.venue, other.member)
    await households.leave(town.venue, other.member)

    assert (await again(town, other)).group_id == other.member.party_id
    await town.put(other.member.party_id, "CNY", 3_000)
    await ordered(town, payer, "sell", 10)
    placed = await ordered(town, other, "buy", 10)
    assert placed.answer is not None
    assert placed.answer.fills


async def test_when_the_payer_leaves_the_household_ends_for_all(town: Town) -> None:
    payer, *others = [await somebody(town) for _ in range(3)]
    for other in others:
        await joined(town, payer, other)

    await households.leave(town.venue, payer.member)

    for each in (payer, *others):
        assert (await again(town, each)).group_id == each.member.party_id
        assert (await seen_by(town, each)).lines == []
    assert "household_ended" in await told(town, others[0].member)


async def test_whoever_is_asked_may_say_no_and_only_they_may_answer(town: Town) -> None:
    payer, other, stranger = [await somebody(town) for _ in range(3)]
    invitation = await invited(town, payer, other)

    for answer in (household_invitations.accept, household_invitations.decline):
        with pytest.raises(NotFound):
            await answer(town.venue, stranger.member, invitation, now())
    await household_invitations.decline(town.venue, other.member, invitation, now())

    with pytest.raises(NotFound):
        await household_invitations.accept(town.venue, other.member, invitation, now())


async def test_an_invitation_lasts_a_week(town: Town) -> None:
    payer, other = await somebody(town), await somebody(town)
    invitation = await invited(town, payer, other)

    with pytest.raises(Conflict) as caught:
        await household_invitations.accept(town.venue, other.member, invitation, now() + timedelta(days=7))

    assert caught.value.code == "invitation_expired"


async def test_a_household_has_at_most_eight_members_those_who_were_asked_included(town: Town) -> None:
    payer = await somebody(town)
    people = [await somebody(town) for _ in range(8)]

    answers = await asyncio.gather(*(invited(town, payer, each) for each in people), return_exceptions=True)

    assert sum(isinstance(answer, int) for answer in answers) == 7
    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [TooMany]


async def test_nobody_belongs_to_two_households(town: Town) -> None:
    first, second, other = [await somebody(town) for _ in range(3)]
    await joined(town, first, other)

    with pytest.raises(NotAllowed) as caught:
        await joined(town, second, other)

    assert caught.value.code == "other_household"


async def test_two_acceptances_at_once_join_one_household(town: Town) -> None:
    first, second, other = [await somebody(town) for _ in range(3)]
    asked = [await invited(town, each, other) for each in (first, second)]

    answers = await asyncio.gather(
        *(household_invitations.accept(town.venue, other.member, each, now()) for each in asked),
        return_exceptions=True,
    )

    assert [answer for answer in answers if answer is None] == [None]
    rows = await town.rows("select household_id from household_member where party_id = :id", id=other.member.party_id)
    assert len(rows) == 1


async def test_orders_in_one_market_stand_against_joining(town: Town) -> None:
    payer, other = await somebody(town), await somebody(town)
    await ordered(town, payer, "sell", 10)
    await town.put(other.member.party_id, "CNY", 3_000)
    await ordered(town, other, "buy", 10, 200)
    invitation = await invited(town, payer, other)

    with pytest.raises(Conflict) as caught:
        await household_invitations.accept(town.venue, other.member, invitation, now())
    assert caught.value.code == "common_orders"

    await mass_cancel(town.venue, other.member, a_key())
    await household_invitations.accept(town.venue, other.member, invitation, now())


async def test_numbers_are_masked_and_those_of_outsiders_shown_to_nobody_else(town: Town) -> None:
    payer, other, outsider = [await somebody(town) for _ in range(3)]
    await joined(town, payer, other)
    await invited(town, payer, outsider)

    mine, theirs, asked = [await seen_by(town, each) for each in (payer, other, outsider)]

    assert mine.asked[0].masked == f"{outsider.number[3:6]}****{outsider.number[-4:]}"
    assert theirs.asked[0].masked is None
    assert {line.masked for line in theirs.lines} == {f"{n.number[3:6]}****{n.number[-4:]}" for n in (payer, other)}
    assert (asked.lines, [each.masked for each in asked.asks]) == ([], [f"{payer.number[3:6]}****{payer.number[-4:]}"])


# Buying for each other, and limits.


async def test_the_payer_buys_for_a_line_of_the_household_from_their_own_wallet(town: Town) -> None:
    payer, child, seller = await somebody(town), await somebody(town, remaining_mb=0), await somebody(town)
    await joined(town, payer, child)
    await town.put(payer.member.party_id, "CNY", 3_000)
    await ordered(town, seller, "sell", 10)

    await ordered(town, payer, "buy", 10, line_id=child.line_id)
    async with settling(town):
        await comes_to(town, child.number, (0, 0, 1_000))

    line = next(line for line in (await seen_by(town, payer)).lines if line.id == child.line_id)
    assert (line.bought_mb, line.bought_minor) == (1_000, 3_000)
    await assert_sound(town)


async def test_only_the_payer_buys_for_others(town: Town) -> None:
    payer, child, stranger = [await somebody(town) for _ in range(3)]
    await joined(town, payer, child)

    for buyer, line in ((child, payer.line_id), (stranger, child.line_id)):
        await town.put(buyer.member.party_id, "CNY", 3_000)
        with pytest.raises(NotFound):
            await ordered(town, buyer, "buy", 10, line_id=line)


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"monthly_mb": 1_500, "monthly_minor": None}, "line_limit_data"),
        ({"monthly_mb": None, "monthly_minor": 4_000}, "line_limit_money"),
    ],
)
async def test_a_limit_holds_over_all_purchases_of_a_line(town: Town, limit: dict[str, Any], code: str) -> None:
    payer, child = await somebody(town), await somebody(town)
    await joined(town, payer, child)
    await households.set_limit(town.venue, payer.member, child.line_id, **limit)
    for each in (payer, child):
        await town.put(each.member.party_id, "CNY", 9_000)
    waiting = await ordered(town, child, "buy", 10, 200)  # 1,000 MB, 20 yuan

    for buyer in (payer, child):
        with pytest.raises(TooMany) as caught:
            await ordered(town, buyer, "buy", 7, 300, line_id=child.line_id)
        assert caught.value.code == code
    assert waiting.answer is not None
    assert waiting.answer.order_id is not None
    with pytest.raises(TooMany):
        await amend(town.venue, child.member, waiting.answer.order_id, price_minor=290, lots=16, key=a_key())

    await ordered(town, payer, "buy", 7, 300)  # their own line has no limit
    await households.set_limit(town.venue, payer.member, child.line_id, monthly_mb=None, monthly_minor=None)
    await ordered(town, child, "buy", 7, 300)


async def test_limits_are_the_payers_to_set_and_for_lines_of_the_household(town: Town) -> None:
    payer, child, stranger = [await somebody(town) for _ in range(3)]
    await joined(town, payer, child)

    with pytest.raises(NotAllowed):
        await households.set_limit(town.venue, child.member, child.line_id, monthly_mb=1, monthly_minor=None)
    with pytest.raises(NotFound):
        await households.set_limit(town.venue, payer.member, stranger.line_id, monthly_mb=1, monthly_minor=None)


async def test_the_payer_may_take_somebody_out(town: Town) -> None:
    payer, child = await somebody(town), await somebody(town)
    await joined(town, payer, child)
    await households.set_limit(town.venue, payer.member, child.line_id, monthly_mb=1, monthly_minor=None)

    with pytest.raises(NotAllowed):
        await households.remove(town.venue, child.member, payer.member.party_id)
    await households.remove(town.venue, payer.member, child.member.party_id)

    assert (await again(town, child)).group_id == child.member.party_id
    assert not await town.rows("select line_id from line_limit where line_id = :id", id=child.line_id)


@given(
    st.none() | st.integers(0, 2_000), st.none() | st.integers(0, 2_000), st.integers(0, 3_000), st.integers(0, 3_000)
)
def test_a_purchase_passes_exactly_within_both_limits(mb: int | None, minor: int | None, data: int, money: int) -> None:
    fits = (mb is None or data <= mb) and (minor is None or money <= minor)
    try:
        check_limit(Amount(mb, minor), data, money)
    except TooMany:
        assert not fits
    else:
        assert fits
