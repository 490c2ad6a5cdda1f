"""What the engine knows of an instrument: its terms, its fee, and its book."""

from dataclasses import dataclass, field, replace

from matching.book import Book
from matching.rules import MarketState, Terms

MAXIMUM_LIFE_US = 15 * 24 * 3600 * 1_000_000
"""A good-till-date order lives for 15 days at the most."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an instrument stands, as its row keeps it. Times are microseconds since the epoch."""

    state: str
    paused_until_us: int | None = None
    """When the engine itself ends a pause."""
    call_ends_us: int | None = None
    """When the auction for which orders are collected is held at the earliest."""
    stopped_by: str | None = None
    """officer or switch: whose word it takes to go on. The plan waits meanwhile."""
    state_before: str | None = None
    """The state that the switch for the whole market restores."""


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
    paused_until_us: int | None = None
    state_hash: int = 0
    """The sum of `matching.orders.mark` over its open orders, not reduced."""
    call_ends_us: int | None = None
    stopped_by: str | None = None
    state_before: str | None = None
    expires_us: int | None = None
    """When its data expires, microseconds since the epoch."""

    @property
    def standing(self) -> Standing:
        return Standing(
            str(self.terms.state), self.paused_until_us, self.call_ends_us, self.stopped_by, self.state_before
        )

    @property
    def next_due_us(self) -> int | None:
        """When the clock next asks for something here, microseconds since the epoch."""
        if self.terms.state is MarketState.CLOSED and self.book.orders:
            return 0  # closing ends the first of its orders, the clock the rest
        due_us = self.book.next_due
        if self.paused_until_us is None or (due_us is not None and due_us < self.paused_until_us):
            return due_us
        return self.paused_until_us

    def set_state(self, state: str, paused_until_us: int | None = None) -> None:
        self.stand(Standing(state, paused_until_us))

    def stand(self, standing: Standing) -> None:
        self.terms = replace(self.terms, state=MarketState(standing.state))
        self.book.calling = self.terms.state is not MarketState.OPEN  # only an auction leads back to matching
        self.paused_until_us, self.call_ends_us = standing.paused_until_us, standing.call_ends_us
        self.stopped_by, self.state_before = standing.stopped_by, standing.state_before
