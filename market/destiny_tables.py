"""The tables of what becomes of unsold data: destinies of sales, the community tank, and the charities."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class DestinyRow(Base):
    """What becomes of the data that a sale leaves unsold; a sale without a row gives it back to its owner."""

    __tablename__ = "destiny"
    __table_args__ = (
        CheckConstraint("what in ('price_steps', 'last_auction', 'friend', 'tank', 'charity')", name="what_is_known"),
        CheckConstraint("status in ('chosen', 'carried_out', 'given_back')", name="status_is_known"),
        CheckConstraint("(what = 'friend') = (friend_line_id is not null)", name="friend_has_a_line"),
        Index("ix_destiny_custody_id", "custody_id", unique=True),
        Index("ix_destiny_party_id", "party_id", "order_id"),
    )

    order_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    party_id: Mapped[int]
    custody_id: Mapped[int]
    what: Mapped[str]
    friend_line_id: Mapped[int | None] = mapped_column(ForeignKey("line.id"))
    status: Mapped[str] = mapped_column(default="chosen", server_default="chosen")
    reason: Mapped[str | None]
    """Why it was given back instead."""
    chosen_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class TankDepositRow(Base):
    """Data of one custody that its owner has given to the community tank. What is left of it follows from its gifts.

    ``returned_mb`` left the tank without a taker when the deposit ended.
    """

    __tablename__ = "tank_deposit"
    __table_args__ = (
        CheckConstraint("amount_mb > 0", name="amount_is_positive"),
        CheckConstraint("returned_mb between 0 and amount_mb", name="return_is_covered"),
        Index("ix_tank_deposit_open", "asset_id", "id", postgresql_where=text("ended_at is null")),
        Index("ix_tank_deposit_party_id", "party_id", "id"),
    )

    id: Mapped[Key]
    custody_id: Mapped[int] = mapped_column(ForeignKey("custody.id"), unique=True)
    party_id: Mapped[int]
    asset_id: Mapped[int] = mapped_column(ForeignKey("asset.id"))
    amount_mb: Mapped[int]
    returned_mb: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class TankWithdrawalRow(Base):
    """What a member took out of the tank for one of their lines: one data gift for each deposit that it comes from."""

    __tablename__ = "tank_withdrawal"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        CheckConstraint("amount_mb > 0", name="amount_is_positive"),
        Index("ix_tank_withdrawal_line_id", "line_id", "created_at"),
    )

    id: Mapped[Key]
    party_id: Mapped[int]
    key: Mapped[str]
    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"))
    asset_id: Mapped[int] = mapped_column(ForeignKey("asset.id"))
    amount_mb: Mapped[int]
    created_at: Mapped[Moment]


class CharityRow(Base):
    """The charity that receives given data at a carrier, with the line that it receives it on."""

    __tablename__ = "charity"

    carrier: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"))
    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"))
    since: Mapped[Moment]
