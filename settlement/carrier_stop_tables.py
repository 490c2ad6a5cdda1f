"""The table of carriers at which nothing new is opened for a while."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped

from settlement.base import Base, Key, Moment


class CarrierStopRow(Base):
    """Why nothing new is opened at a carrier: it has been ``away`` too long, or ``breaks`` say it can't be trusted.

    The first ends by itself when the carrier answers again, the second by an officer.
    """

    __tablename__ = "carrier_stop"
    __table_args__ = (
        CheckConstraint("cause in ('away', 'breaks')", name="cause_is_known"),
        CheckConstraint("ended_by is null or ended_at is not null", name="an_officer_ends_it"),
        Index(
            "uq_carrier_stop_in_force", "carrier", "cause", unique=True, postgresql_where=text("ended_at is null")
        ),
    )  # fmt: skip

    id: Mapped[Key]
    carrier: Mapped[str]
    cause: Mapped[str]
    detail: Mapped[str]
    since: Mapped[Moment]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[int | None]
