"""An order as the engine keeps it, and what a batch has changed."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from market.engine.instruments import Standing
from matching.orders import Order

if TYPE_CHECKING:
    from market.engine.handover import Handed

MODULUS = 2**64
"""A state hash is a sum of `matching.orders.mark` modulo this."""


@dataclass(slots=True, eq=False)
class Record(Order):
    """An order with all that the books need beside the matching. While it rests, the instrument's book moves it.

    Times are microseconds since the epoch.
    """

    instrument_id: int = 0
    market: bool = False
    fee_basis_points: int = 0
    fee_minimum_minor: int = 0
    account_id: int = 0
    proceeds_account_id: int | None = None
    line_id: int | None = None
    custody_id: int | None = None
    payment_id: int | None = None
    limit_minor: int = 0
    """The price that its hold was taken at: its own, or the worst that it may come to."""
    rides: bool = False
    """Whether its linked sibling holds for both."""
    state: str = "open"
    reason: str | None = None
    version: int = 1
    created_us: int = 0
    seen_minor: int = 0
    """The price at which readers of the feed saw it last."""
    marked: int = 0
    """Its part in the state hash as it was last added up."""
    charges: str | None = None
    """What the carrier charges its seller, frozen when it was placed."""

    def __post_init__(self) -> None:
        # The class that `slots` made anew is another than the one that `super()` would look for.
        Order.__post_init__(self)
        assert self.is_whole(), self


@dataclass(slots=True)
class Trade:
    """One match, with all that its delivery needs."""

    id: int
    instrument_id: int
    price_minor: int
    quantity: int
    buy: Record
    sell: Record
    taker_side: int
    """1 when the buyer came to the seller, 2 the other way round, 0 in an auction."""
    fee_minor: int
    """All that the seller gives of the price, the carrier's charge included."""
    carrier: str | None
    units: int
    at_us: int
    charge_minor: int = 0


@dataclass(slots=True)
class Changes:
    """Everything that one batch writes, in plain values."""

    placed: dict[int, Record] = field(default_factory=dict)
    changed: dict[int, Record] = field(default_factory=dict)
    """Orders that were open before the batch."""
    trades: list[Trade] = field(default_factory=list)
    instructions: list[tuple[str, int, str]] = field(default_factory=list)
    """(kind, subject id, lane)"""
    holds: dict[int, int] = field(default_factory=dict)
    """Account id to the amount newly held; negative when given back."""
    states: dict[int, Standing] = field(default_factory=dict)
    """Instrument id to how it stands now."""
    surveillance: list[tuple[str, int, int, int | None, str, int]] = field(default_factory=list)
    """(kind, party id, instrument id, order id, detail, at in microseconds)"""
    legs: list[tuple[int, int, int, int, bytes, int]] = field(default_factory=list)
    """Legs that were prepared: (basket id, number, account id, amount held, the leg as it will be placed, at in us)"""
    resolved: list[tuple[int, str]] = field(default_factory=list)
    """(basket id, what became of its legs)"""
    instruments: set[int] = field(default_factory=set)
    parties: set[int] = field(default_factory=set)
    handed: "Handed | None" = None
    """The unit that another shard is to have."""

    def touch(self, record: Record) -> None:
        if record.id not in self.placed:
            self.changed[record.id] = record
        self.instruments.add(record.instrument_id)
        self.parties.add(record.party_id)
