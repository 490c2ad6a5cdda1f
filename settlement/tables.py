"""What settlement has promised and how far it has come: custody, payments, deliveries, payouts, instructions."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from settlement.base import Base, Key, Moment


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=f"{column}_is_known")


class CustodyRow(Base):
    """Data of one listing, reserved in the seller's bucket at the carrier and mirrored in its custody account."""

    __tablename__ = "custody"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        _one_of("status", "requested", "reserved", "releasing", "released", "refused"),
        CheckConstraint("quantity_mb > 0", name="quantity_is_positive"),
    )

    id: Mapped[Key]
    party_id: Mapped[int]
    key: Mapped[str]
    line_id: Mapped[int]
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    carrier: Mapped[str]
    bucket_id: Mapped[str]
    quantity_mb: Mapped[int]
    status: Mapped[str] = mapped_column(default="requested")
    reservation_id: Mapped[str | None]
    expires_at: Mapped[datetime]
    created_at: Mapped[Moment]


class PaymentRow(Base):
    """Money on its way in: a wallet top-up, or a card hold for one immediate order."""

    __tablename__ = "payment"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        _one_of("kind", "top_up", "card_hold"),
        _one_of(
            "status",
            "requested",
            "requires_action",
            "authorised",
            "succeeded",
            "voided",
            "declined",
            "refunded",
            "unknown",
        ),
        CheckConstraint("amount_minor > 0", name="amount_is_positive"),
        CheckConstraint("captured_minor between 0 and amount_minor", name="capture_is_covered"),
        CheckConstraint("refunded_minor between 0 and captured_minor", name="refund_is_covered"),
    )

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(index=True)
    key: Mapped[str]
    kind: Mapped[str]
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    amount_minor: Mapped[int]
    captured_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    refunded_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    currency: Mapped[str]
    payment_method: Mapped[str]
    status: Mapped[str] = mapped_column(default="requested")
    customer: Mapped[str | None] = mapped_column(index=True)
    return_url: Mapped[str | None]
    checkout_id: Mapped[str | None] = mapped_column(unique=True)
    """The provider's page on which its owner enters a card, when there is one."""
    provider_id: Mapped[str | None] = mapped_column(unique=True)
    action_url: Mapped[str | None]
    capture_before: Mapped[datetime | None]
    reason: Mapped[str | None]
    created_at: Mapped[Moment]


class DeliveryRow(Base):
    """Delivery versus payment of one trade; its id is the trade's.

    The seller's ``custody_account_id`` gives ``quantity`` units (MB or coins), the
    buyer's ``money_account_id`` gives ``amount_minor``, of which ``proceeds_account_id``
    gets all but ``fee_minor``. Data goes to a line at the carrier, coins to
    ``coin_account_id``. Written by the engine in the trade's own transaction.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        _one_of("status", "pending", "delivered", "settled", "refunded"),
        CheckConstraint("quantity > 0 and amount_minor > 0", name="amounts_are_positive"),
        CheckConstraint("fee_minor between 0 and amount_minor", name="fee_is_covered"),
        CheckConstraint("charge_minor between 0 and fee_minor", name="charge_is_covered"),
        CheckConstraint("(receiver_line_id is null) <> (coin_account_id is null)", name="goes_to_line_or_account"),
        Index("ix_delivery_open", "id", postgresql_where=text("status in ('pending', 'delivered')")),
        Index("ix_delivery_custody", "custody_id", postgresql_where=text("status = 'pending'")),
        Index("ix_delivery_payment", "payment_id", postgresql_where=text("payment_id is not null")),
        Index("ix_delivery_given_up", "id", postgresql_where=text("given_up_at is not null and status = 'pending'")),
        Index("ix_delivery_delivered", "delivered_at", postgresql_using="brin"),
        Index("ix_delivery_ended", "ended_at", postgresql_using="brin"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    carrier: Mapped[str | None]
    custody_id: Mapped[int | None]
    custody_account_id: Mapped[int]
    quantity: Mapped[int]
    money_account_id: Mapped[int]
    payment_id: Mapped[int | None]
    amount_minor: Mapped[int]
    fee_minor: Mapped[int]
    """All that the seller gives of the amount; ``charge_minor`` of it is the carrier's, the rest the house's."""
    charge_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    proceeds_account_id: Mapped[int]
    receiver_line_id: Mapped[int | None]
    coin_account_id: Mapped[int | None]
    status: Mapped[str] = mapped_column(default="pending")
    reason: Mapped[str | None]
    carrier_reference: Mapped[str | None]
    payment_reference: Mapped[str | None]
    created_at: Mapped[Moment]
    delivered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    """When the buyer said that they won't wait any longer."""


