"""The mark by which carriers and the payment provider tell this installation's requests from another's."""

import hashlib
from datetime import UTC

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from market.tables import PartyRow
from settlement.accounts import HOUSE

MARK_CHARACTERS = 8


async def mark(session: AsyncSession) -> str:
    """The installation's mark: taken from the moment its house was founded.

    It lives in the database and moves with a backup, so that after a restore or
    a change of secrets every open instruction is still found under its old name.

    Raises:
        LookupError: the database holds no house yet.
    """
    founded_at = await session.scalar(select(PartyRow.created_at).where(PartyRow.id == HOUSE))
    if founded_at is None:
        raise LookupError("The database holds no house yet: seed it first.")
    return hashlib.sha256(founded_at.astimezone(UTC).isoformat().encode()).hexdigest()[:MARK_CHARACTERS]
