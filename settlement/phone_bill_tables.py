"""What members pay on their phone bills."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class BillPaymentRow(Base):
    """A wallet top-up on the phone bill of one line: reserved at the carrier, then confirmed or let go by its owner.

    ``decision`` is made once. Money enters the wallet when the carrier has charged all
    of ``amount_minor``, and leaves it for the bill again when all of it is refunded.
    """

    __tablename__ = "bill_payment"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        CheckConstraint("amount_minor > 0", name="amount_is_positive"),
        CheckConstraint(
            "status in ('requested', 'reserved', 'charged', 'cancelled', 'refused', 'refunding', 'refunded')",
            name="status_is_known",
        ),
        CheckConstraint("decision in ('confirm', 'cancel')", name="decision_is_known"),
        Index("ix_bill_payment_line", "line_id", "created_at"),
    )

    id: Mapped[Key]
    party_id: Mapped[int]
    key: Mapped[str]
    line_id: Mapped[int]
    carrier: Mapped[str]
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    amount_minor: Mapped[int]
    currency: Mapped[str]
    status: Mapped[str] = mapped_column(default="requested", server_default="requested")
    decision: Mapped[str | None]
    carrier_payment_id: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[Moment]
    decide_by: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
