"""Members who said that a changed bank account was not their doing: frozen until an officer has spoken with them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, halting
from market.parties import Officer
from market.refusals import BadInput, Conflict, Forbidden
from market.venue import Venue
from settlement import freezing
from settlement.card_tables import PartyFreezeRow
from settlement.payout_accounts import DISOWNED

SHOWN = 50


async def disowned(session: AsyncSession, officer: Officer) -> Sequence[PartyFreezeRow]:
    """Who waits, the longest first; it is nothing for an officer of a carrier."""
    if officer.carrier is not None:
        return []
    query = select(PartyFreezeRow).where(PartyFreezeRow.cause == DISOWNED, PartyFreezeRow.ended_at.is_(None))
    return list(await session.scalars(query.order_by(PartyFreezeRow.id).limit(SHOWN)))


async def let_go(venue: Venue, officer: Officer, freeze_id: int, reason: str) -> None:
    """End such a freeze.

    Raises:
        BadInput: there is no reason, or a phone number is in it.
        Conflict: it is not in force any more.
        Forbidden: it takes an operations officer of the house.
    """
    if not reason:
        raise BadInput("Please say why. The reason is kept on the record.", field="reason")
    if audit.NUMBER.search(reason):
        raise BadInput("Please leave phone numbers out: the record is kept for good.", field="reason")
    async with venue.sessions.begin() as session:
        row = await session.get(PartyFreezeRow, freeze_id, with_for_update=True)
        if row is None or row.cause != DISOWNED or row.ended_at is not None:
            raise Conflict("This member is not on hold for that any more.")
        if not halting.may_switch(officer):
            raise Forbidden("Only an operations officer of the house may do this.")
        await freezing.thaw(session, row.party_id, row.cause, row.reference)
        detail: audit.Detail = {"cause": row.cause, "reason": reason}
        await audit.append(session, audit.officer(officer.id), "thaw_party", audit.party(row.party_id), detail)
