"""The ledger's tables: assets, accounts and postings, with the constraints that repeat the ledger's invariants."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Sequence, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment
from settlement.ledger import FIRST_SETTLED

FIRST_SETTLEMENT_TRANSFER = 2**60
"""Transfers of the engine are numbered by its journal, those of settlement by a sequence that starts here."""

transfer_number = Sequence("transfer_number", start=FIRST_SETTLEMENT_TRANSFER, metadata=Base.metadata)


class AssetRow(Base):
    """What can be owned: money, data of one bucket kind, or coins."""

    __tablename__ = "asset"
    __table_args__ = (CheckConstraint("kind in ('money', 'data', 'coin')", name="kind_is_known"),)

    id: Mapped[Key]
    code: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    carrier: Mapped[str | None]
    scope: Mapped[str | None]
    app_scope: Mapped[str | None]
    expires_at: Mapped[datetime | None]


class AccountRow(Base):
    """The balance of one party in one asset. ``kind`` and ``reference`` tell accounts of the same asset apart.

    Kinds: wallet (money or coins a party may spend), card (one authorised card
    hold), custody (data reserved at the carrier for one listing), debt (what a party
    owes the house: zero or below), and the house's
    own: fees, coin_budget, uncaptured, and the outside world as carrier, provider
    and coin_issue, which may go negative.
    """

    __tablename__ = "account"
    __table_args__ = (
        UniqueConstraint("party_id", "asset_id", "kind", "reference", postgresql_nulls_not_distinct=True),
        CheckConstraint("held >= 0", name="held_is_not_negative"),
        CheckConstraint("available >= 0 or may_go_negative", name="available_is_not_negative"),
        Index("ix_account_debt", "party_id", "asset_id", postgresql_where=text("kind = 'debt'")),
    )

    id: Mapped[Key]
    party_id: Mapped[int]
    asset_id: Mapped[int] = mapped_column(ForeignKey("asset.id"))
    kind: Mapped[str]
    reference: Mapped[str | None]
    may_go_negative: Mapped[bool] = mapped_column(default=False, server_default="false")
    available: Mapped[int] = mapped_column(default=0, server_default="0")
    held: Mapped[int] = mapped_column(default=0, server_default="0")


class PostingRow(Base):
    """One signed change of an account. Never updated, never deleted: a correction is a new transfer.

    A transfer that only moves amounts between available and held balances in
    its own row; transfers between accounts are written by one statement, after which a trigger sums them.
    """

    __tablename__ = "posting"
    __table_args__ = (
        CheckConstraint(f"kind >= {FIRST_SETTLED} or available_change + held_change = 0", name="a_hold_balances"),
        Index("ix_posting_account", "account_id", "at", "transfer_id"),
        Index(
            "uq_posting_settled_once",
            "kind",
            "reference",
            "account_id",
            unique=True,
            postgresql_where=text(f"kind >= {FIRST_SETTLED}"),
        ),
    )

    transfer_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(SmallInteger)
    reference: Mapped[str]
    available_change: Mapped[int]
    held_change: Mapped[int]
    at: Mapped[Moment]
