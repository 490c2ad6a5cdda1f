"""The table of what officers have seen of things that wait for a person."""

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Moment


class SeenByOfficerRow(Base):
    """An officer has taken note of an escalation or a reopened trade; the first one's words stay."""

    __tablename__ = "seen_by_officer"
    __table_args__ = (CheckConstraint("subject in ('escalation', 'reopening')", name="subject_is_known"),)

    subject: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    officer_id: Mapped[int]
    note: Mapped[str]
    at: Mapped[Moment]
