"""The table of what carriers push to us."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped

from settlement.base import Base, Key, Moment


class CarrierPushRow(Base):
    """A status that a carrier pushed, once however often it came: `reference` is its id, `external_id` ours.

    ``kind`` and ``subject_id`` name the instruction that it is about, if the id is one of ours.
    """

    __tablename__ = "carrier_push"
    __table_args__ = (
        UniqueConstraint("carrier", "reference", "external_id", "status"),
        CheckConstraint("(handled_at is null) = (outcome is null)", name="ends_with_an_outcome"),
        CheckConstraint("outcome in ('asked', 'not_needed', 'quarantined')", name="outcome_is_known"),
        Index("ix_carrier_push_open", "id", postgresql_where=text("handled_at is null")),
        Index("ix_carrier_push_read", "handled_at", postgresql_where=text("handled_at is not null")),
    )

    id: Mapped[Key]
    carrier: Mapped[str]
    reference: Mapped[str]
    external_id: Mapped[str]
    status: Mapped[str]
    kind: Mapped[str | None]
    subject_id: Mapped[int | None]
    received_at: Mapped[Moment]
    handled_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
