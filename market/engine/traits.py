"""Orders between their three shapes: as they are asked for, as the book has them, and as they are stored."""

import msgspec

from market.engine.commands import Conditions, FeeTerms, PlaceOrder, PlaceTogether
from market.engine.instruments import Instrument
from market.engine.records import Record
from market.engine.refusing import NotTaken
from matching.orders import Decay, SelfTrade, Side, TimeInForce, Traits

SIDES = {"buy": Side.BUY, "sell": Side.SELL}
TIMES_IN_FORCE = {str(each): each for each in TimeInForce}
SELF_TRADES = {str(each): each for each in SelfTrade}
PAIR = 2


class Stored(msgspec.Struct, frozen=True):
    """The traits of an order as its row has them."""

    traits: Traits
    rides: bool


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Stored).decode


def record_of(
    command: PlaceOrder, order_id: int, now_us: int, instrument: Instrument, *, linked_to: int | None = None
) -> Record:
    """The order that a command asks for, under its number, as nobody has touched it yet."""
    fee = fee_of(command, instrument)
    return Record(
        order_id, command.party_id, command.group_id, SIDES[command.side], command.price_minor, command.quantity,
        command.quantity, TIMES_IN_FORCE[command.time_in_force], command.post_only, command.expires_at_us, order_id,
        SELF_TRADES[command.self_trade], traits_of(command, now_us, linked_to), instrument.id, command.market,
        fee.basis_points, fee.minimum_minor, command.account_id, command.proceeds_account_id,
        command.line_id, command.custody_id, command.payment_id, limit_minor(command, instrument), False, "open", None,
        1, now_us, charges=command.charges,
    )  # fmt: skip


def fee_of(command: PlaceOrder, instrument: Instrument) -> FeeTerms:
    """What the order will pay when it sells, frozen as the command brings it."""
    return command.fee or FeeTerms(instrument.fee_basis_points, instrument.fee_minimum_minor)


def traits_of(command: PlaceOrder, now_us: int, linked_to: int | None = None) -> Traits | None:
    """What makes the order special; None for a plain one."""
    asked = command.conditions
    if asked is None:
        if linked_to is None:
            return None
        asked = Conditions()
    decay = None
    if asked.decay is not None:
        terms = asked.decay
        decay = Decay(command.price_minor, terms.floor_minor, terms.step_minor, terms.every_us, now_us)
    return Traits(
        display=asked.display,
        minimum=asked.minimum,
        all_or_none=asked.all_or_none,
        stop_price=asked.stop_minor,
        peg_offset=asked.peg_offset_minor,
        decay=decay,
        linked_to=linked_to,
    )


def limit_minor(command: PlaceOrder, instrument: Instrument) -> int:
    """The worst price that an order may come to: what it must hold for. A pegged one may follow to the band's end."""
    if command.conditions is not None and command.conditions.peg_offset_minor is not None:
        return instrument.terms.maximum_price
    return command.price_minor


def linked_pair(command: PlaceTogether, instrument: Instrument) -> tuple[PlaceOrder, PlaceOrder]:
    """The stop and the limit order of a pair of which one ends the other.

    Raises:
        NotTaken: they do not make a pair.
    """
    stops = [order for order in command.orders if order.conditions is not None and order.conditions.stop_minor]
    others = [order for order in command.orders if order not in stops]
    if len(stops) != 1 or len(others) != 1:
        raise NotTaken("bad_pair", "A pair is one stop order and one order that waits in the book.")
    (stop,), (limit,) = stops, others
    if any(
        getattr(stop, name) != getattr(limit, name)
        for name in ("instrument_id", "side", "quantity", "account_id", "custody_id", "line_id")
    ):
        raise NotTaken("bad_pair", "Both orders of a pair are for the same data, on the same side, of the same size.")
    if limit.time_in_force in {"ioc", "fok"}:
        raise NotTaken("bad_pair", "The other order of a pair has to wait in the book. Choose good-till-cancelled.")
    assert stop.conditions is not None
    assert stop.conditions.stop_minor is not None
    reference, stop_minor = instrument.book.reference, stop.conditions.stop_minor
    if reference is not None and (stop_minor <= reference if stop.side == "buy" else stop_minor >= reference):
        raise NotTaken("stop_reached", "The market is already at this stop price. Choose one further away.")
    return stop, limit


def stored_traits(record: Record) -> str | None:
    """The order's traits as its row has them; None for a plain one."""
    return None if record.traits is None else _encode(Stored(record.traits, record.rides)).decode()


def restore_traits(record: Record, stored: str) -> None:
    """Give an order that was read from its row its traits back."""
    found = _decode(stored)
    record.traits, record.rides = found.traits, found.rides
