"""Households: members who live together, never trade with each other, and of whom one pays and sets limits.

A household shares one ``group_id``, its payer's party id. Whoever leaves has their own again; when the payer leaves,
the household ends. How somebody joins is in `market.household_invitations`.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.household_tables import HouseholdMemberRow, HouseholdRow, LineLimitRow
from market.parties import Member
from market.refusals import BadInput, NotAllowed, NotFound
from market.tables import LineRow, PartyRow
from market.venue import Venue
from settlement.notices import tell

ABOUT = "/household"
"""The page that all notices of a household are about."""
LARGEST_LIMIT_MB = 10_000_000
LARGEST_LIMIT_MINOR = 100_000_000


async def home_of(session: AsyncSession, party_id: int) -> HouseholdRow | None:
    """The household that a party belongs to."""
    own = select(HouseholdRow).join(HouseholdMemberRow, HouseholdMemberRow.household_id == HouseholdRow.id)
    found: HouseholdRow | None = await session.scalar(own.where(HouseholdMemberRow.party_id == party_id))
    return found


async def members_of(session: AsyncSession, household_id: int) -> list[int]:
    """The parties of a household, the longest first."""
    query = select(HouseholdMemberRow.party_id).where(HouseholdMemberRow.household_id == household_id)
    return list(await session.scalars(query.order_by(HouseholdMemberRow.joined_at, HouseholdMemberRow.party_id)))


async def lock_home(session: AsyncSession, household_id: int) -> HouseholdRow | None:
    """Let who joins and who leaves at once queue up; nothing when the household has ended meanwhile."""
    query = select(HouseholdRow).where(HouseholdRow.id == household_id).with_for_update()
    found: HouseholdRow | None = await session.scalar(query.execution_options(populate_existing=True))
    return found


async def lock_parties(session: AsyncSession, party_ids: Iterable[int]) -> None:
    """Lock the parties whose group changes, in the order of their ids."""
    query = select(PartyRow.id).where(PartyRow.id.in_(set(party_ids))).order_by(PartyRow.id)
    await session.execute(query.with_for_update(key_share=True))


# Leaving.


async def leave(venue: Venue, member: Member) -> None:
    """Leave the household; when its payer leaves, it ends for all. Said again it changes nothing.

    Orders that are still open keep the group that they were placed under, so those of a household never trade with
    each other, whoever has left since.
    """
    async with venue.sessions.begin() as session:
        found = await home_of(session, member.party_id)
        home = None if found is None else await lock_home(session, found.id)
        if home is None:
            return
        if home.payer_id == member.party_id:
            await dissolve(session, home)
        else:
            await _part(session, home, [member.party_id])
            await tell(session, home.payer_id, "household_left", ABOUT)
        await audit.append(session, audit.party(member.party_id), "household_left", f"household:{home.id}", {})


async def remove(venue: Venue, payer: Member, party_id: int) -> None:
    """Take somebody out of the household that the member pays for.

    Raises:
        NotFound: they do not belong to it.
    """
    async with venue.sessions.begin() as session:
        home = await _paid_by(session, payer)
        belongs = await session.get(HouseholdMemberRow, party_id)
        if belongs is None or belongs.household_id != home.id or party_id == payer.party_id:
            raise NotFound("They do not belong to your household.")
        await _part(session, home, [party_id])
        await tell(session, party_id, "household_removed", ABOUT)
        detail = {"party": party_id}
        await audit.append(session, audit.party(payer.party_id), "household_removed", f"household:{home.id}", detail)


async def _paid_by(session: AsyncSession, payer: Member) -> HouseholdRow:
    """The household that a member pays for, locked."""
    found = await home_of(session, payer.party_id)
    home = None if found is None else await lock_home(session, found.id)
    if home is None or home.payer_id != payer.party_id:
        raise NotAllowed("Only the one who pays for a household may do this.", code="not_the_payer")
    return home


async def dissolve(session: AsyncSession, home: HouseholdRow) -> None:
    """End a household that is locked: everybody has their own group again."""
    members = await members_of(session, home.id)
    await _part(session, home, members)
    for party_id in members:
        if party_id != home.payer_id:
            await tell(session, party_id, "household_ended", ABOUT)
    await session.execute(delete(HouseholdRow).where(HouseholdRow.id == home.id))


async def _part(session: AsyncSession, home: HouseholdRow, leaving: Sequence[int]) -> None:
    """Give those who leave their own group back; the limits of their lines end."""
    await lock_parties(session, leaving)
    lines = select(LineRow.id).where(LineRow.party_id.in_(leaving))
    await session.execute(delete(LineLimitRow).where(LineLimitRow.line_id.in_(lines)))
    members = delete(HouseholdMemberRow).where(HouseholdMemberRow.household_id == home.id)
    await session.execute(members.where(HouseholdMemberRow.party_id.in_(leaving)))
    await session.execute(update(PartyRow).where(PartyRow.id.in_(leaving)).values(group_id=PartyRow.id))


# Limits.


async def set_limit(
    venue: Venue, payer: Member, line_id: int, *, monthly_mb: int | None, monthly_minor: int | None
) -> None:
    """Limit what may be bought for a line of the household in a month; neither of both lifts the limit.

    Raises:
        BadInput: a limit is none.
        NotAllowed: the member is not the payer.
        NotFound: the line belongs to nobody of the household.
    """
    if monthly_mb is not None and not 0 <= monthly_mb <= LARGEST_LIMIT_MB:
        raise BadInput(f"A limit is 0 to {LARGEST_LIMIT_MB:,} MB.", field="monthly_mb")
    if monthly_minor is not None and not 0 <= monthly_minor <= LARGEST_LIMIT_MINOR:
        raise BadInput("This limit is too large.", field="monthly_amount")
    async with venue.sessions.begin() as session:
        home = await _paid_by(session, payer)
        belongs = exists().where(
            HouseholdMemberRow.party_id == LineRow.party_id, HouseholdMemberRow.household_id == home.id
        )
        if await session.scalar(select(LineRow.id).where(LineRow.id == line_id, belongs)) is None:
            raise NotFound("There is no such line in your household.")
        if monthly_mb is None and monthly_minor is None:
            await session.execute(delete(LineLimitRow).where(LineLimitRow.line_id == line_id))
            return
        limits = {"household_id": home.id, "monthly_mb": monthly_mb, "monthly_minor": monthly_minor}
        added = insert(LineLimitRow).values(line_id=line_id, **limits)
        await session.execute(
            added.on_conflict_do_update(index_elements=["line_id"], set_={**limits, "set_at": func.now()})
        )
