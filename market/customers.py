"""The provider's customer behind a member: made on first use, once."""

from sqlalchemy import update

from market.installation import mark
from market.parties import Member
from market.refusals import OutcomeUnknown
from market.tables import PartyRow
from market.venue import Venue
from settlement.naming import external_id
from settlement.payments.errors import PaymentError


async def customer_of(venue: Venue, member: Member) -> str:
    """The provider's id of the member.

    Raises:
        OutcomeUnknown: the provider does not answer; ask again.
    """
    async with venue.sessions() as session:
        name = external_id(await mark(session), "customer", member.party_id)
    if (known := await known_customer(venue, member)) is not None:
        return known
    try:
        customer = await venue.payments.create_customer(name, name)
    except PaymentError as error:
        if (known := await known_customer(venue, member)) is not None:
            return known  # another request of theirs was faster
        raise OutcomeUnknown("The payment provider does not answer just now. Try again in a moment.") from error
    async with venue.sessions() as session:
        await session.execute(
            update(PartyRow).where(PartyRow.id == member.party_id).values(customer_reference=customer)
        )
        await session.commit()
    return customer


async def known_customer(venue: Venue, member: Member) -> str | None:
    """The provider's id of the member, if there is one already."""
    async with venue.sessions() as session:
        return (await session.get_one(PartyRow, member.party_id)).customer_reference
