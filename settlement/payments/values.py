"""What the payment port speaks of. Amounts are whole minor units, currencies upper-case, times aware UTC."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit


@dataclass(frozen=True)
class PaymentSettings:
    api_key: str
    api_base: str | None
    """None is the provider's own address; otherwise the address of a simulated provider."""
    webhook_secret: str
    """One signing secret, or several separated by commas while one is being replaced."""
    timeout_seconds: int
    """The longest wait for one attempt."""

    def __post_init__(self) -> None:
        if not self.api_key:
            raise ValueError("The payment provider's API key is missing.")
        if self.timeout_seconds < 1:
            raise ValueError("The payment time-out must be at least one second.")
        if self.api_base is not None and urlsplit(self.api_base).scheme not in {"http", "https"}:
            raise ValueError("The payment provider's address must begin with http:// or https://.")

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        return tuple(secret for part in self.webhook_secret.split(",") if (secret := part.strip()))


class PaymentStatus(StrEnum):
    NEEDS_METHOD = "requires_payment_method"
    """No card, or the last one was declined."""
    NEEDS_CONFIRMATION = "requires_confirmation"
    NEEDS_ACTION = "requires_action"
    """The buyer must visit `next_action_url`."""
    PROCESSING = "processing"
    HELD = "requires_capture"
    CANCELED = "canceled"
    SUCCEEDED = "succeeded"

    @property
    def is_dead(self) -> bool:
        """Nothing was taken and nothing will be, unless it is confirmed anew."""
        return self in {PaymentStatus.NEEDS_METHOD, PaymentStatus.NEEDS_CONFIRMATION, PaymentStatus.CANCELED}


class PayoutStatus(StrEnum):
    PENDING = "pending"
    IN_TRANSIT = "in_transit"
    PAID = "paid"
    """Banks may still return it: a paid payout can fail days later."""
    FAILED = "failed"
    CANCELED = "canceled"


class RefundStatus(StrEnum):
    PENDING = "pending"
    NEEDS_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True)
class Payment:
    id: str
    status: PaymentStatus
    amount_minor: int
    capturable_minor: int
    captured_minor: int
    refunded_minor: int
    """Money given back after capture; what a partial capture or a cancellation released is not in it."""
    currency: str
    capture_before: datetime | None
    """When a hold lapses by itself."""
    next_action_url: str | None
    decline_code: str | None
    reference: str
    customer: str | None = None


@dataclass(frozen=True)
class Refund:
    id: str
    payment_id: str
    status: RefundStatus
    amount_minor: int
    currency: str
    reference: str
    failure_reason: str | None = None


class CheckoutStatus(StrEnum):
    OPEN = "open"
    COMPLETE = "complete"
    """The payer is through with it; whether money came is the payment's matter."""
    EXPIRED = "expired"


@dataclass(frozen=True)
class Checkout:
    """A page of the provider's on which one payment is made with a new card."""

    id: str
    status: CheckoutStatus
    url: str | None
    """Where the payer goes, as long as it is open."""
    payment_id: str | None
    """The payment; none before the first card was tried."""
    amount_minor: int
    currency: str
    customer: str | None
    expires_at: datetime
    reference: str


@dataclass(frozen=True)
class SavedCard:
    """A card that a payer has saved at the provider."""

    id: str
    brand: str
    last4: str
    expiry_month: int
    expiry_year: int
    customer: str | None


class Standing(StrEnum):
    """Where the money of a dispute, or of a refund that we did not ask for, is now."""

    NOTICED = "noticed"
    """The bank has asked; nothing was taken."""
    GONE = "gone"
    LOST = "lost"
    """Gone for good."""
    BACK = "back"


@dataclass(frozen=True)
class Dispute:
    """A cardholder's complaint at the bank, which takes the payment's money back until it is decided."""

    id: str
    payment_id: str
    standing: Standing
    amount_minor: int
    fee_minor: int
    """What the provider has charged for it, less what it gave back of that."""
    currency: str
    reason: str
    has_evidence: bool
    """Whether we have said something to it."""


@dataclass(frozen=True)
class PayoutAccount:
    """A seller's account at the provider."""

    id: str
    payouts_enabled: bool
    currently_due: tuple[str, ...]
    """What the provider still wants to know, in its own words for fields."""
    banks: tuple[str, ...] = ()
    """What tells the bank accounts behind it from all others."""
    bank_last4: str | None = None
    """The last digits of the one that is paid by default."""


@dataclass(frozen=True)
class Transfer:
    id: str
    destination: str
    amount_minor: int
    reversed_minor: int
    currency: str
    group: str | None
    reference: str


@dataclass(frozen=True)
class TransferReversal:
    id: str
    transfer_id: str
    amount_minor: int
    currency: str
    reference: str


@dataclass(frozen=True)
class Payout:
    id: str
    account: str
    status: PayoutStatus
    amount_minor: int
    currency: str
    arrives_at: datetime
    failure_code: str | None
    reference: str


@dataclass(frozen=True)
class BalanceTransaction:
    """One line of the provider's own books. `net_minor = amount_minor - fee_minor`; negative takes away."""

    id: str
    kind: str
    amount_minor: int
    fee_minor: int
    net_minor: int
    currency: str
    source: str | None
    created_at: datetime
    available_at: datetime


@dataclass(frozen=True)
class Event:
    """A hint that something changed: read the object itself before acting on it."""

    id: str
    kind: str
    created_at: datetime
    object_id: str | None
    object_kind: str
    account: str | None
    """The seller's account it happened on; None is our own."""
