"""What the API takes and tells about money in and out. Amounts are in minor units of the market's currency."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from web.api.bodies import LineName

AmountMinor = Annotated[int, Meta(ge=1, le=100_000_000, description="Minor units.", examples=[5000])]


class CheckoutBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much to pay in."""

    amount_minor: AmountMinor


class TopUpBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much to pay in, by which saved card."""

    amount_minor: AmountMinor
    card_id: Annotated[str, Meta(pattern=r"^(pm|card|src)_[A-Za-z0-9_]{1,100}$(?!\n)", examples=["pm_1a2b3c"])]


class PartRefundBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much to send back."""

    amount_minor: AmountMinor


class PhoneBillBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much to pay in, on the bill of which line of yours."""

    amount_minor: AmountMinor
    line_id: LineName


class PayoutScheduleBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """When, and from how much on."""

    every: Literal["daily", "weekly", "manual"]
    minimum_minor: AmountMinor


class CheckoutSession(msgspec.Struct, frozen=True):
    """A page for a new card. Send its payer to `url` while the status is `requires_action`."""

    id: str
    status: str
    amount_minor: int
    url: str | None


class CardTopUp(msgspec.Struct, frozen=True):
    """A top-up by a saved card. With an `action_url` its owner must first confirm it at the bank."""

    id: str
    status: str
    amount_minor: int
    action_url: str | None


class SavedCard(msgspec.Struct, frozen=True):
    """A card that you saved at the payment provider."""

    id: str
    brand: str
    last4: str
    expiry_month: int
    expiry_year: int


class PartRefund(msgspec.Struct, frozen=True):
    """A part of a top-up on its way back to its card. Ask again with the same key how it stands."""

    id: str
    top_up_id: str
    amount_minor: int
    status: str


class PhoneBillPayment(msgspec.Struct, frozen=True):
    """A payment on the phone bill: requested, reserved, charged, refunding, refunded, released or refused."""

    id: str
    status: str
    decided: bool
    amount_minor: int
    currency: str
    line_id: str
    decide_by: datetime | None
    reason: str | None


class PayoutSchedule(msgspec.Struct, frozen=True):
    """When you are paid out; `effective_at` is empty as long as nothing was ever set."""

    every: str
    minimum_minor: int
    effective_at: datetime | None