class PayoutRow(Base):
    """A withdrawal from a wallet: a transfer to the party's connected account, then a payout from it."""

    __tablename__ = "payout"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        _one_of("status", "requested", "transferred", "paid", "refused"),
        CheckConstraint("amount_minor > 0", name="amount_is_positive"),
    )

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(index=True)
    key: Mapped[str]
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    amount_minor: Mapped[int]
    currency: Mapped[str]
    destination: Mapped[str]
    status: Mapped[str] = mapped_column(default="requested")
    transfer_reference: Mapped[str | None]
    payout_reference: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class RedemptionRow(Base):
    """Coins that become data on the owner's line: 1 coin = 1 MB."""

    __tablename__ = "redemption"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        _one_of("status", "requested", "done", "refused"),
        CheckConstraint("coins > 0", name="coins_are_positive"),
    )

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(index=True)
    key: Mapped[str]
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    line_id: Mapped[int]
    carrier: Mapped[str]
    coins: Mapped[int]
    expires_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(default="requested")
    carrier_reference: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class HandoutRow(Base):
    """Data a partner passes from its own line to one of its users by the carrier's transfer."""

    __tablename__ = "handout"
    __table_args__ = (
        UniqueConstraint("party_id", "key"),
        _one_of("status", "requested", "done", "refused"),
        CheckConstraint("amount_mb > 0", name="amount_is_positive"),
    )

    id: Mapped[Key]
    party_id: Mapped[int] = mapped_column(index=True)
    key: Mapped[str]
    line_id: Mapped[int]
    receiver_line_id: Mapped[int]
    carrier: Mapped[str]
    bucket_id: Mapped[str]
    amount_mb: Mapped[int]
    status: Mapped[str] = mapped_column(default="requested")
    carrier_reference: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class InstructionRow(Base):
    """One step to be done at a carrier or the payment provider.

    ``kind`` and ``subject_id`` name it: together they are the external id and the
    idempotency key that travel with the call. ``lane`` is the carrier's code,
    ``provider`` or ``house``. A claim (worker, attempt, deadline, hash of what is
    sent) is committed before the first byte leaves.
    """

    __tablename__ = "instruction"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id"),
        _one_of("status", "ready", "claimed", "unknown", "done", "refused", "dead"),
        Index(
            "ix_instruction_due",
            "lane",
            "not_before",
            postgresql_where=text("status in ('ready', 'claimed', 'unknown')"),
        ),
        Index("ix_instruction_dead", "id", postgresql_where=text("status = 'dead'")),
    )

    id: Mapped[Key]
    kind: Mapped[str]
    subject_id: Mapped[int]
    lane: Mapped[str]
    status: Mapped[str] = mapped_column(default="ready", server_default="ready")
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    not_before: Mapped[Moment]
    claimed_by: Mapped[str | None]
    claim_deadline: Mapped[datetime | None]
    last_sent_at: Mapped[datetime | None]
    request_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    external_reference: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]


class ProviderEventRow(Base):
    """A webhook of the payment provider: stored first, answered, then handled once by reading the object again."""

    __tablename__ = "provider_event"
    __table_args__ = (
        Index("ix_provider_event_pending", "not_before", postgresql_where=text("handled_at is null")),
        Index("ix_provider_event_parked", "received_at", postgresql_where=text("parked")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    object_id: Mapped[str]
    payload: Mapped[dict[str, object]] = mapped_column(JSONB)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    handled_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    parked: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """It waits for a person."""
    not_before: Mapped[datetime] = mapped_column(server_default=func.now())
