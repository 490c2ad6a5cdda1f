"""What a party was told, in its own words once it reads it."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class NoticeRow(Base):
    """One thing that a party was told. Its sentence is made from ``kind`` and ``facts`` in the reader's language.

    ``once`` keeps the same thing from being told twice. ``text_state`` is empty for what is not texted to the phone.
    """

    __tablename__ = "notice"
    __table_args__ = (
        UniqueConstraint("party_id", "once"),
        CheckConstraint("text_state in ('due', 'sent', 'failed', 'dropped')", name="text_state_is_known"),
        Index("ix_notice_party", "party_id", "id"),
        Index("ix_notice_unread", "party_id", postgresql_where=text("read_at is null")),
        Index("ix_notice_due", "id", postgresql_where=text("text_state = 'due'")),
        Index("ix_notice_at", "at", postgresql_using="brin"),
    )

    id: Mapped[Key]
    party_id: Mapped[int]
    kind: Mapped[str]
    about: Mapped[str]
    """The path of the page that it is about; empty for none."""
    facts: Mapped[dict[str, object]] = mapped_column(JSONB, server_default="{}")
    once: Mapped[str | None]
    text_state: Mapped[str | None]
    at: Mapped[Moment]
    read_at: Mapped[datetime | None]
