"""What the API gives back. Ids carry their kind; nobody learns who was on the other side of a trade."""

from datetime import date, datetime
from typing import Any

import msgspec

from market.engine.commands import Answer
from market.market_data import Snapshot
from market.queue_place import QueuePlace
from market.together import Result
from market.trading import MINUTE_US
from market.views import InstrumentView, OrderView, TradeView
from matching.orders import Traits


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
    """The best levels, best first, after the batch that `epoch` and `seq` name: the feed goes on from there."""

    symbol: str
    seq: int
    epoch: int
    bids: list[BookLevel]
    asks: list[BookLevel]

    @classmethod
    def of(cls, symbol: str, book: Snapshot) -> "Book":
        return cls(
            symbol,
            book.seq,
            book.epoch,
            [BookLevel(*level) for level in book.bids],
            [BookLevel(*level) for level in book.asks],
        )


class Tick(msgspec.Struct, frozen=True):
    """One trade as everybody sees it. `taker_side` is who came to whom: buy, sell, or auction for neither."""

    id: str
    price_minor: int
    lots: int
    taker_side: str
    at: datetime


class Tape(msgspec.Struct, frozen=True):
    """A part of the list, newest first. `next_cursor` asks for the part after it; none when this was the last."""

    items: list[Tick]
    next_cursor: str | None


class Ticker(msgspec.Struct, frozen=True):
    """How an instrument stands and what its last 24 hours brought. Prices are minor units per lot."""

    symbol: str
    state: str
    best_bid_minor: int | None
    best_ask_minor: int | None
    last_minor: int | None
    change_24h_minor: int | None
    high_24h_minor: int | None
    low_24h_minor: int | None
    volume_24h_lots: int
    volume_24h_mb: int | None
    turnover_24h_minor: int
    currency: str

    @classmethod
    def of(cls, view: InstrumentView) -> "Ticker":
        return cls(
            symbol=view.symbol,
            state=view.state,
            best_bid_minor=view.best_bid,
            best_ask_minor=view.best_ask,
            last_minor=view.last_minor,
            change_24h_minor=view.change_24h,
            high_24h_minor=view.high_24h_minor,
            low_24h_minor=view.low_24h_minor,
            volume_24h_lots=view.volume_24h_lots,
            volume_24h_mb=view.volume_24h_mb,
            turnover_24h_minor=view.turnover_24h_minor,
            currency=view.currency,
        )


class CandleBar(msgspec.Struct, frozen=True):
    """The trades of one period that had any; `at` is its beginning. Days begin at midnight in Shanghai."""

    at: datetime
    open_minor: int
    high_minor: int
    low_minor: int
    close_minor: int
    lots: int
    turnover_minor: int
    trades: int


class IndexDay(msgspec.Struct, frozen=True):
    """What 1 GB (1,000 MB) of a carrier's data cost on a day: `average_minor` weighs by volume.

    Minutes whose price was more than 5 % from the median are left out of average, volume and trades.
    """

    carrier: str
    day: date
    currency: str
    median_minor: int
    average_minor: int
    volume_mb: int
    trades: int
    dropped_trades: int


class Fill(msgspec.Struct, frozen=True):
    trade_id: str
    price_minor: int
    lots: int


class OrderOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one order: `code` and `detail` say why it was refused, the rest how it stood then."""

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
    def of_order(cls, answer: Answer) -> "OrderOutcome":
        return OrderOutcome(**_of(answer))


class Outcome(OrderOutcome, frozen=True, kw_only=True):
    """What became of a request: `orders` tells it of each of several, `ended_orders` how many a mass cancel ended."""

    key: str
    ended_orders: int
    orders: list[OrderOutcome]

    @classmethod
    def of(cls, answer: Answer) -> "Outcome":
        orders = [OrderOutcome.of_order(each) for each in answer.orders]
        return cls(key=answer.key, ended_orders=answer.ended_orders, orders=orders, **_of(answer))


class BatchResult(OrderOutcome, frozen=True, kw_only=True):
    """What became of one order of a batch; `field` names what is wrong with one that was refused."""

    index: int
    field: str | None

    @classmethod
    def at(cls, index: int, result: Result) -> "BatchResult":
        if result.refusal is None:
            return cls(index=index, field=None, **_of(result.answer or NOTHING))
        nothing = msgspec.structs.replace(NOTHING, code=result.refusal.code, detail=result.refusal.detail)
        return cls(index=index, field=result.refusal.field, **_of(nothing))


class Batch(msgspec.Struct, frozen=True):
    """How many of the orders were taken, and each one's outcome in the order in which they were sent."""

    accepted: int
    results: list[BatchResult]

    @classmethod
    def of(cls, results: list[Result]) -> "Batch":
        told = [BatchResult.at(index, result) for index, result in enumerate(results)]
        return cls(sum(each.accepted for each in told), told)


