"""The fee schedule as it was set, entry by entry; nothing in it is ever changed."""

from datetime import datetime

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped

from settlement.base import Base, Key, Moment


class FeeRow(Base):
    """The fee on sales from ``effective_from`` on. An empty column stands for all."""

    __tablename__ = "fee_schedule"
    __table_args__ = (
        UniqueConstraint(
            "effective_from", "party_kind", "party_group", "carrier", "symbol", postgresql_nulls_not_distinct=True
        ),
        CheckConstraint("basis_points between 0 and 9999", name="fee_is_a_share"),
        CheckConstraint("minimum_minor >= 0", name="minimum_is_not_negative"),
        CheckConstraint("carrier is null or symbol is null", name="one_scope"),
        CheckConstraint("party_kind is null or party_group is null", name="one_group"),
    )

    id: Mapped[Key]
    effective_from: Mapped[datetime]
    party_kind: Mapped[str | None]
    party_group: Mapped[str | None]
    carrier: Mapped[str | None]
    symbol: Mapped[str | None]
    basis_points: Mapped[int]
    minimum_minor: Mapped[int]
    created_at: Mapped[Moment]
