"""The market's tables: who takes part, what is traded, and what happened."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class PartyRow(Base):
    """Who can own something. Parties of one ``group_id`` (person, household, partner group) never trade together.

    Party 1 is the house (operator); carriers and the payment provider are parties too.
    """

    __tablename__ = "party"
    __table_args__ = (
        CheckConstraint("kind in ('subscriber', 'partner', 'carrier', 'provider', 'operator')", name="kind_is_known"),
    )

    id: Mapped[Key]
    kind: Mapped[str]
    name: Mapped[str]
    group_id: Mapped[int]
    """Own id unless the party belongs to a person, household or partner group with several."""
    fee_group: Mapped[str | None]
    """The group of the fee schedule that the operator put the party into."""
    locale: Mapped[str] = mapped_column(default="zh_CN", server_default="zh_CN")
    customer_reference: Mapped[str | None]
    """The provider's customer."""
    payout_reference: Mapped[str | None]
    """The provider's connected account."""
    created_at: Mapped[Moment]
    last_signed_in_at: Mapped[datetime | None]
    rewarded_on: Mapped[datetime | None]
    """When the last daily sign-in reward was granted."""
    erased_at: Mapped[datetime | None]
    """When the owner had the account deleted: its rows stay in the books, its person is gone."""


class LineRow(Base):
    """One MSISDN at one carrier. The number itself is only here, encrypted; it is found by its keyed hash."""

    __tablename__ = "line"
    __table_args__ = (
        CheckConstraint("state in ('active', 'suspended', 'closed')", name="state_is_known"),
        CheckConstraint("plan in ('prepaid', 'postpaid')", name="plan_is_known"),
    )

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), index=True)
    carrier: Mapped[str]
    province: Mapped[str]
    plan: Mapped[str]
    base_mb: Mapped[int]
    """Data of the monthly plan in MB, for the residual a carrier's rules ask the seller to keep."""
    state: Mapped[str] = mapped_column(default="active", server_default="active")
    number_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    number_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    verified_at: Mapped[datetime | None]
    looked_at: Mapped[datetime | None]
    """When the carrier was last asked what there is to warn of."""


class OfficerRow(Base):
    """A person who signs in with a password: compliance officer of a carrier or of the operator."""

    __tablename__ = "officer"
    __table_args__ = (CheckConstraint("role in ('compliance', 'operations')", name="role_is_known"),)

    id: Mapped[Key]
    login: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[str]
    carrier: Mapped[str | None]
    """The only carrier whose trades the officer may see; none for the operator's own."""
    created_at: Mapped[Moment]


class ApiKeyRow(Base):
    """A bearer key of a party, shown once; only its SHA-256 is kept."""

    __tablename__ = "api_key"

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[Moment]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class RuleProfileRow(Base):
    """A carrier's limits from a date on; ``terms`` is a RuleProfile."""

    __tablename__ = "rule_profile"
    __table_args__ = (UniqueConstraint("carrier", "effective_from"),)

    id: Mapped[Key]
    carrier: Mapped[str]
    effective_from: Mapped[datetime]
    terms: Mapped[dict[str, object]] = mapped_column(JSONB)


