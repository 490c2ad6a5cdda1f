"""What each use of a wallet begins with: the wallet itself, the queue at its owner, and the day it counts in."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from market.assets import asset_id
from market.custody import SHANGHAI
from market.parties import Member
from market.tables import PartyRow
from settlement import accounts


async def ensure_wallet(session: AsyncSession, party_id: int, asset_code: str) -> int:
    """The id of a party's wallet in an asset, opened when it is missing."""
    return await accounts.account_id(session, party_id, await asset_id(session, asset_code), "wallet")


async def lock_party(session: AsyncSession, member: Member) -> None:
    """Let what one member asks for at once queue up, so that limits hold for all of it together."""
    await session.execute(select(PartyRow.id).where(PartyRow.id == member.party_id).with_for_update(key_share=True))


def midnight(now: datetime) -> datetime:
    """When the day began, by the clock that our members live by."""
    return now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
