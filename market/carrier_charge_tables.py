"""What carriers charge for deliveries, as it was set; nothing in it is ever changed."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from settlement.base import Base, Key, Moment


class CarrierChargeRow(Base):
    """A carrier's charges from ``effective_from`` on: flat, or by the size of a delivery (``0:20 1000:35``)."""

    __tablename__ = "carrier_charge"
    __table_args__ = (UniqueConstraint("carrier", "effective_from"),)

    id: Mapped[Key]
    carrier: Mapped[str]
    effective_from: Mapped[datetime]
    steps: Mapped[str]
    set_at: Mapped[Moment]