class InstrumentRow(Base):
    """A tradable pair of asset and currency. Prices are minor units per lot."""

    __tablename__ = "instrument"
    __table_args__ = (
        CheckConstraint("lot_units > 0 and tick_minor > 0 and maximum_lots > 0", name="steps_are_positive"),
        CheckConstraint("floor_minor > 0 and floor_minor <= ceiling_minor", name="band_is_ordered"),
        CheckConstraint("fee_basis_points between 0 and 10000", name="fee_is_a_share"),
        CheckConstraint(
            "state in ('pre_open', 'auction', 'open', 'paused', 'cancel_only', 'halted', 'closed')",
            name="state_is_known",
        ),
        CheckConstraint("band_basis_points between 1 and 10000", name="band_is_a_share"),
        CheckConstraint(
            "stopped_by is null"
            " or stopped_by in ('officer', 'switch', 'carrier') and state in ('halted', 'cancel_only')",
            name="stopped_is_stopped",
        ),
        CheckConstraint("listed_state in ('open', 'halted')", name="listed_state_is_known"),
        CheckConstraint("opens_at < closes_at", name="opens_before_it_closes"),
    )

    id: Mapped[Key]
    symbol: Mapped[str] = mapped_column(unique=True)
    asset_id: Mapped[int] = mapped_column(ForeignKey("asset.id"), unique=True)
    currency: Mapped[str]
    lot_units: Mapped[int]
    """Units of the asset (MB or coins) in one lot."""
    tick_minor: Mapped[int]
    floor_minor: Mapped[int]
    ceiling_minor: Mapped[int]
    """The carrier's own top-up price of one lot: nobody should pay more here."""
    reference_minor: Mapped[int]
    maximum_lots: Mapped[int]
    fee_basis_points: Mapped[int]
    fee_minimum_minor: Mapped[int]
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="open", server_default="open")
    band_basis_points: Mapped[int | None]
    """How far a trade may be from the reference, in hundredths of a percent; none for no dynamic band."""
    paused_until: Mapped[datetime | None]
    """When a pause after a breach of the band ends, with an auction."""
    call_ends_at: Mapped[datetime | None]
    """When the auction for which orders are collected is held at the earliest."""
    stopped_by: Mapped[str | None]
    """officer or switch: who stopped it, and has to open it again. The plan waits meanwhile."""
    state_before: Mapped[str | None]
    """The state that the switch for the whole market restores."""
    listed_state: Mapped[str] = mapped_column(default="open", server_default="open")
    """The state that it was listed in: halted when orders are collected before it opens."""
    rule_profile_id: Mapped[int | None]
    """The carrier's rules that the engine matches by."""
    shard: Mapped[int | None] = mapped_column(SmallInteger)
    """The engine that serves it; none until one has taken its seat (`market.sharding`)."""


class AssignmentRow(Base):
    """That a unit of instruments went to a shard: the newest epoch of a unit is where its next instruments go too."""

    __tablename__ = "assignment"

    unit: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard: Mapped[int] = mapped_column(SmallInteger)
    former: Mapped[int | None] = mapped_column(SmallInteger)
    at: Mapped[datetime]


