"""What we know of members at the provider: the cards that they saved there, and the accounts that pay them out."""

from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Moment


class SavedCardRow(Base):
    """A card that a party has saved at the provider: its name there, and what its owner knows it by."""

    __tablename__ = "saved_card"
    __table_args__ = (
        Index("ix_saved_card_party", "party_id", postgresql_where=text("removed_at is null")),
        CheckConstraint("last4 ~ '^[0-9]{4}$'", name="last4_is_four_digits"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    party_id: Mapped[int]
    brand: Mapped[str]
    last4: Mapped[str]
    expiry_month: Mapped[int]
    expiry_year: Mapped[int]
    saved_at: Mapped[Moment]
    removed_at: Mapped[datetime | None]


class PayoutAccountRow(Base):
    """A party's account at the provider, as we last read it.

    ``banks`` are the provider's fingerprints of the bank accounts behind it. After they
    have changed, nothing is paid out until ``quiet_until``. ``disowned_at``: the party
    said that the change was not theirs.
    """

    __tablename__ = "payout_account"

    id: Mapped[str] = mapped_column(primary_key=True)
    party_id: Mapped[int] = mapped_column(index=True)
    banks: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    bank_last4: Mapped[str | None]
    currently_due: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    payouts_enabled: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    changed_at: Mapped[datetime | None]
    quiet_until: Mapped[datetime | None]
    disowned_at: Mapped[datetime | None]
    read_at: Mapped[Moment]
