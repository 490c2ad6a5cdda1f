"""When members want to be paid out by themselves, and which of those payouts have been begun."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Moment


class PayoutScheduleRow(Base):
    """A party's own setting. Nothing is paid by it before ``effective_at``."""

    __tablename__ = "payout_schedule"
    __table_args__ = (
        CheckConstraint("every in ('daily', 'weekly', 'manual')", name="every_is_known"),
        CheckConstraint("minimum_minor > 0", name="minimum_is_positive"),
    )

    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), primary_key=True, autoincrement=False)
    every: Mapped[str]
    minimum_minor: Mapped[int]
    effective_at: Mapped[datetime]


class PayoutRunRow(Base):
    """One scheduled payout of one party: begun once, and under the same key and amount however often it is taken up.

    Without an ``outcome`` it is not known yet whether the money was set aside.
    """

    __tablename__ = "payout_run"
    __table_args__ = (CheckConstraint("amount_minor >= 0", name="amount_is_not_negative"),)

    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), primary_key=True, autoincrement=False)
    due: Mapped[date] = mapped_column(primary_key=True)
    amount_minor: Mapped[int]
    outcome: Mapped[str | None]
    created_at: Mapped[Moment]