class Pair(msgspec.Struct, frozen=True):
    """The order that waits in the book, and the stop."""

    order: OrderOutcome
    stop: OrderOutcome


class ActionNeeded(msgspec.Struct, frozen=True):
    """The card's bank wants to see the payer: send them there, then send the same request with the same key again."""

    action_url: str


class Falling(msgspec.Struct, frozen=True):
    """How an offer falls, and when next; `next_at` is null once it has reached its floor."""

    start_minor: int
    floor_minor: int
    step_minor: int
    every_minutes: int
    next_at: datetime | None


class Queue(msgspec.Struct, frozen=True):
    """What stands before your order: better prices, and the same price earlier."""

    orders_ahead: int
    lots_ahead: int


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One of your orders as it stands now.

    `triggered` tells of a stop whether its price was reached, `shown_lots` what
    everybody sees of an iceberg, `linked_to` the other of a pair. `queue` is
    counted for one order, or for a list when asked; null for what stands in no queue.
    """

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
    stop_minor: int | None
    triggered: bool | None
    display_lots: int | None
    shown_lots: int | None
    minimum_lots: int | None
    all_or_none: bool
    peg_offset_minor: int | None
    decay: Falling | None
    linked_to: str | None
    self_trade: str
    queue: Queue | None
    state: str
    reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, view: OrderView, place: QueuePlace | None = None) -> "Order":
        traits = view.traits or Traits()
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
            stop_minor=traits.stop_price,
            triggered=None if traits.stop_price is None else traits.triggered,
            display_lots=traits.display,
            shown_lots=view.shown,
            minimum_lots=traits.minimum,
            all_or_none=traits.all_or_none,
            peg_offset_minor=traits.peg_offset,
            decay=_falling(view),
            linked_to=named("ord_", traits.linked_to),
            self_trade=view.self_trade,
            queue=None if place is None else Queue(*place),
            state=view.state,
            reason=view.reason,
            version=view.version,
            created_at=view.created_at,
            updated_at=view.updated_at,
        )


def _falling(view: OrderView) -> Falling | None:
    if view.traits is None or view.traits.decay is None:
        return None
    decay = view.traits.decay
    return Falling(decay.start, decay.floor, decay.step, decay.every_us // MINUTE_US, view.falls_at)


class OrderPage(msgspec.Struct, frozen=True):
    """A part of the list, newest first. `next_cursor` asks for the part after it; none when this was the last."""

    items: list[Order]
    next_cursor: str | None


class Cancelled(msgspec.Struct, frozen=True):
    """How many orders ended."""

    orders: int


class Trade(msgspec.Struct, frozen=True):
    """Your side of a trade, and how far its delivery has come: pending, delivered, settled or refunded.

    `fee_minor` is all that a seller gives of the amount; `charge_minor` of it is passed on to the carrier.
    """

    id: str
    symbol: str
    side: str
    order_id: str
    price_minor: int
    lots: int
    amount_minor: int
    fee_minor: int
    charge_minor: int
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
            charge_minor=view.charge_minor,
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


NOTHING = Answer("", 0, accepted=False)
"""What is told of an order that never reached the engine."""


def _of(answer: Answer) -> dict[str, Any]:
    """What an answer tells of its order."""
    return {
        "accepted": answer.accepted,
        "code": answer.code,
        "detail": answer.detail,
        "order_id": named("ord_", answer.order_id),
        "state": answer.state,
        "reason": answer.reason,
        "open_lots": answer.open,
        "filled_lots": answer.filled,
        "version": answer.version,
        "fills": [Fill(f"trd_{fill.trade_id}", fill.price_minor, fill.quantity) for fill in answer.fills],
    }


def named(prefix: str, number: int | None) -> str | None:
    return None if number is None else f"{prefix}{number}"
