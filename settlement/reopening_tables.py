"""The tables of what goes wrong after all seemed well: reopened trades, and how far carriers' journals were read."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class ReopeningRow(Base):
    """A trade that had ended and is opened again: why, for how much of the buyer's money, and how that was settled.

    The trade and its delivery stay as they ended; what is settled anew are transfers
    under this row's reference. When a carrier took data back, ``taken_mb`` is how much,
    and ``returned_mb`` what of it is in the seller's bucket again.
    """

    __tablename__ = "reopening"
    __table_args__ = (
        UniqueConstraint("trade_id", "cause"),
        CheckConstraint(
            "cause in ('carrier_reversed', 'disputed', 'refunded_outside', 'case_decided')", name="cause_is_known"
        ),
        CheckConstraint("status in ('open', 'settled', 'withdrawn', 'for_a_person')", name="status_is_known"),
        CheckConstraint("amount_minor > 0", name="amount_is_positive"),
        CheckConstraint("(status in ('settled', 'withdrawn')) = (ended_at is not null)", name="ends_with_a_time"),
        Index("ix_reopening_open", "id", postgresql_where=text("status in ('open', 'for_a_person')")),
    )

    id: Mapped[Key]
    trade_id: Mapped[int]
    cause: Mapped[str]
    amount_minor: Mapped[int]
    detail: Mapped[str]
    returned_mb: Mapped[int | None]
    taken_mb: Mapped[int | None]
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    opened_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class JournalReadRow(Base):
    """Up to when a carrier's journal was searched for movements that it took back."""

    __tablename__ = "journal_read"

    carrier: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[datetime]
