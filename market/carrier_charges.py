"""What carriers charge for deliveries: dated, passed through to the seller, and frozen on each order."""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from market.carrier_charge_tables import CarrierChargeRow

NONE = "0:0"
"""A carrier that charges nothing from some day on."""
_ALL = text("""
    select distinct on (carrier) carrier, steps from carrier_charge
    where effective_from <= :at order by carrier, effective_from desc
""")


async def in_force(session: AsyncSession, at: datetime, carrier: str | None) -> str | None:
    """What a carrier charges at a moment, as an order keeps it; none when it charges nothing."""
    newest = (
        select(CarrierChargeRow.steps)
        .where(CarrierChargeRow.carrier == carrier, CarrierChargeRow.effective_from <= at)
        .order_by(CarrierChargeRow.effective_from.desc())
        .limit(1)
    )
    steps = await session.scalar(newest) if carrier is not None else None
    return None if steps in {None, NONE} else steps


async def all_in_force(session: AsyncSession, at: datetime) -> dict[str, str]:
    """What each carrier charges at a moment, by its code; those that charge nothing are left out."""
    rows = await session.execute(_ALL, {"at": at})
    return {carrier: steps for carrier, steps in rows if steps != NONE}
