"""The table of gift links: coins that wait for whoever has the code."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


class GiftLinkRow(Base):
    """Coins of one wallet, held until somebody claims them with the code or the link expires. The code is hashed."""

    __tablename__ = "gift_link"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        CheckConstraint("coins > 0", name="coins_are_positive"),
        CheckConstraint("status in ('open', 'claimed', 'returned')", name="status_is_known"),
        CheckConstraint("(status = 'claimed') = (claimed_by is not null)", name="claim_has_a_claimant"),
        Index("ix_gift_link_due", "expires_at", postgresql_where=text("status = 'open'")),
        Index("ix_gift_link_claimed_by", "claimed_by", postgresql_where=text("claimed_by is not null")),
    )

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(ForeignKey("party.id"))
    key: Mapped[str]
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    coins: Mapped[int]
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    expires_at: Mapped[datetime]
    claimed_by: Mapped[int | None] = mapped_column(ForeignKey("party.id"))
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]
