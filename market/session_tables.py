"""The plan of an instrument's sessions."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key


class SessionRow(Base):
    """One call: orders are collected from a time on, for an auction that is held within a window."""

    __tablename__ = "session"
    __table_args__ = (
        CheckConstraint("kind in ('opening', 'closing')", name="kind_is_known"),
        CheckConstraint("begins_at < ends_at", name="begins_before_it_ends"),
        CheckConstraint("window_seconds between 0 and 3600", name="window_is_bounded"),
        CheckConstraint("ended_at is null or begun_at is not null", name="begun_before_it_ended"),
        UniqueConstraint("instrument_id", "begins_at"),
    )

    id: Mapped[Key]
    instrument_id: Mapped[int] = mapped_column(ForeignKey("instrument.id"))
    kind: Mapped[str]
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    """The earliest end; the end itself is drawn in the window behind it."""
    window_seconds: Mapped[int]
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often the engine has refused its next step, each under a key of its own."""
    begun_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    """When its auction was carried out; none while that is still to come."""
    price_minor: Mapped[int | None]
    """The auction's price of one lot; none when nothing traded in it."""
    lots: Mapped[int | None]
