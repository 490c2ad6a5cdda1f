"""What the engine can be asked to do, and how it answers: the format of the stream and of the journal."""

from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
TimeInForce = Literal["gtc", "gtd", "ioc", "fok"]


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
    custody_id: int | None = None
    payment_id: int | None = None


class CancelOrder(msgspec.Struct, frozen=True, tag="cancel", omit_defaults=True, forbid_unknown_fields=True):
    """Cancel what is still open of an order. A version, when given, must be the order's current one."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    order_id: int
    version: int | None = None


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


class ExpireOrders(msgspec.Struct, frozen=True, tag="expire", omit_defaults=True, forbid_unknown_fields=True):
    """End every order of the instrument whose time has come. Asked by the scheduler."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int


class SetState(msgspec.Struct, frozen=True, tag="state", omit_defaults=True, forbid_unknown_fields=True):
    """Open, halt or close an instrument. Closing ends all its orders for good."""

    party_id: int
    key: str
    body_hash: bytes
    instrument_id: int
    state: Literal["open", "cancel_only", "halted", "closed"]


Command = PlaceOrder | CancelOrder | AmendOrder | ExpireOrders | SetState


class Filled(msgspec.Struct, frozen=True):
    """One fill of the order that was answered for."""

    trade_id: int
    price_minor: int
    quantity: int


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


class Envelope(msgspec.Struct, frozen=True):
    """One entry of the stream: the command, and the channel and number under which its answer is awaited."""

    command: Command
    reply_to: str
    number: int


encode = msgspec.json.Encoder().encode
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_command: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
decode_answer = msgspec.json.Decoder(Answer).decode


def stream_of(shard: int) -> str:
    """The stream of a shard; the braces keep its keys in one slot of a cluster."""
    return f"{{surplusflow:{shard}}}:commands"


def market_channel(instrument_id: int) -> str:
    """Where the engine publishes the book and trades of an instrument after each commit."""
    return f"surplusflow:market:{instrument_id}"


def party_channel(party_id: int) -> str:
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
    """(trade id, price, lots, taker side 1 buy or 2 sell, microseconds since the epoch), oldest first."""


decode_book = msgspec.json.Decoder(BookUpdate).decode
