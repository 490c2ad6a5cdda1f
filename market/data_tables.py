"""What is kept of the trades for charts, tickers and the price index; the trades could give all of it again."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Moment


class CandleRow(Base):
    """The trades of one instrument in one period that had any. Days begin at midnight in Shanghai."""

    __tablename__ = "candle"
    __table_args__ = (
        CheckConstraint("width_minutes in (1, 15, 60, 1440)", name="width_is_known"),
        CheckConstraint(
            "low_minor <= least(open_minor, close_minor) and high_minor >= greatest(open_minor, close_minor)",
            name="prices_are_ordered",
        ),
        CheckConstraint("lots > 0 and trades > 0 and low_minor > 0", name="something_was_traded"),
        Index("ix_candle_day_changed", "updated_at", postgresql_where=text("width_minutes = 1440")),
    )

    instrument_id: Mapped[int] = mapped_column(ForeignKey("instrument.id"), primary_key=True)
    width_minutes: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    open_minor: Mapped[int]
    high_minor: Mapped[int]
    low_minor: Mapped[int]
    close_minor: Mapped[int]
    lots: Mapped[int]
    turnover_minor: Mapped[int]
    trades: Mapped[int]
    updated_at: Mapped[Moment]


class CandleMarkRow(Base):
    """Up to which trade an instrument's candles are made."""

    __tablename__ = "candle_mark"
    __table_args__ = (Index("ix_candle_mark_going_on", "instrument_id", postgresql_where=text("not is_final")),)

    instrument_id: Mapped[int] = mapped_column(ForeignKey("instrument.id"), primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    trade_id: Mapped[int]
    last_minor: Mapped[int | None]
    """The price of that trade; none before the first."""
    is_final: Mapped[bool]
    """The instrument is closed and all its trades are in the candles: nobody looks again."""


class PriceIndexRow(Base):
    """What 1 GB (1,000 MB) of a carrier's data cost on a day of Shanghai, over all its instruments."""

    __tablename__ = "price_index"
    __table_args__ = (
        CheckConstraint("median_minor > 0 and average_minor > 0", name="prices_are_positive"),
        CheckConstraint("volume_mb > 0 and trades > 0 and dropped_trades >= 0", name="something_was_traded"),
    )

    carrier: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    currency: Mapped[str] = mapped_column(primary_key=True)
    median_minor: Mapped[int]
    average_minor: Mapped[int]
    """Weighted by volume."""
    volume_mb: Mapped[int]
    trades: Mapped[int]
    dropped_trades: Mapped[int]
    """Left out: their minute's price was too far from the median."""
    updated_at: Mapped[Moment] = mapped_column(index=True)
