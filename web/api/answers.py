"""What the API gives back. Ids carry their kind; nobody learns who was on the other side of a trade."""

from datetime import datetime

import msgspec

from market.engine.commands import Answer
from market.views import BookView, InstrumentView, OrderView, TradeView


class Instrument(msgspec.Struct, frozen=True):
    """What can be traded, and how it stands. Prices are minor units per lot."""

    symbol: str
    kind: str
    carrier: str | None
    scope: str | None
    app_scope: str | None
    lot_units: int
    tick_minor: int
    floor_minor: int
    ceiling_minor: int
    reference_minor: int
    maximum_lots: int
    currency: str
    opens_at: datetime
    closes_at: datetime
    expires_at: datetime | None
    state: str
    best_bid_minor: int | None
    best_ask_minor: int | None
    last_minor: int | None
    change_24h_minor: int | None
    volume_24h_lots: int

    @classmethod
    def of(cls, view: InstrumentView) -> "Instrument":
        return cls(
            symbol=view.symbol,
            kind=view.kind,
            carrier=view.carrier,
            scope=view.scope,
            app_scope=view.app_scope,
            lot_units=view.lot_units,
            tick_minor=view.tick_minor,
            floor_minor=view.floor_minor,
            ceiling_minor=view.ceiling_minor,
            reference_minor=view.reference_minor,
            maximum_lots=view.maximum_lots,
            currency=view.currency,
            opens_at=view.opens_at,
            closes_at=view.closes_at,
            expires_at=view.expires_at,
            state=view.state,
            best_bid_minor=view.best_bid,
            best_ask_minor=view.best_ask,
            last_minor=view.last_minor,
            change_24h_minor=view.change_24h,
            volume_24h_lots=view.volume_24h_lots,
        )


class BookLevel(msgspec.Struct, frozen=True):
    price_minor: int
    lots: int
    orders: int


class Book(msgspec.Struct, frozen=True):
    """The best levels, best first."""

    symbol: str
    bids: list[BookLevel]
    asks: list[BookLevel]

    @classmethod
    def of(cls, symbol: str, view: BookView) -> "Book":
        return cls(symbol, [BookLevel(*level) for level in view.bids], [BookLevel(*level) for level in view.asks])


class Tick(msgspec.Struct, frozen=True):
    """One trade as everybody sees it."""

    id: str
    price_minor: int
    lots: int
    taker_side: str
    at: datetime


class CandleBar(msgspec.Struct, frozen=True):
    at: datetime
    open_minor: int
    high_minor: int
    low_minor: int
    close_minor: int
    lots: int


class Fill(msgspec.Struct, frozen=True):
    trade_id: str
    price_minor: int
    lots: int


class Outcome(msgspec.Struct, frozen=True):
    """What became of a request: `code` and `detail` say why it was refused, the rest how the order stood then."""

    key: str
    accepted: bool
    code: str | None
    detail: str | None
    order_id: str | None
    state: str | None
    reason: str | None
    open_lots: int
    filled_lots: int
    version: int
    fills: list[Fill]

    @classmethod
    def of(cls, answer: Answer) -> "Outcome":
        return cls(
            key=answer.key,
            accepted=answer.accepted,
            code=answer.code,
            detail=answer.detail,
            order_id=named("ord_", answer.order_id),
            state=answer.state,
            reason=answer.reason,
            open_lots=answer.open,
            filled_lots=answer.filled,
            version=answer.version,
            fills=[Fill(f"trd_{fill.trade_id}", fill.price_minor, fill.quantity) for fill in answer.fills],
        )


class ActionNeeded(msgspec.Struct, frozen=True):
    """The card's bank wants to see the payer: send them there, then send the same request with the same key again."""

    action_url: str


class Order(msgspec.Struct, frozen=True):
    """One of your orders as it stands now."""

    id: str
    symbol: str
    side: str
    price_minor: int
    market: bool
    lots: int
    open_lots: int
    filled_lots: int
    time_in_force: str
    post_only: bool
    expires_at: datetime | None
    line_id: str | None
    state: str
    reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, view: OrderView) -> "Order":
        return cls(
            id=f"ord_{view.id}",
            symbol=view.symbol,
            side=view.side,
            price_minor=view.price_minor,
            market=view.market,
            lots=view.quantity,
            open_lots=view.open,
            filled_lots=view.filled,
            time_in_force=view.time_in_force,
            post_only=view.post_only,
            expires_at=view.expires_at,
            line_id=named("lin_", view.line_id),
            state=view.state,
            reason=view.reason,
            version=view.version,
            created_at=view.created_at,
            updated_at=view.updated_at,
        )


class OrderPage(msgspec.Struct, frozen=True):
    """A part of the list, newest first. `next_cursor` asks for the part after it; none when this was the last."""

    items: list[Order]
    next_cursor: str | None


class Cancelled(msgspec.Struct, frozen=True):
    """How many orders ended."""

    orders: int


class Trade(msgspec.Struct, frozen=True):
    """Your side of a trade, and how far its delivery has come: pending, delivered, settled or refunded."""

    id: str
    symbol: str
    side: str
    order_id: str
    price_minor: int
    lots: int
    amount_minor: int
    fee_minor: int
    net_minor: int
    currency: str
    at: datetime
    status: str
    delivered_at: datetime | None
    ended_at: datetime | None
    line_id: str | None
    reference: str | None
    reason: str | None

    @classmethod
    def of(cls, view: TradeView) -> "Trade":
        return cls(
            id=f"trd_{view.id}",
            symbol=view.symbol,
            side=view.side,
            order_id=f"ord_{view.order_id}",
            price_minor=view.price_minor,
            lots=view.lots,
            amount_minor=view.amount_minor,
            fee_minor=view.fee_minor,
            net_minor=view.net_minor,
            currency=view.currency,
            at=view.at,
            status=view.status,
            delivered_at=view.delivered_at,
            ended_at=view.ended_at,
            line_id=named("lin_", view.receiver_line_id),
            reference=view.reference,
            reason=view.reason,
        )


class TradePage(msgspec.Struct, frozen=True):
    """A part of the list, newest first. `next_cursor` asks for the part after it; none when this was the last."""

    items: list[Trade]
    next_cursor: str | None


class Purse(msgspec.Struct, frozen=True):
    """Your money in minor units and your coins; held is what open orders and trades on their way need."""

    currency: str
    available_minor: int
    held_minor: int
    coins_available: int
    coins_held: int


class OwnLine(msgspec.Struct, frozen=True):
    """One of your lines. The number is never shown in full."""

    id: str
    carrier: str
    province: str
    number: str
    plan: str
    base_mb: int
    state: str


class Leg(msgspec.Struct, frozen=True):
    """What became of one purchase of a bulk order."""

    symbol: str
    accepted: bool
    filled_lots: int
    open_lots: int
    code: str | None
    detail: str | None
    order_id: str | None
    fills: list[Fill]


class Bulk(msgspec.Struct, frozen=True):
    """The legs in the order in which they were sent."""

    legs: list[Leg]


class Handout(msgspec.Struct, frozen=True):
    """Data on its way to a user: requested, done or refused. Ask again with the same key how it stands."""

    id: str
    symbol: str
    amount_mb: int
    status: str
    reason: str | None


def named(prefix: str, number: int | None) -> str | None:
    return None if number is None else f"{prefix}{number}"
