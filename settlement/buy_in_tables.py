"""The table of buy-ins: a seller did not deliver, and the same is bought from the next one."""

from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Moment


class BuyInRow(Base):
    """A refunded trade that is bought in. ``trade_ids`` are the trades that came of it.

    ``account_id`` is where the buyer's money and the house's ``advance_minor`` are set
    aside for it; without one nothing was set aside. ``covered_minor`` is what the
    replacement cost beyond the first trade's price.
    """

    __tablename__ = "buy_in"
    __table_args__ = (
        CheckConstraint("status in ('wanted', 'funded', 'closing', 'ended')", name="status_is_known"),
        CheckConstraint("advance_minor >= 0 and covered_minor between 0 and advance_minor", name="cover_is_advanced"),
        CheckConstraint("(status = 'ended') = (ended_at is not null)", name="ends_with_a_time"),
        CheckConstraint("(account_id is null) = (limit_minor is null)", name="is_funded_with_a_limit"),
        Index("ix_buy_in_open", "trade_id", postgresql_where=text("status <> 'ended'")),
    )

    trade_id: Mapped[int] = mapped_column(ForeignKey("delivery.id"), primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(default="wanted", server_default="wanted")
    charges_seller: Mapped[bool]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    limit_minor: Mapped[int | None]
    """The most that is paid for a lot."""
    advance_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    covered_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    trade_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), default=list, server_default=text("'{}'"))
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]
