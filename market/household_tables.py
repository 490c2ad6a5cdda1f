"""The tables of households: who lives together, who was asked to, and what may be bought for each line."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class HouseholdRow(Base):
    """People who share one group, so that they never trade with each other. Its payer sets the limits."""

    __tablename__ = "household"

    id: Mapped[Key]
    payer_id: Mapped[int] = mapped_column(ForeignKey("party.id"), unique=True)
    created_at: Mapped[Moment]


class HouseholdMemberRow(Base):
    """That a party belongs to a household; to one at the most."""

    __tablename__ = "household_member"

    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), primary_key=True, autoincrement=False)
    household_id: Mapped[int] = mapped_column(ForeignKey("household.id"), index=True)
    joined_at: Mapped[Moment]


class HouseholdInvitationRow(Base):
    """That somebody was asked to join. Whoever has the number answers it."""

    __tablename__ = "household_invitation"
    __table_args__ = (
        CheckConstraint("status in ('open', 'accepted', 'declined', 'withdrawn')", name="status_is_known"),
        Index(
            "ix_household_invitation_open",
            "household_id",
            "invited_id",
            unique=True,
            postgresql_where=text("status = 'open'"),
        ),
        Index("ix_household_invitation_invited", "invited_id", postgresql_where=text("status = 'open'")),
    )

    id: Mapped[Key]
    household_id: Mapped[int] = mapped_column(ForeignKey("household.id", ondelete="cascade"))
    inviter_id: Mapped[int] = mapped_column(ForeignKey("party.id"))
    invited_id: Mapped[int] = mapped_column(ForeignKey("party.id"))
    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"))
    """The line whose number was given: all that the inviter knows of whom they asked."""
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    created_at: Mapped[Moment]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class LineLimitRow(Base):
    """How much may be bought for a line of a household in the carrier's month."""

    __tablename__ = "line_limit"
    __table_args__ = (
        CheckConstraint("monthly_mb >= 0 and monthly_minor >= 0", name="limits_are_not_negative"),
        CheckConstraint("monthly_mb is not null or monthly_minor is not null", name="something_is_limited"),
    )

    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"), primary_key=True, autoincrement=False)
    household_id: Mapped[int] = mapped_column(ForeignKey("household.id", ondelete="cascade"), index=True)
    monthly_mb: Mapped[int | None]
    monthly_minor: Mapped[int | None]
    set_at: Mapped[Moment]
