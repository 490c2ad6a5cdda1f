"""An instrument as those who place orders need it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from market.engine.instruments import MAXIMUM_LIFE_US
from market.engine.times import microseconds
from market.refusals import NotFound
from matching.rules import MarketState, Terms

# As text: putting a statement together costs more than running it, and this one runs for every order.
_TRADABLE = text("""
    select instrument.id, symbol, asset_id, money.id as money_id, currency, asset.carrier, asset.scope, asset.app_scope,
        asset.expires_at, lot_units, tick_minor, floor_minor, ceiling_minor, reference_minor, maximum_lots,
        opens_at, closes_at, state
    from instrument join asset on asset.id = asset_id join asset money on money.code = currency where symbol = :symbol
""")


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
    reference_minor: int
    """What a lot usually costs."""
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
    found = (await session.execute(_TRADABLE, {"symbol": symbol})).one_or_none()
    if found is None:
        raise NotFound("There is no such instrument.", code="unknown_instrument", field="symbol")
    return Tradable(
        found.id, found.symbol, found.asset_id, found.money_id, found.currency, found.carrier, found.scope,
        found.app_scope, found.expires_at, found.lot_units, found.reference_minor, _terms(found),
    )  # fmt: skip


def _terms(row: Row[Any]) -> Terms:
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
