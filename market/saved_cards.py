"""The cards that a member has saved at the provider: listed, and forgotten."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.installation import mark
from market.parties import Member
from market.refusals import NotFound, Unavailable
from market.venue import Venue
from settlement import saved_cards
from settlement.naming import external_id
from settlement.payment_tables import SavedCardRow
from settlement.payments.errors import PaymentError

AWAY = "The payment provider does not answer just now. Please try again in a moment."


async def cards(session: AsyncSession, member: Member) -> Sequence[SavedCardRow]:
    """The member's saved cards, newest first."""
    return await saved_cards.of_party(session, member.party_id)


async def forget(venue: Venue, member: Member, card_id: str) -> None:
    """Have a saved card forgotten; it can't be charged again. One that is gone already is as good.

    Raises:
        NotFound: the member has no such card.
        Unavailable: the provider does not answer.
    """
    async with venue.sessions.begin() as session:
        row = await session.get(SavedCardRow, card_id)
        if row is None or row.party_id != member.party_id:
            raise NotFound("You have no such card.")
        name = external_id(await mark(session), "forget", member.party_id)
        subject, detail = f"party:{member.party_id}", {"card": card_id}
        await audit.append(session, audit.party(member.party_id), "forget_card", subject, detail)
    try:
        await venue.payments.forget_card(card_id, f"{name}-{card_id}")
    except PaymentError as error:
        raise Unavailable(AWAY) from error
    async with venue.sessions.begin() as session:
        await saved_cards.forgotten(session, card_id)
