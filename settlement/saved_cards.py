"""The cards that members have saved at the provider, as far as pages need them: brand, last digits, expiry."""

from collections.abc import Sequence

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.payment_tables import SavedCardRow
from settlement.payments.values import SavedCard
from settlement.tables import PaymentRow

_OF_PARTY = (
    select(SavedCardRow)
    .where(SavedCardRow.party_id == bindparam("party_id"), SavedCardRow.removed_at.is_(None))
    .order_by(SavedCardRow.saved_at.desc(), SavedCardRow.id)
)


async def of_party(session: AsyncSession, party_id: int) -> Sequence[SavedCardRow]:
    """A party's saved cards, newest first."""
    return list(await session.scalars(_OF_PARTY, {"party_id": party_id}))


async def take_in(session: AsyncSession, card: SavedCard) -> int | None:
    """Take in a card as it is at the provider; says whose it is, if it is one of ours. The caller commits."""
    if card.customer is None:
        return await forgotten(session, card.id)
    owner = select(PaymentRow.party_id).where(PaymentRow.customer == card.customer).limit(1)
    party_id = await session.scalar(owner)
    if party_id is None:
        return None
    values = {
        "id": card.id, "party_id": party_id, "brand": card.brand, "last4": card.last4,
        "expiry_month": card.expiry_month, "expiry_year": card.expiry_year,
    }  # fmt: skip
    made = insert(SavedCardRow).values(values)
    await session.execute(made.on_conflict_do_update(index_elements=["id"], set_={**values, "removed_at": None}))
    return party_id


async def forgotten(session: AsyncSession, card_id: str) -> int | None:
    """A card is detached at the provider; says whose it was. The caller commits."""
    gone = update(SavedCardRow).where(SavedCardRow.id == card_id, SavedCardRow.removed_at.is_(None))
    party_id: int | None = await session.scalar(gone.values(removed_at=func.now()).returning(SavedCardRow.party_id))
    return party_id
