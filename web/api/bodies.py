"""What the API takes: every number bounded, every text of known characters, nothing else accepted.

Patterns end in a dollar that no line break may follow: a bare one lets a last line break through.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Symbol = Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,40}$(?!\n)", max_length=40, examples=["CTCC-GD-2611"])]
Lots = Annotated[int, Meta(ge=1, le=1_000_000, description="Lots of 100 MB, or of 100 coins.", examples=[5])]
OrderSide = Literal["buy", "sell"]
DISPLAY = "An iceberg: show so many lots at a time."
MINIMUM = "Wait unseen until so many lots can trade at once."
PEG = "Follow the last price at this distance, in minor units per lot; leave the price out."
PriceMinor = Annotated[int, Meta(ge=1, le=100_000_000, description="Minor units per lot.", examples=[180])]
StopMinor = Annotated[
    int,
    Meta(ge=1, le=100_000_000, description="Wait until a trade happens at this price or beyond.", examples=[150]),
]
AmountMb = Annotated[int, Meta(ge=1, le=10_000_000, description="Whole megabytes.", examples=[500])]
Version = Annotated[int, Meta(ge=1, le=2**63 - 1, examples=[1])]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its zone.", examples=["2026-11-30T12:00:00Z"])]
LineName = Annotated[str, Meta(pattern=r"^lin_[0-9]{1,19}$(?!\n)", examples=["lin_7"])]
PaymentMethod = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,100}$(?!\n)", examples=["pm_card_visa"])]
Phone = Annotated[str, Meta(pattern=r"^\+?[0-9]{5,20}$(?!\n)", max_length=21, examples=["+8613800138000"])]


class DecayBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How an offer falls: by a step, every so many minutes, from its own price down to a floor."""

    floor_minor: PriceMinor
    step_minor: PriceMinor
    every_minutes: Annotated[int, Meta(ge=1, le=10_080, description="Minutes from step to step.", examples=[60])]


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An order. Without a price it is a market order, protected by the instrument's price band."""

    symbol: Symbol
    side: OrderSide
    lots: Lots
    price_minor: PriceMinor | None = None
    time_in_force: Annotated[
        Literal["gtc", "gtd", "day", "ioc", "fok"],
        Meta(
            description="Until cancelled, until `expires_at`, until the carrier's day ends, or at once: "
            "with the rest cancelled (`ioc`), or all or nothing (`fok`)."
        ),
    ] = "gtc"
    expires_at: Moment | None = None
    post_only: Annotated[bool, Meta(description="Only if it rests in the book first.")] = False
    line_id: LineName | None = None
    payment: Literal["wallet", "card"] = "wallet"
    payment_method: PaymentMethod | None = None
    stop_minor: StopMinor | None = None
    display_lots: Annotated[int, Meta(ge=1, le=1_000_000, description=DISPLAY, examples=[10])] | None = None
    minimum_lots: Annotated[int, Meta(ge=1, le=1_000_000, description=MINIMUM, examples=[10])] | None = None
    all_or_none: Annotated[bool, Meta(description="Wait unseen until all of it can trade at once.")] = False
    peg_offset_minor: Annotated[int, Meta(ge=-100_000_000, le=100_000_000, description=PEG, examples=[-5])] | None = (
        None
    )
    decay: DecayBody | None = None
    self_trade: Annotated[
        Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"],
        Meta(description="What happens instead when it would trade with an order of your own group."),
    ] = "cancel_newest"


class BatchBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Up to 500 orders under one key, paid from the wallet: each on its own, or all of them or none."""

    orders: Annotated[list[OrderBody], Meta(min_length=1, max_length=500)]
    all_or_none: Annotated[
        bool, Meta(description="Place all at one moment, or none when one is refused. One engine must match them all.")
    ] = False


class PairBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An order that waits in the book and a stop: whatever ends one, or trades a part of it, ends the other."""

    symbol: Symbol
    side: OrderSide
    lots: Lots
    price_minor: PriceMinor
    stop_minor: StopMinor
    stop_price_minor: (
        Annotated[
            int,
            Meta(ge=1, le=100_000_000, description="The stop's own limit; without it, what is there.", examples=[170]),
        ]
        | None
    ) = None
    time_in_force: Literal["gtc", "gtd", "day"] = "gtc"
    expires_at: Moment | None = None
    line_id: LineName | None = None


class AmendBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Another price or quantity. `lots` counts what is filled already; only fewer lots alone keep the place in time."""

    price_minor: PriceMinor
    lots: Lots
    version: Version | None = None


class LegBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One purchase of a bulk order: at once, up to the limit, to your own line at that carrier."""

    symbol: Symbol
    lots: Lots
    limit_price_minor: PriceMinor


class BulkBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Up to 50 purchases under one key. Each stands alone: one that fails leaves the others as they are."""

    legs: Annotated[list[LegBody], Meta(min_length=1, max_length=50)]


class HandoutBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Data from your own line to the line of one of your users."""

    symbol: Symbol
    phone: Phone
    amount_mb: AmountMb
