"""Gifts by link: claimed once by whoever comes first, given back when nobody comes, never more than there was."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from market import coins, gift_links, wallet
from market.gift_links import GiftLink
from market.parties import Member
from market.refusals import BadInput, Conflict, KeyReused, NotAllowed, NotFound, TooMany
from tests.market.town import Town, a_key


async def coins_of(town: Town, member: Member) -> tuple[int, int]:
    found = await wallet.balances(town.venue, member)
    return found.coins_available, found.coins_held


async def a_giver(town: Town, count: int = 1_000) -> Member:
    member = await town.a_member()
    await town.put(member.party_id, "COIN", count)
    return member


async def made(town: Town, giver: Member, count: int = 100, key: str = "", now: datetime | None = None) -> GiftLink:
    return await gift_links.make(town.venue, giver, count, key or a_key(), now or datetime.now(UTC))


async def test_a_link_holds_the_coins_and_whoever_claims_it_has_them(town: Town) -> None:
    giver, receiver = await a_giver(town), await town.a_member()
    link = await made(town, giver)
    assert await coins_of(town, giver) == (900, 100)

    claimed = await gift_links.claim(town.venue, receiver, link.code, datetime.now(UTC))

    assert claimed.status == "claimed"
    assert (await coins_of(town, giver), await coins_of(town, receiver)) == ((900, 0), (100, 0))
    kinds = await town.rows("select kind from notice where party_id = :id", id=giver.party_id)
    assert [row.kind for row in kinds] == ["gift_claimed"]
    await town.assert_books_agree()


async def test_of_twenty_who_claim_at_once_one_gets_it(town: Town) -> None:
    giver = await a_giver(town)
    people = [await town.a_member() for _ in range(10)]
    link = await made(town, giver)

    answers = await asyncio.gather(
        *(gift_links.claim(town.venue, each, link.code, datetime.now(UTC)) for each in people for _ in range(2)),
        return_exceptions=True,
    )

    won = {answer.claimed_by for answer in answers if isinstance(answer, GiftLink)}
    assert len(won) == 1
    assert {answer.code for answer in answers if isinstance(answer, Conflict)} == {"gift_claimed"}
    assert sorted([(await coins_of(town, each))[0] for each in people])[-2:] == [0, 100]
    await town.assert_books_agree()


async def test_an_expired_link_gives_the_coins_back_and_can_not_be_claimed(town: Town) -> None:
    giver, late = await a_giver(town), await town.a_member()
    link = await made(town, giver)
    after = link.expires_at + timedelta(seconds=1)

    with pytest.raises(Conflict):
        await gift_links.claim(town.venue, late, link.code, after)
    await asyncio.gather(*(gift_links.give_back(town.venue, after) for _ in range(3)))

    assert await coins_of(town, giver) == (1_000, 0)
    with pytest.raises(Conflict) as caught:
        await gift_links.claim(town.venue, late, link.code, datetime.now(UTC))
    assert caught.value.code == "gift_expired"
    await town.assert_books_agree()


async def test_the_same_key_makes_the_same_link_and_only_its_hash_is_kept(town: Town) -> None:
    giver, key = await a_giver(town), a_key()

    links = await asyncio.gather(*(made(town, giver, key=key) for _ in range(10)))

    assert len({link.code for link in links}) == 1
    assert await coins_of(town, giver) == (900, 100)
    with pytest.raises(KeyReused):
        await made(town, giver, 101, key=key)
    (row,) = await town.rows("select gift_link::text as said from gift_link where id = :id", id=links[0].id)
    assert links[0].code not in row.said
    assert [link.code for link in await gift_links.latest(town.venue, giver, 5)] == [links[0].code]


async def test_a_link_is_not_for_its_giver_and_no_other_code_opens_one(town: Town) -> None:
    giver = await a_giver(town)
    link = await made(town, giver)

    with pytest.raises(NotAllowed):
        await gift_links.claim(town.venue, giver, link.code, datetime.now(UTC))
    with pytest.raises(NotFound):
        await gift_links.claim(town.venue, await town.a_member(), link.code + "x", datetime.now(UTC))


async def test_what_is_held_for_a_link_can_not_be_given_again(town: Town) -> None:
    giver = await a_giver(town, 150)
    await made(town, giver)

    with pytest.raises(NotAllowed):
        await made(town, giver)


@pytest.mark.parametrize("count", [-1, 0, 1_001])
async def test_a_link_has_the_sizes_of_a_gift(town: Town, count: int) -> None:
    with pytest.raises(BadInput):
        await made(town, await a_giver(town), count)


async def test_links_count_among_the_gifts_of_a_month(town: Town) -> None:
    giver = await a_giver(town, 3_000)
    await made(town, giver, 600)
    await coins.give(town.venue, giver, await town.line(), 300, a_key())

    with pytest.raises(TooMany):
        await made(town, giver, 101)
    with pytest.raises(TooMany):
        await coins.give(town.venue, giver, await town.line(), 101, a_key())


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (datetime(2026, 11, 10, 4, tzinfo=UTC), datetime(2026, 11, 12, 4, tzinfo=UTC)),
        (datetime(2026, 11, 29, 17, tzinfo=UTC), datetime(2026, 11, 30, 16, tzinfo=UTC)),
        (datetime(2026, 12, 31, 4, tzinfo=UTC), datetime(2026, 12, 31, 16, tzinfo=UTC)),
        (datetime(2027, 1, 30, 4, tzinfo=UTC), datetime(2027, 1, 31, 16, tzinfo=UTC)),
    ],
)
def test_a_link_lasts_two_days_or_until_the_month_ends(now: datetime, end: datetime) -> None:
    assert gift_links.expiry(now) == end
