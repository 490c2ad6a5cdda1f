"""What members let the autopilot do, what it does, and what it has done."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class AutopilotRow(Base):
    """A line's setting. Thresholds are MB that shall probably be left at the end; prices minor units per lot."""

    __tablename__ = "autopilot"
    __table_args__ = (
        CheckConstraint("state in ('on', 'paused', 'off')", name="state_is_known"),
        CheckConstraint("buy_up_to_mb >= 0 and sell_down_to_mb >= buy_up_to_mb", name="thresholds_are_ordered"),
        CheckConstraint("floor_minor > 0 and cap_minor > 0", name="prices_are_positive"),
        CheckConstraint("sells or buys", name="does_something"),
        Index("ix_autopilot_on", "line_id", postgresql_where=text("state = 'on'")),
    )

    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"), primary_key=True, autoincrement=False)
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), index=True)
    state: Mapped[str]
    sells: Mapped[bool]
    buys: Mapped[bool]
    sell_down_to_mb: Mapped[int]
    buy_up_to_mb: Mapped[int]
    floor_minor: Mapped[int]
    """It never sells a lot for less."""
    cap_minor: Mapped[int]
    """It never buys a lot for more."""
    planned_on: Mapped[date | None] = mapped_column(Date)
    """The day of Shanghai whose plan has been made; what of it is not done yet has no outcome."""
    looked_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    changed_at: Mapped[Moment]


class AutopilotActionRow(Base):
    """One thing that the autopilot does: written down before it is asked for, and asked for under ``key``.

    Without an ``outcome`` it is not known yet what came of it.
    """

    __tablename__ = "autopilot_action"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        CheckConstraint("kind in ('sell', 'buy', 'shrink', 'cancel')", name="kind_is_known"),
        CheckConstraint("lots >= 0 and price_minor >= 0", name="terms_are_not_negative"),
        CheckConstraint("kind in ('sell', 'buy') or order_id is not null", name="a_change_names_its_order"),
        Index("ix_autopilot_action_line", "line_id", "id"),
        Index("ix_autopilot_action_order", "order_id", postgresql_where=text("kind in ('sell', 'buy')")),
        Index("ix_autopilot_action_unfinished", "line_id", postgresql_where=text("outcome is null")),
    )

    id: Mapped[Key]
    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"))
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"))
    day: Mapped[date] = mapped_column(Date)
    key: Mapped[str]
    kind: Mapped[str]
    symbol: Mapped[str]
    lots: Mapped[int]
    """Of a placement its size, of a shrinking what remains of the order, of a cancellation 0."""
    price_minor: Mapped[int]
    order_id: Mapped[int | None]
    outcome: Mapped[str | None]
    """done, ended (its order had), paused (it was overtaken), or the code of what refused it."""
    detail: Mapped[str | None]
    """The words of a refusal."""
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]
