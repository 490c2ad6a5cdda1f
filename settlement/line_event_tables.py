"""The tables of what happens to lines behind our back, and of reservations that lapsed at the carrier."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class LineEventRow(Base):
    """Something that a carrier says happened to a line of ours: stored once, then asked about, then acted on.

    ``status`` is received until the carrier was asked; confirmed or denied by its answer.
    """

    __tablename__ = "line_event"
    __table_args__ = (
        UniqueConstraint("carrier", "source", "event_id"),
        CheckConstraint(
            "kind in ('sim_swapped', 'recycled', 'ported_out', 'plan_changed', 'closed')", name="kind_is_known"
        ),
        CheckConstraint("status in ('received', 'confirmed', 'denied')", name="status_is_known"),
        CheckConstraint("(status = 'received') = (asked_at is null)", name="an_answer_has_its_time"),
        CheckConstraint("plan is null or plan in ('prepaid', 'postpaid')", name="plan_is_known"),
        CheckConstraint("pause_until is null or status = 'confirmed'", name="only_what_is_sure_pauses"),
        Index("ix_line_event_line", "line_id", postgresql_where=text("status <> 'denied'")),
        Index("ix_line_event_party", "party_id", postgresql_where=text("pause_until is not null")),
        Index("ix_line_event_open", "look_at", postgresql_where=text("handled_at is null")),
    )

    id: Mapped[Key]
    carrier: Mapped[str]
    source: Mapped[str]
    event_id: Mapped[str]
    line_id: Mapped[int]
    party_id: Mapped[int]
    kind: Mapped[str]
    plan: Mapped[str | None]
    """The new plan, when the carrier names it."""
    happened_at: Mapped[datetime]
    """By the carrier's clock."""
    received_at: Mapped[Moment]
    status: Mapped[str] = mapped_column(default="received", server_default="received")
    look_at: Mapped[Moment]
    """When to go on with it at the earliest."""
    asked_at: Mapped[datetime | None]
    pause_until: Mapped[datetime | None]
    """Until then the party's money does not leave."""
    handled_at: Mapped[datetime | None]


class LapsedReservationRow(Base):
    """A reservation that the carrier no longer holds although our books had it: a break, and data nobody may sell."""

    __tablename__ = "lapsed_reservation"
    __table_args__ = (CheckConstraint("missing_mb >= 0", name="missing_is_not_negative"),)

    custody_id: Mapped[int] = mapped_column(ForeignKey("custody.id"), primary_key=True, autoincrement=False)
    carrier: Mapped[str]
    said: Mapped[str]
    """What the carrier said of it: expired, released, consumed, or unknown."""
    missing_mb: Mapped[int]
    """What the custody account still had when it was noticed."""
    noticed_at: Mapped[Moment]


class LineSubscriptionRow(Base):
    """A line whose events the carrier sends us."""

    __tablename__ = "line_subscription"

    line_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    carrier: Mapped[str]
    subscription_id: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[Moment]
