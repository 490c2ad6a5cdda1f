"""What members want to be told of, and when not to be disturbed."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class PriceAlertRow(Base):
    """A price that a party waits for, in minor units per lot. It fires once."""

    __tablename__ = "price_alert"
    __table_args__ = (
        CheckConstraint("direction in ('falls', 'rises')", name="direction_is_known"),
        CheckConstraint("state in ('open', 'fired', 'removed', 'over')", name="state_is_known"),
        CheckConstraint("price_minor > 0", name="price_is_positive"),
        CheckConstraint("(state = 'fired') = (fired_at is not null)", name="fires_with_a_time"),
        Index("ix_price_alert_party", "party_id", postgresql_where=text("state = 'open'")),
        Index(
            "ix_price_alert_open", "instrument_id", "direction", "price_minor", postgresql_where=text("state = 'open'")
        ),
    )

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"))
    instrument_id: Mapped[int] = mapped_column(ForeignKey("instrument.id"))
    direction: Mapped[str]
    """falls: data is offered at the price or below; rises: somebody bids the price or more."""
    price_minor: Mapped[int]
    state: Mapped[str] = mapped_column(default="open", server_default="open")
    created_at: Mapped[Moment]
    fired_at: Mapped[datetime | None]


class AlertSettingRow(Base):
    """What a party wants to be told, and the hours of its day in which its phone stays silent."""

    __tablename__ = "alert_setting"
    __table_args__ = (
        CheckConstraint("quiet_from between 0 and 23 and quiet_until between 0 and 23", name="hours_are_hours"),
    )

    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), primary_key=True, autoincrement=False)
    usage: Mapped[bool] = mapped_column(default=True, server_default="true")
    expiry: Mapped[bool] = mapped_column(default=True, server_default="true")
    texts: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether alerts are also texted to the phone."""
    quiet_from: Mapped[int] = mapped_column(SmallInteger, default=22, server_default="22")
    quiet_until: Mapped[int] = mapped_column(SmallInteger, default=8, server_default="8")
    """Equal hours mean that there is no quiet time."""
