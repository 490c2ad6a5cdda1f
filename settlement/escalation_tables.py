"""The tables of what takes too long and of what a person says about it."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class EscalationRow(Base):
    """Something that has not ended in time, with the class of its reason; it ends when the thing does."""

    __tablename__ = "escalation"
    __table_args__ = (
        UniqueConstraint("subject", "subject_id"),
        CheckConstraint(
            "subject in ('delivery', 'payout', 'custody', 'payment', 'redemption', 'handout', 'data_gift', "
            "'reopening')",
            name="subject_is_known",
        ),
        Index("ix_escalation_open", "subject", "subject_id", postgresql_where=text("ended_at is null")),
    )

    id: Mapped[Key]
    subject: Mapped[str]
    subject_id: Mapped[int]
    cause: Mapped[str]
    since: Mapped[datetime]
    opened_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class DeadWordRow(Base):
    """What an officer says became of a dead instruction. It counts when another officer has confirmed it."""

    __tablename__ = "dead_word"
    __table_args__ = (
        CheckConstraint("status in ('proposed', 'confirmed', 'withdrawn')", name="status_is_known"),
        CheckConstraint("happened = (carrier_reference is not null)", name="happened_has_a_reference"),
        CheckConstraint("status <> 'confirmed' or ended_by <> proposed_by", name="is_confirmed_by_another"),
        CheckConstraint("(status = 'proposed') = (ended_by is null)", name="ends_with_a_name"),
        Index("uq_dead_word_proposed", "instruction_id", unique=True, postgresql_where=text("status = 'proposed'")),
    )

    id: Mapped[Key]
    instruction_id: Mapped[int] = mapped_column(ForeignKey("instruction.id"))
    happened: Mapped[bool]
    carrier_reference: Mapped[str | None]
    reason: Mapped[str]
    proposed_by: Mapped[int]
    proposed_at: Mapped[Moment]
    status: Mapped[str] = mapped_column(default="proposed", server_default="proposed")
    ended_by: Mapped[int | None]
    ended_at: Mapped[datetime | None]
