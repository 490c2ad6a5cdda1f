"""A number that was given to somebody else: its new owner is a new member, and sees nothing of the former one's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from market import line_events, parties, views, wallet
from market.line_events import CloudEvent, EventData, handle_pending, record
from market.parties import Member
from market.refusals import Forbidden, NotAllowed
from market.tables import LineRow
from market.withdrawals import withdraw
from settlement.carriers.client import Carrier
from tests.market.town import Town, a_key


async def absent(town: Town, member: Member, **since: float) -> None:
    """Have a member's last visit lie back."""
    last_here = datetime.now(UTC) - timedelta(**since)
    async with town.venue.sessions.begin() as session:
        await session.execute(update(LineRow).where(LineRow.party_id == member.party_id).values(verified_at=last_here))


async def happens(town: Town, number: str, kind: str) -> None:
    """At the carrier, which tells nobody."""
    await town.at_carrier("POST", "/admin/number-events", json={"msisdn": number, "kind": kind, "silent": True})


async def told(town: Town, number: str) -> None:
    """The carrier's own event, recorded and acted on."""
    event = CloudEvent(
        id=a_key(), source="carrier", specversion="1.0", type="org.surplusflow.line-events.v0.recycled",
        time=datetime.now(UTC), data=EventData(phone_number=number),
    )  # fmt: skip
    async with town.venue.sessions.begin() as session:
        assert await record(session, town.venue.vault, "CMCC", event)
    await handle_pending(town.venue)


async def sees_nothing_of(town: Town, member: Member, former: Member) -> None:
    assert member.party_id != former.party_id
    assert (await wallet.balances(town.venue, member)).available_minor == 0
    (line,) = await parties.lines(town.venue, member)
    async with town.venue.sessions() as session:
        assert not await views.trades(session, member.party_id, None, 10)
        assert not await wallet.statement(session, member, None, 10)
        with pytest.raises(Forbidden):
            await parties.line_row(session, former, (await town.value(OLD_LINE, party=former.party_id)))
    assert line.state == "active"
    assert await parties.lines(town.venue, former) == []


@asynccontextmanager
async def silent_about(town: Town, **without: bool) -> AsyncIterator[Town]:
    """The same town, with a carrier that does not offer some of its checks."""

    class Silent(Carrier):
        capabilities = replace(Carrier.capabilities, **without)

    async with Silent(town.venue.carriers["CMCC"].profile) as silent:
        yield replace(town, venue=replace(town.venue, carriers={**town.venue.carriers, "CMCC": silent}))


OLD_LINE = "select id from line where party_id = :party"


@pytest.mark.parametrize("known_by", ["event", "absence"])
async def test_the_new_owner_of_a_number_is_a_new_member(town: Town, known_by: str) -> None:
    number = await town.line()
    former = await town.enter(number)
    await town.put(former.party_id, "CNY", 50_000)
    await absent(town, former, days=70)
    await happens(town, number, "recycled")
    if known_by == "event":
        await told(town, number)

    newcomer = await town.enter(number)

    await sees_nothing_of(town, newcomer, former)
    assert await town.enter(number) == newcomer
    assert await town.value("select available from account where party_id = :p and available > 0", p=former.party_id)


async def test_a_number_found_recycled_at_sign_in_is_acted_on_like_the_carriers_own_event(town: Town) -> None:
    number = await town.line()
    former = await town.enter(number)
    await absent(town, former, days=70)
    await happens(town, number, "recycled")
    await town.enter(number)

    await handle_pending(town.venue)

    async with town.venue.sessions() as session:
        assert await line_events.is_paused(session, former.party_id)


async def test_a_gift_to_a_recycled_number_is_the_new_owners(town: Town) -> None:
    number = await town.line()
    former = await town.enter(number)
    await absent(town, former, days=2)
    await happens(town, number, "recycled")
    await told(town, number)

    async with town.venue.sessions.begin() as session:
        line = await parties.line_or_invitation(session, town.venue.vault, number, "CMCC")
        invited = line.party_id

    assert invited != former.party_id
    assert (await town.enter(number)).party_id == invited


async def test_whoever_comes_back_to_a_number_that_stayed_theirs_is_the_same_member(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    await absent(town, member, days=70)

    assert await town.enter(number) == member


async def test_a_closed_number_that_was_given_to_nobody_else_opens_again_for_its_owner(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    async with town.venue.sessions.begin() as session:
        await session.execute(update(LineRow).where(LineRow.party_id == member.party_id).values(state="closed"))

    assert await town.enter(number) == member
    assert [line.state for line in await parties.lines(town.venue, member)] == ["active"]


async def test_a_carrier_that_cannot_say_whose_a_closed_number_is_lets_nobody_in(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    async with town.venue.sessions.begin() as session:
        await session.execute(update(LineRow).where(LineRow.party_id == member.party_id).values(state="closed"))

    async with silent_about(town, recycling=False) as silent:
        with pytest.raises(Forbidden):
            await silent.enter(number)


@pytest.mark.parametrize("days", [2, 70])
async def test_a_sim_card_changed_meanwhile_lets_in_but_no_money_out(town: Town, days: int) -> None:
    number = await town.line()
    member = await town.enter(number)
    await town.put(member.party_id, "CNY", 5_000)
    await absent(town, member, days=days)
    swapped_at = datetime.now(UTC) - timedelta(hours=100 if days > 10 else 30)
    await town.line(number=number, sim_changed_at=swapped_at.isoformat())

    assert await town.enter(number) == member

    with pytest.raises(NotAllowed) as refused:
        await withdraw(town.venue, member, 1_000, a_key())
    assert refused.value.code == "sim_changed"
    told_of = await town.value("select kind from notice where party_id = :party", party=member.party_id)
    assert told_of == "sim_changed"


async def test_not_knowing_lets_in_with_a_mark_and_asks_again(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    await absent(town, member, days=5)
    before = await town.value("select verified_at from line where party_id = :p", p=member.party_id)

    async with silent_about(town, sim_swap=False) as silent:
        assert await silent.enter(number) == member

    assert await town.value("select verified_at from line where party_id = :p", p=member.party_id) == before


async def test_a_long_absence_and_a_carrier_that_knows_nothing_keep_everybody_out(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    await absent(town, member, days=70)

    async with silent_about(town, recycling=False, sim_swap=False) as silent:
        with pytest.raises(Forbidden):
            await silent.enter(number)
