"""The tables of receipts: what was issued, so that a later receipt of a trade goes on from the one before."""

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Moment


class ReceiptKeyRow(Base):
    """A public key that receipts were signed with. Never deleted: old receipts are checked with it."""

    __tablename__ = "receipt_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    first_used_at: Mapped[Moment]


class ReceiptRow(Base):
    """How far the receipt of one side of a trade has come: its number of steps and the hash of the last."""

    __tablename__ = "receipt"
    __table_args__ = (
        CheckConstraint("side in ('buy', 'sell')", name="side_is_known"),
        CheckConstraint("steps >= 0", name="steps_are_counted"),
    )

    trade_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    side: Mapped[str] = mapped_column(primary_key=True)
    steps: Mapped[int] = mapped_column(default=0, server_default="0")
    head_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    first_issued_at: Mapped[Moment]


class ReceiptStepRow(Base):
    """One issued step; ``hash`` is the SHA-256 of the former step's hash and of ``body`` as it stands here."""

    __tablename__ = "receipt_step"
    __table_args__ = (ForeignKeyConstraint(["trade_id", "side"], ["receipt.trade_id", "receipt.side"]),)

    trade_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    side: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    reference: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    former_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[Moment]
