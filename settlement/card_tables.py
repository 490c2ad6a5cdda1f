"""The tables of what happens after a card payment: money taken back, refunds of top-ups, and who is frozen for it."""

from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class PartyFreezeRow(Base):
    """Why a party may neither place orders nor withdraw; ``reference`` tells two reasons of one cause apart."""

    __tablename__ = "party_freeze"
    __table_args__ = (
        UniqueConstraint("party_id", "cause", "reference"),
        Index("ix_party_freeze_in_force", "party_id", postgresql_where=text("ended_at is null")),
    )

    id: Mapped[Key]
    party_id: Mapped[int]
    cause: Mapped[str]
    reference: Mapped[str]
    detail: Mapped[str]
    since: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class ClawbackRow(Base):
    """Money of a payment that left again without our asking: a cardholder's dispute, or a refund made outside.

    ``trade_ids`` are the trades that were opened again for it, ``own_minor`` what of
    it no trade stands for and the wallet or a debt bears.
    """

    __tablename__ = "clawback"
    __table_args__ = (
        UniqueConstraint("provider_id"),
        CheckConstraint("kind in ('dispute', 'refund')", name="kind_is_known"),
        CheckConstraint("status in ('noticed', 'gone', 'lost', 'back')", name="status_is_known"),
        CheckConstraint("amount_minor > 0", name="amount_is_positive"),
        CheckConstraint("own_minor between 0 and amount_minor", name="own_share_is_covered"),
        Index("ix_clawback_payment", "payment_id"),
    )

    id: Mapped[Key]
    provider_id: Mapped[str]
    kind: Mapped[str]
    payment_id: Mapped[int] = mapped_column(ForeignKey("payment.id"))
    amount_minor: Mapped[int]
    fee_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    own_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    trade_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")
    status: Mapped[str] = mapped_column(default="noticed", server_default="noticed")
    opened_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class TopUpRefundRow(Base):
    """A part of a top-up that its owner wants back on the card."""

    __tablename__ = "top_up_refund"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        CheckConstraint("status in ('requested', 'refunded', 'refused', 'returned')", name="status_is_known"),
        CheckConstraint("amount_minor > 0", name="amount_is_positive"),
        Index("ix_top_up_refund_payment", "payment_id"),
    )

    id: Mapped[Key]
    party_id: Mapped[int]
    key: Mapped[str]
    payment_id: Mapped[int] = mapped_column(ForeignKey("payment.id"))
    amount_minor: Mapped[int]
    status: Mapped[str] = mapped_column(default="requested", server_default="requested")
    provider_id: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class EventsReadRow(Base):
    """Up to when the provider's list of events was read to its end."""

    __tablename__ = "events_read"

    source: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[datetime]
