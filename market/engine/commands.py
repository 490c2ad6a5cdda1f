"""What the engine can be asked to do, and how it answers: the format of the stream and of the journal."""

from typing import Literal

import msgspec

from market.rules import RuleProfile

Side = Literal["buy", "sell"]
TimeInForce = Literal["gtc", "gtd", "day", "ioc", "fok"]
SelfTrade = Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"]
StatedBy = Literal["officer", "schedule", "switch", "carrier"]
State = Literal["pre_open", "auction", "open", "paused", "cancel_only", "halted", "closed"]


class Decay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An ask that falls from its price by ``step_minor`` every ``every_us``, down to ``floor_minor``."""

    floor_minor: int
    step_minor: int
    every_us: int


class Conditions(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What makes an order more than a plain one. Quantities are lots, prices minor units per lot."""

    display: int | None = None
    """Lots that an iceberg shows at a time."""
    minimum: int | None = None
    """The smallest execution that is wanted."""
    all_or_none: bool = False
    stop_minor: int | None = None
    """Waits until a trade happens at this price or beyond."""
    peg_offset_minor: int | None = None
    """Follows the reference price at this distance; the order's own price is the worst it may come to."""
    decay: Decay | None = None


class FeeTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fee on a sale: a share of the amount, rounded up, and the least that is taken, in minor units."""

    basis_points: int
    minimum_minor: int


class PlaceOrder(msgspec.Struct, frozen=True, tag="place", omit_defaults=True, forbid_unknown_fields=True):
    """Place an order. The edge has checked who asks; accounts, group and fee are the edge's, the rest the client's.

    ``price_minor`` is minor units per lot (of a market order: the protection
    price); ``quantity`` is lots; ``expires_at_us`` is microseconds since the epoch.
    """

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    group_id: int
    side: Side
    price_minor: int
    quantity: int
    account_id: int
    time_in_force: TimeInForce = "gtc"
    market: bool = False
    post_only: bool = False
    expires_at_us: int | None = None
    proceeds_account_id: int | None = None
    line_id: int | None = None
    """The line that receives a purchase, or gives what is sold."""
    custody_id: int | None = None
    payment_id: int | None = None
    self_trade: SelfTrade = "cancel_newest"
    conditions: Conditions | None = None
    line: "LineFacts | None" = None
    fee: FeeTerms | None = None
    """What a sale pays by the schedule; without it the instrument's own fee."""
    charges: str | None = None
    """What its carrier charges the seller for a delivery, by its size: `market.carrier_charges`."""


class LineFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a carrier's rules ask of a line: its kind of plan and its province."""

    plan: str
    province: str


class PlaceTogether(msgspec.Struct, frozen=True, tag="together", omit_defaults=True, forbid_unknown_fields=True):
    """Place several orders of one shard: all of them, or none when one is refused. Their own keys are not used.

    ``linked`` makes two of them cancel one another: whatever ends one, or trades a
    part of it, ends the other. They share one hold, the larger.
    """

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    """That of the first, by which the command finds its shard."""
    orders: tuple[PlaceOrder, ...]
    linked: bool = False


class PlaceBasket(msgspec.Struct, frozen=True, tag="basket", omit_defaults=True, forbid_unknown_fields=True):
    """Trade several instruments of one shard at once under one limit. The keys of the legs are not used.

    ``limit_minor`` is the most to pay for all of them, fees included; negative, the
    least to get. A leg's price is the worst that it may trade at.
    """

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    """That of the first leg, by which the command finds its shard."""
    legs: tuple[PlaceOrder, ...]
    limit_minor: int
    all_or_none: bool = True


