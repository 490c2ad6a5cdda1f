"""Assets by their codes: the market's money, its coins, and data of one bucket kind."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.ledger_tables import AssetRow

COIN = "COIN"


async def asset_ids(session: AsyncSession, codes: Iterable[str]) -> dict[str, int]:
    """The ids of assets by code.

    Raises:
        LookupError: one is missing, so the database was never seeded.
    """
    wanted = set(codes)
    rows = await session.execute(select(AssetRow.code, AssetRow.id).where(AssetRow.code.in_(wanted)))
    found = {row.code: row.id for row in rows}
    if missing := wanted - found.keys():
        raise LookupError(f"The database has no asset {min(missing)}: seed it first.")
    return found


async def asset_id(session: AsyncSession, code: str) -> int:
    return (await asset_ids(session, [code]))[code]
