"""How the lanes of settlement stand, and the calls that carry several trades at once."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class LaneStateRow(Base):
    """How a lane stands, for everybody to read; a lane that never failed has no row.

    Written by the workers when it changes. ``reason`` is for both parties of a trade that waits.
    """

    __tablename__ = "lane_state"
    __table_args__ = (
        CheckConstraint("state in ('closed', 'open', 'half_open')", name="state_is_known"),
        CheckConstraint(
            "state = 'closed' or (reason is not null and next_try_at is not null)", name="open_has_a_reason"
        ),
    )

    lane: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    since: Mapped[Moment]
    failures: Mapped[int] = mapped_column(default=0, server_default="0")
    """Calls in a row that came to nothing."""
    next_try_at: Mapped[datetime | None]
    reason: Mapped[str | None]


class BundleRow(Base):
    """Trades of one reservation to one line that the carrier moves by one call, in the sum of their amounts.

    It never grows or shrinks. ``open`` until the carrier's answer is definite; ``done`` settles all members;
    ``apart`` means that nothing was moved by it, and its members are delivered one by one.
    """

    __tablename__ = "bundle"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_is_positive"),
        CheckConstraint("status in ('open', 'done', 'apart')", name="status_is_known"),
        CheckConstraint("status <> 'done' or carrier_reference is not null", name="done_has_a_reference"),
    )

    id: Mapped[Key]
    carrier: Mapped[str]
    custody_id: Mapped[int]
    reservation_id: Mapped[str]
    receiver_line_id: Mapped[int]
    quantity: Mapped[int]
    """MB: the sum of the members'."""
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    carrier_reference: Mapped[str | None]
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class BooksHomeRow(Base):
    """The database that these books live in, as its server names it; a restored copy lives in another."""

    __tablename__ = "books_home"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[str]
    since: Mapped[Moment]


class BundleMemberRow(Base):
    """One trade in a bundle. A trade is in at most one bundle, ever: what fell apart is not bundled again."""

    __tablename__ = "bundle_member"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity_is_positive"),)

    bundle_id: Mapped[int] = mapped_column(ForeignKey("bundle.id"), primary_key=True, autoincrement=False)
    delivery_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, unique=True)
    quantity: Mapped[int]
