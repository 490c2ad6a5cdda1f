"""Cases: what one side of a trade says went wrong, what both say to it, and what was decided."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class CaseRow(Base):
    """One case about one trade. Amounts are minor units of what the buyer paid; there is one open case a trade."""

    __tablename__ = "member_case"
    __table_args__ = (
        CheckConstraint("opener_side in ('buy', 'sell')", name="opener_side_is_known"),
        CheckConstraint("status in ('open', 'decided', 'withdrawn', 'abandoned')", name="status_is_known"),
        CheckConstraint("wanted_minor >= 0 and proposed_minor >= 0 and decided_minor >= 0", name="amounts_are_covered"),
        CheckConstraint("(asked_id is null) = (answer_due_at is null)", name="answer_has_a_time"),
        CheckConstraint("(status = 'open') = (ended_at is null)", name="ends_with_a_time"),
        CheckConstraint(
            "(status = 'decided') = (decided_by is not null and decided_minor is not null)"
            " and (decided_minor is null or decided_minor = 0 or proposed_by <> decided_by)",
            name="two_officers",
        ),
        Index("uq_member_case_open", "trade_id", unique=True, postgresql_where=text("status = 'open'")),
        Index("ix_member_case_trade", "trade_id"),
        Index("ix_member_case_opener", "opener_id", "id"),
        Index("ix_member_case_other", "other_id", "id"),
    )

    id: Mapped[Key]
    trade_id: Mapped[int]
    opener_id: Mapped[int]
    other_id: Mapped[int]
    opener_side: Mapped[str]
    reason: Mapped[str]
    wanted_minor: Mapped[int]
    """What the buyer would get back; nothing when the seller is the opener."""
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    asked_id: Mapped[int | None]
    """The party that an officer waits for."""
    answer_due_at: Mapped[datetime | None]
    decide_by: Mapped[datetime]
    proposed_minor: Mapped[int | None]
    proposed_by: Mapped[int | None]
    decided_by: Mapped[int | None]
    decided_minor: Mapped[int | None]
    opened_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class CaseEntryRow(Base):
    """Something that was said in a case, with one file at most. Written once."""

    __tablename__ = "case_entry"
    __table_args__ = (
        CheckConstraint("author in ('buy', 'sell', 'officer')", name="author_is_known"),
        CheckConstraint(
            "(file is null) = (file_name is null) and (file is null) = (file_type is null)", name="file_is_whole"
        ),
        Index("ix_case_entry_case_id", "case_id", "id"),
    )

    id: Mapped[Key]
    case_id: Mapped[int] = mapped_column(ForeignKey("member_case.id"))
    author: Mapped[str]
    words: Mapped[str]
    file_name: Mapped[str | None]
    file_type: Mapped[str | None]
    file: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    at: Mapped[Moment]
