"""Parties that may neither place orders nor withdraw, and why. The caller commits."""

from sqlalchemy import func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.card_tables import PartyFreezeRow

DISPUTED = "disputed"
"""A card payment of the party's is disputed at its bank."""
OWING = "debt"
"""A dispute was lost; in force for as long as the party owes anything."""

# One statement, asked before every order.
_IN_FORCE = text("""
    select cause from party_freeze
    where party_id = :party and ended_at is null and (cause <> 'debt' or exists (
        select from account where account.party_id = :party and kind = 'debt' and available < 0
    ))
    order by id limit 1
""")


async def freeze(session: AsyncSession, party_id: int, cause: str, detail: str, reference: str = "") -> None:
    """Freeze a party; the same cause and reference again change nothing while it is in force."""
    values = {"party_id": party_id, "cause": cause, "reference": reference, "detail": detail}
    again = {"ended_at": None, "detail": detail, "since": func.now()}
    await session.execute(
        insert(PartyFreezeRow)
        .values(values)
        .on_conflict_do_update(
            constraint="uq_party_freeze_party_id", set_=again, where=PartyFreezeRow.ended_at.is_not(None)
        )
    )


async def thaw(session: AsyncSession, party_id: int, cause: str, reference: str = "") -> None:
    """End one reason; the party stays frozen for any other."""
    await session.execute(
        update(PartyFreezeRow)
        .where(
            PartyFreezeRow.party_id == party_id,
            PartyFreezeRow.cause == cause,
            PartyFreezeRow.reference == reference,
            PartyFreezeRow.ended_at.is_(None),
        )
        .values(ended_at=func.now())
    )


async def is_frozen(session: AsyncSession, party_id: int) -> str | None:
    """The cause that a party is frozen for, the oldest first; None when it is free."""
    cause: str | None = await session.scalar(_IN_FORCE, {"party": party_id})
    return cause
