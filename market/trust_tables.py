"""What a member proves themselves by: passkeys, and what their carrier said of their name."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class PasskeyRow(Base):
    """A key pair on a device of the member's; only its public half is here."""

    __tablename__ = "passkey"
    __table_args__ = (CheckConstraint("sign_count >= 0", name="uses_are_counted"),)

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), index=True)
    name: Mapped[str]
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int]
    """What the device counted when it was last used; a smaller count afterwards is a copy's."""
    created_at: Mapped[Moment]
    last_used_at: Mapped[datetime | None]


class IdentityRow(Base):
    """That a carrier knows a line's owner by the name and document that the member gave. Neither is kept."""

    __tablename__ = "identity"

    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"), primary_key=True, autoincrement=False)
    line_id: Mapped[int] = mapped_column(ForeignKey("line.id"))
    document_hash: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    """Keyed, so that nobody finds the document by trying all of them."""
    minor_until: Mapped[date | None]
    """The day on which a minor comes of age; a grown-up has none."""
    checked_at: Mapped[Moment]
