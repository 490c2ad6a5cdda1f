"""What the engine knows of an instrument: its terms, its fee, and its book."""

from dataclasses import dataclass, field, replace

from matching.book import Book
from matching.rules import MarketState, Terms

MAXIMUM_LIFE_US = 15 * 24 * 3600 * 1_000_000
"""A good-till-date order lives for 15 days at the most."""


@dataclass(slots=True)
class Instrument:
    """One instrument of the shard. Prices are minor units per lot; a lot is ``lot_units`` of the asset."""

    id: int
    symbol: str
    asset_id: int
    money_id: int
    carrier: str | None
    """None for coins, which settle in our own ledger."""
    lot_units: int
    fee_basis_points: int
    fee_minimum_minor: int
    terms: Terms
    book: Book = field(default_factory=Book)

    def set_state(self, state: str) -> None:
        self.terms = replace(self.terms, state=MarketState(state))
