"""The tables of orders across instruments: what is asked, what is decided, and what shards have promised meanwhile."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class BasketRow(Base):
    """One basket or swap. Its ``state`` is the only word on whether what several shards prepared is done or undone.

    It changes once, from deciding, by whoever is first: whoever placed it, or at the
    deadline an engine that waits for it.
    """

    __tablename__ = "basket"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        CheckConstraint("kind in ('basket', 'swap')", name="kind_is_known"),
        CheckConstraint("state in ('deciding', 'committed', 'aborted')", name="state_is_known"),
    )

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"))
    key: Mapped[str]
    body_hash: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[str]
    limit_minor: Mapped[int]
    """The most to pay for all legs, fees included; negative, the least to get."""
    all_or_none: Mapped[bool]
    legs: Mapped[list[dict[str, object]]] = mapped_column(JSONB)
    """The legs as they were asked for."""
    orders: Mapped[list[dict[str, object]]] = mapped_column(JSONB)
    """The orders that they ask for, with accounts, lines and custody."""
    commands: Mapped[list[dict[str, object]]] = mapped_column(JSONB)
    """What the shards were asked to do, in this order: the key, the shard, and the numbers of the legs."""
    state: Mapped[str]
    reason: Mapped[str | None]
    """Why it was aborted, as a code."""
    detail: Mapped[str | None]
    deadline: Mapped[datetime]
    created_at: Mapped[Moment]
    decided_at: Mapped[datetime | None]


class BasketLegRow(Base):
    """A leg that a shard has promised whole, with what it holds for it. Written by the engine only."""

    __tablename__ = "basket_leg"
    __table_args__ = (
        CheckConstraint("held > 0", name="held_is_positive"),
        CheckConstraint("state in ('prepared', 'filled', 'returned')", name="state_is_known"),
        Index("ix_basket_leg_prepared", "shard", postgresql_where=text("state = 'prepared'")),
    )

    basket_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    account_id: Mapped[int]
    held: Mapped[int]
    """Minor units of a purchase, units of the asset of a sale."""
    asked: Mapped[bytes] = mapped_column(LargeBinary)
    """The order that it becomes when the basket is committed."""
    promised_us: Mapped[int]
    """When, in microseconds since the epoch."""
    state: Mapped[str]
