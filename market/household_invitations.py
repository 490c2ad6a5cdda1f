"""Joining a household: one member asks by phone number, the other says yes or no on a page of their own."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.custody import SHANGHAI
from market.household_tables import HouseholdInvitationRow as Invitation
from market.household_tables import HouseholdMemberRow, HouseholdRow
from market.households import ABOUT, dissolve, home_of, lock_home, lock_parties, members_of
from market.numbers import canonical_number, issuing_carrier
from market.parties import Member, line_of_number, line_or_invitation
from market.purses import lock_party
from market.refusals import BadInput, Conflict, NotAllowed, NotFound, TooMany
from market.tables import LineRow, PartyRow
from market.venue import Venue
from settlement.notices import tell

MOST_MEMBERS = 8
"""Those who were asked and have not answered count."""
VALID = timedelta(days=7)
INVITATIONS_A_DAY = 10

_COMMON = text("""
    select exists (
        select from open_order mine join open_order theirs on theirs.instrument_id = mine.instrument_id
        where mine.party_id = :joiner and theirs.party_id = any(cast(:members as bigint[]))
    )
""")


async def invite(venue: Venue, member: Member, phone: str, now: datetime) -> int:
    """Ask whoever has a number to join the member's household, which begins with the first invitation.

    Gives the invitation's id; asked again while it is open, the same one. A number that is new here looks the same.

    Raises:
        BadInput: the number is none, or its carrier takes no part.
        NotAllowed: it is the member's own, or of somebody who belongs to the household already.
        TooMany: the household is full, or too many were asked in a day.
    """
    _check_person(member)
    msisdn = canonical_number(phone)
    async with venue.sessions.begin() as session:
        known = await line_of_number(session, venue.vault, msisdn)
        carrier = known.carrier if known else issuing_carrier(msisdn)
        if carrier is None or carrier not in venue.carriers:
            raise BadInput("The carrier of this number takes no part in this market.", field="phone")
        home = await _own_home(session, member)
        line = await line_or_invitation(session, venue.vault, msisdn, carrier)
        await _check_invited(session, home, member, line, now)
        open_ones = select(Invitation).where(Invitation.household_id == home.id, Invitation.status == "open")
        row = await session.scalar(open_ones.where(Invitation.invited_id == line.party_id))
        if row is None:
            await _check_room(session, home, member, now)
            row = Invitation(
                household_id=home.id, inviter_id=member.party_id, invited_id=line.party_id, line_id=line.id,
                expires_at=now + VALID, ended_at=None,
            )  # fmt: skip
            session.add(row)
            await session.flush()
            await tell(session, line.party_id, "household_invited", ABOUT, once=f"hin_{row.id}")
        return row.id


def _check_person(member: Member) -> None:
    if member.kind != "subscriber":
        raise NotAllowed("Households are for people; a company has its partner page.", code="not_a_person")


async def _own_home(session: AsyncSession, member: Member) -> HouseholdRow:
    """The member's household, locked; one that begins now has the member as its payer."""
    found = await home_of(session, member.party_id)
    home = None if found is None else await lock_home(session, found.id)
    if home is not None:
        return home
    await lock_party(session, member)
    return await home_of(session, member.party_id) or await _begin(session, member)


async def _begin(session: AsyncSession, member: Member) -> HouseholdRow:
    party = await session.get_one(PartyRow, member.party_id, populate_existing=True)
    if party.group_id != party.id:
        raise NotAllowed("Your account belongs to a group already.", code="other_group")
    home = HouseholdRow(payer_id=member.party_id)
    session.add(home)
    await session.flush()
    session.add(HouseholdMemberRow(party_id=member.party_id, household_id=home.id))
    return home


async def _check_invited(
    session: AsyncSession, home: HouseholdRow, member: Member, line: LineRow, now: datetime
) -> None:
    stale = update(Invitation).where(Invitation.household_id == home.id, Invitation.status == "open")
    await session.execute(stale.where(Invitation.expires_at <= now).values(status="withdrawn", ended_at=now))
    if line.party_id == member.party_id:
        raise NotAllowed("This is your own number.", code="own_number", field="phone")
    belongs = await session.get(HouseholdMemberRow, line.party_id)
    if belongs is not None and belongs.household_id == home.id:
        raise NotAllowed("They belong to your household already.", code="member_already", field="phone")


