"""What the engine keeps for carriers' rules: what lines have moved, and by which profiles instruments were matched."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class ReceivedSuspensionRow(Base):
    """What a line received in a month and its carrier keeps back, as its new plan does not receive."""

    __tablename__ = "received_suspension"
    __table_args__ = (CheckConstraint("quantity_mb > 0", name="quantity_is_positive"),)

    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"), primary_key=True, autoincrement=False)
    month: Mapped[date] = mapped_column(primary_key=True)
    quantity_mb: Mapped[int]
    since: Mapped[Moment]
    restored_at: Mapped[datetime | None]


class LineUsageRow(Base):
    """What the engine last heard of a line, and what its trades have moved in the carrier's day and month.

    Written by the engine alone, with the batch that traded.
    """

    __tablename__ = "line_usage"

    line_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    plan: Mapped[str | None]
    province: Mapped[str | None]
    day: Mapped[int]
    """Shanghai's day of the last change, counted from 1970; its month is that of the other counts."""
    sent_today: Mapped[int]
    """Transfers."""
    received_today: Mapped[int]
    received_today_mb: Mapped[int]
    sent_month: Mapped[int]
    received_month: Mapped[int]
    received_month_mb: Mapped[int]


class EnactmentRow(Base):
    """From when on the engine has matched an instrument by a rule profile."""

    __tablename__ = "enactment"
    __table_args__ = (Index("ix_enactment_instrument", "instrument_id", "at"),)

    id: Mapped[Key]
    instrument_id: Mapped[int]
    rule_profile_id: Mapped[int]
    at: Mapped[datetime]