class PrepareLegs(msgspec.Struct, frozen=True, tag="prepare", omit_defaults=True, forbid_unknown_fields=True):
    """Promise to trade a shard's legs of a basket whole, as its books are now, until the basket is decided."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    basket_id: int
    legs: tuple[PlaceOrder, ...]


class ResolveLegs(msgspec.Struct, frozen=True, tag="resolve", omit_defaults=True, forbid_unknown_fields=True):
    """Trade the legs that were prepared, or let go of them. Of the engine itself: ``legs`` are what it promised.

    The time asks nothing before it: the books are as they were when the legs were prepared.
    """

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    basket_id: int
    committed: bool
    legs: tuple[PlaceOrder, ...]
    at_us: int = 0
    """When they were prepared: the moment by which carriers' rules count them."""


class CancelOrder(msgspec.Struct, frozen=True, tag="cancel", omit_defaults=True, forbid_unknown_fields=True):
    """Cancel what is still open of an order. A version, when given, must be the order's current one."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    order_id: int
    version: int | None = None
    reason: str = "cancelled"
    """Why, for its owner: something else than their wish when the house cancels in their name."""


class CancelAll(msgspec.Struct, frozen=True, tag="cancel_all", omit_defaults=True, forbid_unknown_fields=True):
    """Cancel all that a party has open in an instrument, of one side or of both."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    owner_id: int
    """Whose orders: the party's own, unless the house asks."""
    side: Side | None = None
    reason: str = "cancelled"


class AmendOrder(msgspec.Struct, frozen=True, tag="amend", omit_defaults=True, forbid_unknown_fields=True):
    """Give an order another price or total quantity. Only a fall in quantity alone keeps its place in time."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    order_id: int
    price_minor: int
    quantity: int
    version: int | None = None


class RenewOrder(msgspec.Struct, frozen=True, tag="renew", omit_defaults=True, forbid_unknown_fields=True):
    """Let an order with an end stand until another moment, in its place. One of a pair takes the other along."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    order_id: int
    expires_at_us: int
    """Microseconds since the epoch."""
    version: int | None = None


class ExpireOrders(msgspec.Struct, frozen=True, tag="expire", omit_defaults=True, forbid_unknown_fields=True):
    """Do what the time asks of an instrument: end orders that are due, lower falling asks, end a pause."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int


class SetState(msgspec.Struct, frozen=True, tag="state", omit_defaults=True, forbid_unknown_fields=True):
    """Bring an instrument into a state. Opening what collects is an auction; closing ends all orders for good.

    The plan (``schedule``) never opens what an officer has stopped. The switch for the whole
    market halts with ``halted``, and with ``open`` restores what stood before it. A ``carrier``
    that is stopped makes its markets ``cancel_only``, and with ``open`` restores them as well.
    """

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    state: State
    by: StatedBy = "officer"
    call_ends_us: int | None = None
    """When the auction for which orders are collected is held at the earliest, microseconds since the epoch."""


class EnactRules(msgspec.Struct, frozen=True, tag="rules", omit_defaults=True, forbid_unknown_fields=True):
    """Match an instrument by a carrier's rule profile from here on; orders that it keeps from delivery end."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    profile_id: int
    terms: RuleProfile


