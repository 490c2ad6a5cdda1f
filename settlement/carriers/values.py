"""What the port speaks of: buckets, reservations, movements and the carrier's own journal. All amounts are whole MB."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class CarrierProfile:
    """How to reach one carrier, and how long a request may take effect after it left us."""

    code: str
    name_zh: str
    name_en: str
    base_url: str
    credential: str = field(repr=False)
    timeout_seconds: float = 10.0
    max_in_flight_seconds: float = 60.0
    dialect: str = "tmf654"
    """How it is spoken to: one of the dialects in `opening.py`."""
    at_once: int = 16
    """Calls that may be in the air at the same time."""
    bulk_size: int = 1
    """Trades of one reservation to one line that one call may move in their sum; 1: each has a call of its own."""
    phone_bill: bool = False
    """Whether it takes payments on the phone bill."""
    partner_no: str = ""
    """Who we are to a gateway of the dialect "recharge"."""
    notify_url: str = ""
    """Where such a gateway pushes statuses to: our `/webhooks/carriers/{code}`. Without it we only ask."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One pot of data on a line: `remaining_mb` is free, `reserved_mb` is set aside.

    `transferable` data may be sold or given away by its owner. `distributable` data is what a company's distribution
    account has bought: it may be given to an end user, who keeps it, and is never sold again. No data is both.
    """

    id: str
    carrier: str
    msisdn: str
    scope: str
    app_scope: str | None
    expires_at: datetime
    remaining_mb: int
    reserved_mb: int
    transferable: bool
    distributable: bool = False


class ReservationStatus(StrEnum):
    HELD = "held"
    PENDING = "pending"
    CONSUMED = "consumed"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Reservation:
    """Data set aside at the carrier; `amount_mb` is what is still held of it."""

    id: str
    bucket_id: str
    amount_mb: int
    expires_at: datetime
    status: ReservationStatus
    external_id: str | None = None


class MovementKind(StrEnum):
    SETTLE = "settle"
    ADJUST = "adjust"
    TRANSFER = "transfer"
    TOP_UP = "top_up"


class MovementStatus(StrEnum):
    """PENDING is accepted but not done: ask again before anyone is paid. REVERSED was done and is undone."""

    DONE = "done"
    PENDING = "pending"
    FAILED = "failed"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True)
class Movement:
    """Data that the carrier moved, or says it will move, under our `external_id`."""

    id: str
    external_id: str | None
    kind: MovementKind
    amount_mb: int
    sender_msisdn: str | None
    receiver_msisdn: str | None
    status: MovementStatus
    at: datetime
    reservation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Impact:
    """What one action did to one account (`remaining` or `reserved`) of one bucket."""

    bucket_id: str
    account: str
    before_mb: int
    after_mb: int


@dataclass(frozen=True, slots=True)
class Push:
    """A status that a carrier sent by itself. It is a hint to ask: `reference` is their id, `external_id` ours."""

    reference: str
    external_id: str
    status: MovementStatus


REVERSAL = "reversal"
"""The kind of an action that takes an earlier movement back, under that movement's `external_id`."""


@dataclass(frozen=True, slots=True)
class Action:
    """A line of the carrier's own journal; `kind` is the carrier's word for it, `subject_id` what it was done to."""

    id: str
    kind: str
    subject_id: str | None
    external_id: str | None
    amount_mb: int
    msisdn: str | None
    receiver_msisdn: str | None
    at: datetime
    impacts: Sequence[Impact]


@dataclass(frozen=True, slots=True)
class ActionPage:
    """Some of the journal, oldest first, and how many lines there are in all."""

    actions: Sequence[Action]
    total_count: int


@dataclass(frozen=True, slots=True)
class KycMatch:
    """What the carrier's records say of a name and a document: None is "not available", which is no failure."""

    name: bool | None
    id_document: bool | None
    name_score_percent: int | None = None