async def _check_room(session: AsyncSession, home: HouseholdRow, member: Member, now: datetime) -> None:
    members = len(await members_of(session, home.id))
    of_home = select(func.count()).select_from(Invitation).where(Invitation.household_id == home.id)
    asked = await session.scalar(of_home.where(Invitation.status == "open")) or 0
    if members + asked >= MOST_MEMBERS:
        raise TooMany(f"A household has at most {MOST_MEMBERS} members, those who were asked included.", field="phone")
    today = now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    mine = of_home.where(Invitation.inviter_id == member.party_id, Invitation.created_at >= today)
    if (await session.scalar(mine) or 0) >= INVITATIONS_A_DAY:
        raise TooMany(f"At most {INVITATIONS_A_DAY} people can be asked in a day.", field="phone")


async def withdraw(venue: Venue, member: Member, invitation_id: int, now: datetime) -> None:
    """Take an invitation of the member's own, or of the household that they pay for, back.

    Raises:
        NotFound: there is no such open invitation.
    """
    async with venue.sessions.begin() as session:
        row = await _open(session, invitation_id)
        home = await home_of(session, member.party_id)
        mine = row is not None and home is not None and row.household_id == home.id
        if row is None or home is None or not mine or member.party_id not in {row.inviter_id, home.payer_id}:
            raise NotFound("There is no such invitation.")
        row.status, row.ended_at = "withdrawn", now


async def decline(venue: Venue, member: Member, invitation_id: int, now: datetime) -> None:
    """Say no.

    Raises:
        NotFound: there is no such open invitation for this member.
    """
    async with venue.sessions.begin() as session:
        row = await _open(session, invitation_id)
        if row is None or row.invited_id != member.party_id:
            raise NotFound("There is no such invitation.")
        row.status, row.ended_at = "declined", now
        await tell(session, row.inviter_id, "household_declined", ABOUT, once=f"hin_{row.id}")


async def accept(venue: Venue, member: Member, invitation_id: int, now: datetime) -> None:
    """Join: from then on the two never trade with each other. Said again by a member it changes nothing.

    Raises:
        NotFound: there is no such open invitation for this member.
        Conflict: it has expired; or both have orders open in one market, which could still trade with each other.
        NotAllowed: the member belongs to another household or group.
        TooMany: the household is full.
    """
    _check_person(member)
    async with venue.sessions.begin() as session:
        row = await _open(session, invitation_id)
        if row is None or row.invited_id != member.party_id:
            raise NotFound("There is no such invitation.")
        if now >= row.expires_at:
            raise Conflict("This invitation has expired. Ask to be invited again.", code="invitation_expired")
        home = await lock_home(session, row.household_id)
        if home is None:
            raise NotFound("There is no such invitation.")
        members = await members_of(session, home.id)
        await lock_parties(session, [*members, member.party_id])
        await _check_joining(session, member, members)
        party = await session.get_one(PartyRow, member.party_id, populate_existing=True)
        session.add(HouseholdMemberRow(party_id=member.party_id, household_id=home.id))
        party.group_id = home.payer_id
        row.status, row.ended_at = "accepted", now
        await tell(session, row.inviter_id, "household_joined", ABOUT, once=f"hin_{row.id}")
        await audit.append(session, audit.party(member.party_id), "household_joined", f"household:{home.id}", {})


async def _check_joining(session: AsyncSession, member: Member, members: Sequence[int]) -> None:
    own = await home_of(session, member.party_id)
    if own is not None and await members_of(session, own.id) == [member.party_id]:
        await dissolve(session, own)  # nobody ever joined it
    elif own is not None:
        raise NotAllowed("You belong to another household: leave it first.", code="other_household")
    party = await session.get_one(PartyRow, member.party_id, populate_existing=True)
    if party.group_id != party.id:
        raise NotAllowed("Your account belongs to a group already.", code="other_group")
    if len(members) >= MOST_MEMBERS:
        raise TooMany(f"A household has at most {MOST_MEMBERS} members, those who were asked included.")
    if await session.scalar(_COMMON, {"joiner": member.party_id, "members": list(members)}):
        raise Conflict(
            "You and your household both have orders open in one market. Cancel yours there first, then join.",
            code="common_orders",
        )


async def _open(session: AsyncSession, invitation_id: int) -> Invitation | None:
    """An invitation that nobody has answered, locked."""
    query = select(Invitation).where(Invitation.id == invitation_id, Invitation.status == "open")
    found: Invitation | None = await session.scalar(query.with_for_update())
    return found
