"""An instrument as those who place orders need it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from market.engine.desk import microseconds
from market.engine.instruments import MAXIMUM_LIFE_US
from market.refusals import NotFound
from market.tables import InstrumentRow
from matching.rules import MarketState, Terms
from settlement.ledger_tables import AssetRow


@dataclass(frozen=True, slots=True)
class Tradable:
    """An instrument with its asset. ``carrier`` is None for coins; ``expires_at`` is the bucket's."""

    id: int
    symbol: str
    asset_id: int
    money_id: int
    currency: str
    carrier: str | None
    scope: str | None
    app_scope: str | None
    expires_at: datetime | None
    lot_units: int
    terms: Terms

    @property
    def lowest_on_tick(self) -> int:
        """The lowest price within the band that is a whole number of ticks."""
        return -(-self.terms.minimum_price // self.terms.tick) * self.terms.tick


async def tradable(session: AsyncSession, symbol: str) -> Tradable:
    """The instrument of a symbol.

    Raises:
        NotFound: there is none.
    """
    money = aliased(AssetRow)
    statement = (
        select(InstrumentRow, AssetRow, money.id)
        .join(AssetRow, AssetRow.id == InstrumentRow.asset_id)
        .join(money, money.code == InstrumentRow.currency)
        .where(InstrumentRow.symbol == symbol)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise NotFound("There is no such instrument.", code="unknown_instrument", field="symbol")
    row, asset, money_id = found
    return Tradable(
        row.id, row.symbol, row.asset_id, money_id, row.currency, asset.carrier, asset.scope, asset.app_scope,
        asset.expires_at, row.lot_units, _terms(row),
    )  # fmt: skip


def _terms(row: InstrumentRow) -> Terms:
    return Terms(
        tick=row.tick_minor,
        minimum_price=row.floor_minor,
        maximum_price=row.ceiling_minor,
        maximum_quantity=row.maximum_lots,
        opens_at=microseconds(row.opens_at),
        closes_at=microseconds(row.closes_at),
        state=MarketState(row.state),
        maximum_life_us=MAXIMUM_LIFE_US,
    )
