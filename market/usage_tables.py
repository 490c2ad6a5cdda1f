"""What the buckets of a line showed, day by day: what was used is told from it."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base


class DataReadingRow(Base):
    """The last reading of a day of Shanghai: all buckets of one kind on one line. Amounts are MB."""

    __tablename__ = "data_reading"
    __table_args__ = (CheckConstraint("remaining_mb >= 0 and reserved_mb >= 0", name="amounts_are_not_negative"),)

    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"), primary_key=True, autoincrement=False)
    scope: Mapped[str] = mapped_column(primary_key=True)
    app_scope: Mapped[str] = mapped_column(primary_key=True)
    """Empty for data that every app may use."""
    expires_at: Mapped[datetime] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    remaining_mb: Mapped[int]
    reserved_mb: Mapped[int]
    moved_mb: Mapped[int]
    """What our trades had taken from these buckets up to the reading, less what they had brought; counted from the
    line's first reading."""
    read_at: Mapped[datetime]
