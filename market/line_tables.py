"""What the engine keeps for carriers' rules: what lines have moved, and by which profiles instruments were matched."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key


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
