"""The engine's decisions: commands in, orders, trades and holds out. No I/O and no clock of its own."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from market.engine.commands import (
    AmendOrder,
    Answer,
    CancelOrder,
    Command,
    ExpireOrders,
    Filled,
    PlaceOrder,
    SetState,
)
from market.engine.instruments import Instrument
from market.engine.records import Changes, Record, Trade
from market.pricing import fee_minor
from matching.orders import Fill, Order, OrderState, Side, TimeInForce
from matching.refusals import OutsideBand, Refusal
from matching.rules import check
from settlement.ledger import Account

NUMBERS = 1024
"""Numbers of a shard are a counter times this plus the shard, so that no two shards share one."""
MAXIMUM_OPEN_ORDERS = 500
"""Open orders of one party in one shard."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIDES = {"buy": Side.BUY, "sell": Side.SELL}
TIMES_IN_FORCE = {time_in_force.value: time_in_force for time_in_force in TimeInForce}


class NotTaken(Exception):
    """A command the desk refuses, with a stable code and words for the person."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def moment(microseconds: int) -> datetime:
    """An aware time from microseconds since the epoch, without passing through a float."""
    return EPOCH + timedelta(microseconds=microseconds)


def microseconds(at: datetime) -> int:
    """Microseconds since the epoch, without passing through a float."""
    return (at - EPOCH) // timedelta(microseconds=1)


@dataclass(slots=True)
class Desk:
    """One shard's books and open orders in memory, and the numbers it gives.

    It is thrown away whenever a batch may not have been committed.
    """

    shard: int
    seq: int = 0
    trade: int = 0
    now_us: int = 0
    instruments: dict[int, Instrument] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    open_of: Counter[int] = field(default_factory=Counter)
    accounts: dict[int, Account] = field(default_factory=dict)
    due: dict[int, list[Record]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def load(self, records: Iterable[Record]) -> None:
        """Take over open orders, in the order that gives them their place in time."""
        resting: dict[int, list[Order]] = {}
        for record in records:
            self.records[record.id] = record
            self.open_of[record.party_id] += 1
            resting.setdefault(record.instrument_id, []).append(_order_of(record))
        for instrument_id, orders in resting.items():
            self.instruments[instrument_id].book.load(orders)

    def begin(self, commands: Sequence[Command], now_us: int) -> set[int]:
        """Start a batch. Gives every account that it may touch, so that all can be locked at once.

        Time never goes back. Orders whose time has come leave the books here; the
        first command of their instrument ends them.
        """
        self.now_us = max(now_us, self.now_us + 1)
        self.changes, self.due = Changes(), {}
        for instrument_id in sorted({command.instrument_id for command in commands} & self.instruments.keys()):
            due = self.instruments[instrument_id].book.expired(self.now_us)
            self.due[instrument_id] = [self.records[order.id] for order in due]
        expiring = {record.account_id for records in self.due.values() for record in records}
        return expiring.union(*map(self._accounts_of, commands))

    def _accounts_of(self, command: Command) -> set[int]:
        match command:
            case PlaceOrder(account_id=account_id):
                return {account_id}
            case CancelOrder(order_id=order_id) | AmendOrder(order_id=order_id) if order_id in self.records:
                return {self.records[order_id].account_id}
            case SetState(state="closed", instrument_id=instrument_id) if instrument_id in self.instruments:
                book = self.instruments[instrument_id].book
                return {self.records[order.id].account_id for order in book.open_orders()}
            case _:
                return set()

    def apply(self, command: Command) -> tuple[int, Answer]:
        """Decide one command. Gives its journal number and its answer; a refusal is an answer too."""
        self.seq += NUMBERS
        try:
            answer = self._decide(command)
        except Refusal as refusal:
            self._watch_refusal(command, refusal)
            answer = _refused(command, refusal.code, str(refusal))
        except NotTaken as refusal:
            answer = _refused(command, refusal.code, refusal.detail)
        return self.seq, answer

    def _decide(self, command: Command) -> Answer:
        instrument = self.instruments.get(command.instrument_id)
        if instrument is None:
            raise NotTaken("unknown_instrument", "There is no such instrument here.")
        expired = self._expire(instrument)
        match command:
            case PlaceOrder():
                return self._place(command, instrument)
            case CancelOrder():
                return self._cancel(command, instrument)
            case AmendOrder():
                return self._amend(command, instrument)
            case ExpireOrders():
                return Answer(command.key, command.party_id, accepted=True, ended_orders=expired)
            case SetState():
                return self._set_state(command, instrument)

    # The commands

    def _place(self, command: PlaceOrder, instrument: Instrument) -> Answer:
        side, time_in_force = SIDES[command.side], TIMES_IN_FORCE[command.time_in_force]
        check(
            instrument.terms,
            self.now_us,
            price=command.price_minor,
            quantity=command.quantity,
            time_in_force=time_in_force,
            post_only=command.post_only,
            expires_at=command.expires_at_us,
        )
        self._check_parts(command, instrument, side)
        need = _worth(instrument, side, command.price_minor, command.quantity)
        account = self._account(command, instrument, side)
        if account.available < need:
            raise _not_enough(side, account.available, need)
        if self.open_of[command.party_id] >= MAXIMUM_OPEN_ORDERS:
            raise NotTaken("too_many_orders", f"You have {MAXIMUM_OPEN_ORDERS} open orders. Cancel some first.")

        record = self._record(command, instrument, side)
        order = _order_of(record)
        placement = instrument.book.place(order)

        self.changes.placed[record.id] = record
        self.records[record.id] = record
        self.open_of[record.party_id] += 1
        self._hold(account.id, need)
        fills = self._trade(instrument, record, placement.fills)
        self._settle_state(instrument, record, order, placement.state, placement.reason)
        return self._answer(command, record, fills)

    def _cancel(self, command: CancelOrder, instrument: Instrument) -> Answer:
        record = self._own(command)
        instrument.book.cancel(record.id)
        self._end(instrument, record, "cancelled")
        return self._answer(command, record, ())

    def _amend(self, command: AmendOrder, instrument: Instrument) -> Answer:
        record = self._own(command)
        side = Side(record.side)
        check(
            instrument.terms,
            self.now_us,
            price=command.price_minor,
            quantity=command.quantity,
            time_in_force=TIMES_IN_FORCE[record.time_in_force],
            post_only=record.post_only,
            expires_at=microseconds(record.expires_at) if record.expires_at else None,
        )
        if record.custody_id is not None and command.quantity > record.quantity:
            raise NotTaken("custody_is_fixed", "Only the reserved data can be sold. Place another order to sell more.")
        open_after = max(command.quantity - record.filled, 0)
        more = _worth(instrument, side, command.price_minor, open_after) - _worth(
            instrument, side, record.price_minor, record.open
        )
        account = self.accounts[record.account_id]
        if account.available < more:
            raise _not_enough(side, account.available, more)

        amendment = instrument.book.amend(record.id, price=command.price_minor, quantity=command.quantity)

        self._hold(account.id, more)
        record.price_minor, record.quantity, record.open = command.price_minor, command.quantity, open_after
        if not amendment.kept_place:
            record.priority = self.seq
        fills = self._trade(instrument, record, amendment.fills)
        self._settle_state(instrument, record, amendment.order, amendment.state, amendment.reason)
        return self._answer(command, record, fills)

    def _set_state(self, command: SetState, instrument: Instrument) -> Answer:
        ended = 0
        if command.state == "closed":
            for order in list(instrument.book.open_orders()):
                instrument.book.cancel(order.id)
                self._end(instrument, self.records[order.id], "closed")
                ended += 1
        instrument.set_state(command.state)
        self.changes.states[instrument.id] = command.state
        self.changes.instruments.add(instrument.id)
        return Answer(command.key, command.party_id, accepted=True, state=command.state, ended_orders=ended)

    # What they share

    def _expire(self, instrument: Instrument) -> int:
        due = self.due.pop(instrument.id, [])
        for record in due:
            self._end(instrument, record, "expired")
        return len(due)

    def _trade(self, instrument: Instrument, taker: Record, fills: tuple[Fill, ...]) -> tuple[Filled, ...]:
        """Book the fills: both orders shrink, and a buyer who pays less than its limit gets the difference back."""
        made = []
        for fill in fills:
            self.trade += NUMBERS
            maker = self.records[fill.maker.id]
            buy, sell = (taker, maker) if taker.side == Side.BUY else (maker, taker)
            amount = fill.price * fill.quantity
            fee = fee_minor(amount, basis_points=sell.fee_basis_points, minimum_minor=sell.fee_minimum_minor)
            self.changes.trades.append(
                Trade(
                    self.trade, instrument.id, fill.price, fill.quantity, buy, sell, taker.side, fee,
                    instrument.carrier, fill.quantity * instrument.lot_units, moment(self.now_us),
                )
            )  # fmt: skip
            self.changes.instructions.append(("deliver", self.trade, instrument.carrier or "house"))
            taker.open -= fill.quantity
            taker.filled += fill.quantity
            maker.open -= fill.quantity
            maker.filled += fill.quantity
            if taker.side == Side.BUY and taker.price_minor > fill.price:
                self._hold(taker.account_id, -(taker.price_minor - fill.price) * fill.quantity)
            self._touch(maker)
            if not maker.open:
                self._finish(instrument, maker, "filled", None)
            made.append(Filled(self.trade, fill.price, fill.quantity))
        return tuple(made)

    def _settle_state(
        self, instrument: Instrument, record: Record, order: Order, state: OrderState, reason: str | None
    ) -> None:
        self._touch(record)
        if state is OrderState.FILLED:
            self._finish(instrument, record, "filled", None)
        elif state is OrderState.CANCELLED:
            if reason == "self_trade":
                self._watch("self_trade", record.party_id, instrument, record.id, f"{order.open} lots not matched")
            self._end(instrument, record, str(reason))

    def _end(self, instrument: Instrument, record: Record, reason: str) -> None:
        """Cancel the rest: what it held goes back."""
        self._hold(record.account_id, -_worth(instrument, Side(record.side), record.price_minor, record.open))
        self._touch(record)
        self._finish(instrument, record, "cancelled", reason)

    def _finish(self, instrument: Instrument, record: Record, state: str, reason: str | None) -> None:
        record.open, record.state, record.reason = 0, state, reason
        del self.records[record.id]
        self.open_of[record.party_id] -= 1
        if record.custody_id is not None:
            self.changes.instructions.append(("release", record.custody_id, instrument.carrier or "house"))
        if record.payment_id is not None:
            self.changes.instructions.append(("finish_payment", record.payment_id, "house"))

    def _touch(self, record: Record) -> None:
        if record.id != self.seq:
            record.version += 1
        record.updated_at = moment(self.now_us)
        self.changes.touch(record)

    def _hold(self, account_id: int, amount: int) -> None:
        if amount:
            self.accounts[account_id].hold(amount)
            place = (self.seq, account_id)
            self.changes.holds[place] = self.changes.holds.get(place, 0) + amount

    def _own(self, command: CancelOrder | AmendOrder) -> Record:
        record = self.records.get(command.order_id)
        if record is None or record.party_id != command.party_id or record.instrument_id != command.instrument_id:
            raise NotTaken("unknown_order", "This order is not open any more, or it is not yours.")
        if command.version is not None and command.version != record.version:
            raise NotTaken("stale_version", "The order has changed since you looked. Look again, then decide.")
        return record

    def _account(self, command: PlaceOrder, instrument: Instrument, side: Side) -> Account:
        account = self.accounts.get(command.account_id)
        asset_id = instrument.money_id if side is Side.BUY else instrument.asset_id
        if account is None or account.party_id != command.party_id or account.asset_id != asset_id:
            raise NotTaken("unknown_account", "There is no such account for this order.")
        return account

    def _check_parts(self, command: PlaceOrder, instrument: Instrument, side: Side) -> None:
        """A trade must know where its money and its data go before it can happen."""
        needs_line = side is Side.BUY and instrument.carrier is not None
        needs_custody = side is Side.SELL and instrument.carrier is not None
        if needs_line and command.line_id is None:
            raise NotTaken("line_missing", "Choose the line that gets the data.")
        if not needs_line and command.proceeds_account_id is None:
            raise NotTaken("account_missing", "There is no account for what this order would earn.")
        if needs_custody and command.custody_id is None:
            raise NotTaken("custody_missing", "The data must be reserved at the carrier first.")

    def _record(self, command: PlaceOrder, instrument: Instrument, side: Side) -> Record:
        at = moment(self.now_us)
        return Record(
            id=self.seq,
            instrument_id=instrument.id,
            party_id=command.party_id,
            group_id=command.group_id,
            side=int(side),
            price_minor=command.price_minor,
            quantity=command.quantity,
            open=command.quantity,
            filled=0,
            time_in_force=command.time_in_force,
            market=command.market,
            post_only=command.post_only,
            expires_at=None if command.expires_at_us is None else moment(command.expires_at_us),
            fee_basis_points=instrument.fee_basis_points,
            fee_minimum_minor=instrument.fee_minimum_minor,
            account_id=command.account_id,
            proceeds_account_id=command.proceeds_account_id,
            line_id=command.line_id,
            custody_id=command.custody_id,
            payment_id=command.payment_id,
            state="open",
            reason=None,
            version=1,
            priority=self.seq,
            created_at=at,
            updated_at=at,
        )

    def _answer(self, command: Command, record: Record, fills: tuple[Filled, ...]) -> Answer:
        return Answer(
            command.key,
            command.party_id,
            accepted=True,
            order_id=record.id,
            state=record.state,
            reason=record.reason,
            open=record.open,
            filled=record.filled,
            version=record.version,
            fills=fills,
        )

    def _watch_refusal(self, command: Command, refusal: Refusal) -> None:
        if isinstance(refusal, OutsideBand) and isinstance(command, PlaceOrder | AmendOrder):
            instrument = self.instruments[command.instrument_id]
            self._watch("outside_band", command.party_id, instrument, None, str(refusal))

    def _watch(self, kind: str, party_id: int, instrument: Instrument, order_id: int | None, detail: str) -> None:
        at = moment(self.now_us)
        self.changes.surveillance.append((kind, party_id, instrument.id, order_id, detail, at))


def _worth(instrument: Instrument, side: Side, price_minor: int, lots: int) -> int:
    """What an order of so many lots must hold: money for a buy, units of the asset for a sale."""
    return price_minor * lots if side is Side.BUY else lots * instrument.lot_units


def _order_of(record: Record) -> Order:
    return Order(
        record.id,
        record.party_id,
        record.group_id,
        SIDES["buy" if record.side == Side.BUY else "sell"],
        record.price_minor,
        record.quantity,
        record.open,
        TIMES_IN_FORCE[record.time_in_force],
        record.post_only,
        None if record.expires_at is None else microseconds(record.expires_at),
    )


def _refused(command: Command, code: str, detail: str) -> Answer:
    return Answer(command.key, command.party_id, accepted=False, code=code, detail=detail)


def _not_enough(side: Side, available: int, need: int) -> NotTaken:
    if side is Side.BUY:
        return NotTaken("insufficient_money", f"This needs {need} minor units and {available} are available.")
    return NotTaken("insufficient_data", f"This needs {need} units and {available} are available.")
