"""What reconciliation keeps: its runs, the breaks that they found, and the adjustments that two officers made."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class ReconciliationRow(Base):
    """One comparison of one day. A daily one is made once for each day, which its unique row sees to."""

    __tablename__ = "reconciliation"
    __table_args__ = (
        CheckConstraint("status in ('running', 'done', 'failed')", name="status_is_known"),
        Index("uq_reconciliation_daily", "day", unique=True, postgresql_where=text("daily")),
        Index("ix_reconciliation_newest", "started_at"),
    )

    id: Mapped[Key]
    day: Mapped[date]
    scope: Mapped[str]
    """``all``, or the carrier whose journal alone was read."""
    daily: Mapped[bool] = mapped_column(default=False, server_default="false")
    status: Mapped[str] = mapped_column(default="running", server_default="running")
    started_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]
    totals: Mapped[list[dict[str, object]] | None] = mapped_column(JSONB)
    """For each counterparty: what both sides and the ledger come to, and the breaks by cause."""
    result_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    """SHA-256 of totals and breaks: the same day compared again to the same end has the same hash."""
    reason: Mapped[str | None]


class BreakRow(Base):
    """One difference between our books and somebody else's, from the run that saw it first to its end.

    ``ours`` and ``theirs`` are MB at a carrier and minor units at the provider, as last
    seen; a side that has nothing is empty.
    """

    __tablename__ = "break_item"
    __table_args__ = (
        UniqueConstraint("counterparty", "subject", "kind", "cause"),
        CheckConstraint("status in ('open', 'closed', 'explained', 'adjusted')", name="status_is_known"),
        CheckConstraint("(status = 'explained') <= (explanation is not null)", name="explained_in_words"),
        CheckConstraint("(status = 'open') = (ended_at is null)", name="ends_when_it_is_no_longer_open"),
        Index("ix_break_item_open", "counterparty", "kind", "subject_id", postgresql_where=text("status = 'open'")),
        Index("ix_break_item_at", "at"),
    )

    id: Mapped[Key]
    counterparty: Mapped[str]
    """A carrier's code, ``provider``, or ``ledger`` for accounts of our own that should be empty."""
    kind: Mapped[str]
    subject: Mapped[str]
    subject_id: Mapped[int | None]
    cause: Mapped[str]
    detail: Mapped[str]
    ours: Mapped[int | None]
    theirs: Mapped[int | None]
    unit: Mapped[str]
    """MB, or a currency."""
    at: Mapped[datetime]
    """When it happened, as far as either side says."""
    first_run_id: Mapped[int] = mapped_column(ForeignKey("reconciliation.id"))
    last_run_id: Mapped[int] = mapped_column(ForeignKey("reconciliation.id"))
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    owner_id: Mapped[int | None]
    """The officer at work on it, or who explained it."""
    explanation: Mapped[str | None]
    escalated_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class EarlyLineRow(Base):
    """A line of the other side's that agrees with a document of ours which is dated another day.

    The run of the document's own day does not read it again, and finds here that it was seen.
    """

    __tablename__ = "early_line"

    counterparty: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount: Mapped[int]
    at: Mapped[datetime]


class AdjustmentRow(Base):
    """A correction of the books by hand: one officer proposes it, another confirms it, and only then money moves.

    ``amount`` is minor units of ``currency``; it goes from one place to the other, each
    a house account by its kind, or ``party_12`` for the wallet of a party.
    """

    __tablename__ = "adjustment"
    __table_args__ = (
        UniqueConstraint("proposed_by", "key"),
        CheckConstraint("amount_minor > 0", name="amount_is_positive"),
        CheckConstraint("source <> target", name="goes_somewhere"),
        CheckConstraint("status in ('proposed', 'booked', 'rejected')", name="status_is_known"),
        CheckConstraint("decided_by is null or status = 'rejected' or decided_by <> proposed_by", name="two_persons"),
        CheckConstraint("(status = 'proposed') = (decided_by is null)", name="decided_by_somebody"),
        CheckConstraint(
            "category in ('carrier_error', 'provider_fee', 'goodwill', 'write_off', 'correction', 'suspense_clearing')",
            name="category_is_known",
        ),
        Index("ix_adjustment_break", "break_id"),
    )

    id: Mapped[Key]
    key: Mapped[str]
    break_id: Mapped[int | None] = mapped_column(ForeignKey("break_item.id"))
    category: Mapped[str]
    source: Mapped[str]
    target: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    reason: Mapped[str]
    status: Mapped[str] = mapped_column(default="proposed", server_default="proposed")
    proposed_by: Mapped[int]
    proposed_at: Mapped[Moment]
    decided_by: Mapped[int | None]
    decided_at: Mapped[datetime | None]
