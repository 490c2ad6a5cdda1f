"""An order as the engine keeps it, and what a batch has changed."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class Record:
    """An order with all that the books need beside the matching: its fields are the columns of ``orders``."""

    id: int
    instrument_id: int
    party_id: int
    group_id: int
    side: int
    price_minor: int
    quantity: int
    open: int
    filled: int
    time_in_force: str
    market: bool
    post_only: bool
    expires_at: datetime | None
    fee_basis_points: int
    fee_minimum_minor: int
    account_id: int
    proceeds_account_id: int | None
    line_id: int | None
    custody_id: int | None
    payment_id: int | None
    state: str
    reason: str | None
    version: int
    priority: int
    created_at: datetime
    updated_at: datetime


COLUMNS = tuple(Record.__dataclass_fields__)


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
    fee_minor: int
    carrier: str | None
    units: int
    at: datetime


@dataclass(slots=True)
class Changes:
    """Everything that one batch writes, in plain values."""

    placed: dict[int, Record] = field(default_factory=dict)
    changed: dict[int, Record] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    instructions: list[tuple[str, int, str]] = field(default_factory=list)
    """(kind, subject id, lane)"""
    holds: dict[tuple[int, int], int] = field(default_factory=dict)
    """(journal number, account id) to the amount newly held; negative when given back."""
    states: dict[int, str] = field(default_factory=dict)
    surveillance: list[tuple[str, int, int, int | None, str, datetime]] = field(default_factory=list)
    """(kind, party id, instrument id, order id, detail, at)"""
    instruments: set[int] = field(default_factory=set)
    parties: set[int] = field(default_factory=set)

    def touch(self, record: Record) -> None:
        if record.id not in self.placed:
            self.changed[record.id] = record
        self.instruments.add(record.instrument_id)
        self.parties.add(record.party_id)
