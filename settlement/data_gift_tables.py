"""Reserved data on its way to somebody without a price: a friend, a charity, or whoever takes from the tank."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class DataGiftRow(Base):
    """Data of one custody that goes to one line, whole. ``account_id`` holds it until the carrier has moved it.

    That is the giver's custody account, or the tank's account once the giver has given it to the tank.
    """

    __tablename__ = "data_gift"
    __table_args__ = (
        CheckConstraint("purpose in ('friend', 'charity', 'tank')", name="purpose_is_known"),
        CheckConstraint("status in ('requested', 'done', 'refused')", name="status_is_known"),
        CheckConstraint("amount_mb > 0", name="amount_is_positive"),
        CheckConstraint("(purpose = 'tank') = (withdrawal_id is not null)", name="tank_is_withdrawn_from"),
        Index("ix_data_gift_custody_id", "custody_id"),
        Index("ix_data_gift_receiver_line_id", "receiver_line_id", "created_at"),
        Index("ix_data_gift_giver_id", "giver_id", "created_at"),
        Index("ix_data_gift_withdrawal_id", "withdrawal_id", postgresql_where=text("withdrawal_id is not null")),
        Index("ix_data_gift_open", "id", postgresql_where=text("status = 'requested'")),
    )

    id: Mapped[Key]
    purpose: Mapped[str]
    custody_id: Mapped[int] = mapped_column(ForeignKey("custody.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    giver_id: Mapped[int]
    receiver_id: Mapped[int]
    receiver_line_id: Mapped[int]
    withdrawal_id: Mapped[int | None]
    """Of the tank, which this is a part of."""
    carrier: Mapped[str]
    amount_mb: Mapped[int]
    status: Mapped[str] = mapped_column(default="requested", server_default="requested")
    carrier_reference: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]