class HandOver(msgspec.Struct, frozen=True, tag="hand_over", omit_defaults=True, forbid_unknown_fields=True):
    """Give all instruments of a unit (`market.sharding`) to another shard."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    """One of them, by which the command finds the shard that has them."""
    unit: str
    shard: int
    """Who gets them."""


Basket = PlaceBasket | PrepareLegs | ResolveLegs
Command = (
    Basket
    | PlaceOrder
    | PlaceTogether
    | CancelOrder
    | CancelAll
    | AmendOrder
    | RenewOrder
    | ExpireOrders
    | SetState
    | HandOver
    | EnactRules
)


_PLAIN = frozenset({PlaceOrder, CancelOrder, AmendOrder, RenewOrder})
"""Nearly all commands, told apart at once: to ask what a union holds costs as much as to match an order."""


def instruments_of(command: Command) -> tuple[int, ...]:
    """The instruments whose books a command is about, each once; a handover changes none."""
    if type(command) in _PLAIN:
        return (command.instrument_id,)
    if isinstance(command, HandOver):
        return ()
    if isinstance(command, PlaceTogether):
        return tuple(dict.fromkeys(order.instrument_id for order in command.orders)) or (command.instrument_id,)
    if isinstance(command, Basket):
        return tuple(dict.fromkeys(leg.instrument_id for leg in command.legs)) or (command.instrument_id,)
    return (command.instrument_id,)


class Filled(msgspec.Struct, frozen=True):
    """One fill of the order that was answered for."""

    trade_id: int
    price_minor: int
    quantity: int


class Auctioned(msgspec.Struct, frozen=True):
    """What an auction came to: its one price and the lots traded at it."""

    price_minor: int
    volume: int


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a command. ``code`` names a refusal; the rest tells how the order stands now."""

    key: str
    party_id: int
    accepted: bool
    code: str | None = None
    detail: str | None = None
    order_id: int | None = None
    state: str | None = None
    reason: str | None = None
    open: int = 0
    filled: int = 0
    version: int = 0
    ended_orders: int = 0
    fills: tuple[Filled, ...] = ()
    orders: "tuple[Answer, ...]" = ()
    """Of several orders placed together, how each stands; of a basket, its legs."""
    net_minor: int = 0
    """What a basket, or a leg of one, comes to: to pay, negative to get, fees included."""
    auction: "Auctioned | None" = None


class Envelope(msgspec.Struct, frozen=True):
    """One entry of the stream: the command, and the channel and number under which its answer is awaited."""

    command: Command
    reply_to: str
    number: int


class Received(Envelope, frozen=True):
    """An entry as it was read, with the command's own bytes, which the journal keeps."""

    stored: bytes = b""


class _Sealed(msgspec.Struct, frozen=True):
    """An entry of which the command is not looked into yet."""

    command: msgspec.Raw
    reply_to: str
    number: int


encode = msgspec.json.Encoder().encode
decode_command: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
decode_answer = msgspec.json.Decoder(Answer).decode
_decode_sealed = msgspec.json.Decoder(_Sealed).decode


def decode_envelope(entry: bytes) -> Received:
    """Read an entry of the stream. Raises msgspec.DecodeError or RecursionError."""
    sealed = _decode_sealed(entry)
    stored = bytes(sealed.command)
    return Received(decode_command.decode(stored), sealed.reply_to, sealed.number, stored)


def stream_of(shard: int) -> str:
    """The stream of a shard; the braces keep its keys in one slot of a cluster."""
    return f"{{surplusflow:{shard}}}:commands"


def market_channel(instrument_id: int) -> str:
    """Where the engine publishes the book and trades of an instrument after each commit."""
    return f"surplusflow:market:{instrument_id}"


def party_channel(party_id: int | str) -> str:
    """Where every change of a party's orders, trades and balances is announced after its commit."""
    return f"surplusflow:party:{party_id}"


SETTLEMENT_WAKE = "surplusflow:settlement"
"""A message here means that instructions are due."""


class BookUpdate(msgspec.Struct, frozen=True):
    """The market's state after a batch: best levels as (price, lots, orders), best first, and the batch's trades."""

    instrument_id: int
    seq: int
    epoch: int
    bids: list[tuple[int, int, int]]
    asks: list[tuple[int, int, int]]
    trades: list[tuple[int, int, int, int, int]]
    """(trade id, price, lots, taker side 1 buy or 2 sell or 0 neither, microseconds since the epoch), oldest first."""
    prev: int = 0
    """The number of the update of this instrument before; 0 when there was none under this epoch."""
    changes: list[tuple[int, int, int, int]] = []
    """(side 1 buy or 2 sell, price, lots, orders) of every level that is not as it was; 0 lots: it is gone."""
    at_us: int = 0
    """The batch's time, microseconds since the epoch."""


decode_book = msgspec.json.Decoder(BookUpdate).decode