class _OrderTerms:
    """What every order has. Written by the engine only; no foreign keys, for this is the hot path."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    instrument_id: Mapped[int]
    party_id: Mapped[int]
    group_id: Mapped[int]
    side: Mapped[int] = mapped_column(SmallInteger)
    price_minor: Mapped[int]
    quantity: Mapped[int]
    time_in_force: Mapped[str]
    market: Mapped[bool]
    post_only: Mapped[bool]
    self_trade: Mapped[str]
    expires_at: Mapped[datetime | None]
    traits: Mapped[dict[str, object] | None] = mapped_column(JSONB)
    """What makes it more than a plain order, and how that stands: `matching.orders.Traits`."""
    fee_basis_points: Mapped[int]
    """The seller's fee, frozen when the order was placed."""
    fee_minimum_minor: Mapped[int]
    charges: Mapped[str | None]
    """What the carrier charges the seller, frozen with the fee: `market.pricing.charge_minor`."""
    account_id: Mapped[int]
    """Where the hold is: wallet or card for a buy, custody or coin wallet for a sale."""
    proceeds_account_id: Mapped[int | None]
    """A sale's money, or a coin purchase's coins."""
    line_id: Mapped[int | None]
    """The line that a purchase is delivered to, or that a sale comes from."""
    custody_id: Mapped[int | None]
    payment_id: Mapped[int | None]
    version: Mapped[int]
    priority: Mapped[int]
    """Journal number that gave the order its place in time; changes when it loses the place."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class OpenOrderRow(_OrderTerms, Base):
    """An order that waits: in the book, for its trigger, or for its condition. It leaves when the order ends."""

    __tablename__ = "open_order"
    __table_args__ = (
        CheckConstraint("open > 0 and open <= quantity and price_minor > 0 and side in (1, 2)", name="open_is_covered"),
        Index("ix_open_order_book", "instrument_id", "side", "price_minor"),
        Index("ix_open_order_party", "party_id", "id"),
        Index("ix_open_order_expires_at", "expires_at", postgresql_where=text("expires_at is not null")),
    )

    open: Mapped[int]
    """Lots not traded yet."""


class EndedOrderRow(_OrderTerms, Base):
    """An order as it ended. Written once."""

    __tablename__ = "ended_order"
    __table_args__ = (
        CheckConstraint(
            "state = 'filled' and filled = quantity or state = 'cancelled' and filled >= 0 and filled < quantity",
            name="state_is_known",
        ),
        Index("ix_ended_order_party", "party_id", "id"),
    )

    filled: Mapped[int]
    state: Mapped[str]
    reason: Mapped[str | None]
    """Why it ended unfilled: cancelled, expired, closed, or what matching said of the remainder."""


class OrderRow(_OrderTerms, Base):
    """Open and ended orders together: a view, to read only."""

    __tablename__ = "orders"
    __table_args__ = {"info": {"is_view": True}}  # noqa: RUF012 - that is how the library is told

    open: Mapped[int]
    filled: Mapped[int]
    state: Mapped[str]
    reason: Mapped[str | None]


class TradeRow(Base):
    """One match of two orders, at the resting order's price."""

    __tablename__ = "trade"
    __table_args__ = (
        CheckConstraint("quantity > 0 and price_minor > 0", name="terms_are_positive"),
        Index("ix_trade_instrument", "instrument_id", "at", "id"),
        Index("ix_trade_buyer", "buyer_id", "id"),
        Index("ix_trade_seller", "seller_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    instrument_id: Mapped[int]
    price_minor: Mapped[int]
    quantity: Mapped[int]
    buy_order_id: Mapped[int]
    sell_order_id: Mapped[int]
    buyer_id: Mapped[int]
    seller_id: Mapped[int]
    taker_side: Mapped[int] = mapped_column(SmallInteger)
    fee_minor: Mapped[int]
    at: Mapped[datetime]


class JournalRow(Base):
    """One command and the answer it got. The same party and key get the same answer for ever."""

    __tablename__ = "journal"
    __table_args__ = (UniqueConstraint("party_id", "key"),)

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard: Mapped[int] = mapped_column(SmallInteger)
    epoch: Mapped[int]
    party_id: Mapped[int]
    key: Mapped[str]
    body_hash: Mapped[bytes] = mapped_column(LargeBinary)
    command: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime]


class AuditLinkRow(Base):
    """One link of a hash chain: SHA-256 over the former link's hash and the stored bytes that it covers.

    Chain ``engine-I`` covers the journal rows first..last; chain ``house`` covers its own ``payload``.
    """

    __tablename__ = "audit_link"

    chain: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_seq: Mapped[int | None]
    last_seq: Mapped[int | None]
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    former_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    state_hash: Mapped[int | None]
    """What the engine's open orders came to after the batch (`market.engine.records.mark`), modulo 2^64, signed."""
    at: Mapped[datetime]


class LeaseRow(Base):
    """Who may write a shard. A batch commits only under the epoch that it was matched in."""

    __tablename__ = "engine_lease"

    shard: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    holder: Mapped[str]
    backend_pid: Mapped[int]
    stream_id: Mapped[str]
    """The last command of the stream that a committed batch has taken."""
    last_seq: Mapped[int]
    last_trade: Mapped[int]
    last_link: Mapped[int]
    last_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """Where the shard's numbers and its audit chain stand, so that a start need not search for them."""
    renewed_at: Mapped[Moment]


class SurveillanceRow(Base):
    """An event that compliance may want to look at: a prevented self-trade, a price outside the band."""

    __tablename__ = "surveillance_event"
    __table_args__ = (Index("ix_surveillance_event_at", "at"),)

    id: Mapped[Key]
    kind: Mapped[str]
    party_id: Mapped[int]
    instrument_id: Mapped[int]
    order_id: Mapped[int | None]
    detail: Mapped[str]
    at: Mapped[datetime]
