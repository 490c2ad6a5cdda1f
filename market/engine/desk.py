"""The engine's decisions: commands in, orders, trades and holds out. No I/O and no clock of its own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from market.engine import sessions
from market.engine.baskets import (
    LegPlan,
    Prepared,
    encode_leg,
    numbers_of,
    place_legs,
    plan_all,
    plan_some,
)
from market.engine.caps import RULES_CHANGED, Caps, enact
from market.engine.commands import (
    AmendOrder,
    Answer,
    Auctioned,
    CancelAll,
    CancelOrder,
    Command,
    EnactRules,
    ExpireOrders,
    Filled,
    HandOver,
    PlaceBasket,
    PlaceOrder,
    PlaceTogether,
    PrepareLegs,
    RenewOrder,
    ResolveLegs,
    SetState,
    instruments_of,
)
from market.engine.handover import hand_over
from market.engine.instruments import Instrument, Standing
from market.engine.records import MODULUS, Changes, Record, Trade
from market.engine.refusing import NotTaken
from market.engine.traits import SIDES, TIMES_IN_FORCE, limit_minor, linked_pair, record_of, traits_of
from market.pricing import charge_minor, fee_minor
from matching.orders import (
    Breached,
    Effect,
    Ended,
    Fill,
    Order,
    OrderState,
    Reduced,
    Repriced,
    Requeued,
    Side,
    Skipped,
    Triggered,
    mark,
)
from matching.refusals import OutsideBand, Refusal
from matching.rules import check, check_expiry, check_session
from settlement.ledger import Account

NUMBERS = 1024
"""Numbers of a shard are a counter times this plus the shard, so that no two shards share one."""
MAXIMUM_OPEN_ORDERS = 500
"""Open orders of one party in one shard."""
MAXIMUM_TOGETHER = 500
"""Orders of one command."""
MAXIMUM_SPECIAL_ORDERS = 2_000
"""Orders with conditions in one instrument: each of them makes some commands slower."""
PAUSE_US = sessions.CALL_US
"""How long trading pauses after a breach of the dynamic band."""
BUY = Side.BUY
ORDINARY = (PlaceOrder, CancelOrder, AmendOrder, RenewOrder)
"""Commands about one order, of which every account that they take from is known ahead."""
OPEN = OrderState.OPEN


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
    orders_of: dict[int, list[int]] = field(default_factory=dict)
    """Party id to the ids of its open orders."""
    accounts: dict[int, Account] = field(default_factory=dict)
    """The accounts that this batch has locked. What is only given back needs no account here."""
    changes: Changes = field(default_factory=Changes)
    state_hash: int = 0
    """Of the instruments that the batch's commands are about, the sum of `mark` over all open orders, modulo 2^64."""
    caps: Caps = field(default_factory=Caps)
    """What carriers' rules ask of the lines."""
    prepared: Prepared | None = None
    """Legs that wait for the decision on their basket: until then nothing else is decided."""
    _command: int = 0
    _asking: int = 0
    _ended: int = 0
    """Orders that the time has ended before the command was decided."""
    _holds: dict[int, int] = field(default_factory=dict)

    def load(self, records: Iterable[Record]) -> None:
        """Take over open orders, in the order that gives them their place in time."""
        resting: dict[int, list[Record]] = {}
        for record in records:
            if record.traits is not None and record.traits.peg_offset is not None:
                record.limit_minor = self.instruments[record.instrument_id].terms.maximum_price
            self._know(record)
            record.seen_minor = record.price
            record.marked = mark(record)
            self.instruments[record.instrument_id].state_hash += record.marked
            resting.setdefault(record.instrument_id, []).append(record)
        for instrument_id, orders in resting.items():
            self.instruments[instrument_id].book.load(orders)

    def begin(self, commands: Sequence[Command], now_us: int) -> set[int]:
        """Start a batch. Gives every account that it will take from, so that all can be locked at once.

        Time never goes back. Accounts that are only given back are named where
        they are known ahead: to lock them in the same order spares deadlocks.
        """
        self.now_us = max(now_us, self.now_us + 1)
        self.changes = Changes()
        self.caps.begin(self.now_us if self.prepared is None else self.prepared.at_us)
        wanted: set[int] = set()
        for command in commands:
            wanted.update(self.accounts_of(command))
        return wanted

    def accounts_of(self, command: Command) -> Iterable[int]:
        """The accounts that a command touches, as far as they are known before it is decided."""
        match command:
            case PlaceOrder():
                return (command.account_id,)
            case CancelOrder() | AmendOrder() | RenewOrder():
                record = self.records.get(command.order_id)
                return () if record is None else (record.account_id,)
            case PlaceTogether(orders=asked) | PlaceBasket(legs=asked) | PrepareLegs(legs=asked):
                return [each.account_id for each in asked]
            case CancelAll():
                return [record.account_id for record in self._owned(command)]
            case SetState() | ExpireOrders() | EnactRules():
                return self._accounts_in(command)
        return ()

    def _accounts_in(self, command: SetState | ExpireOrders | EnactRules) -> Iterable[int]:
        """The accounts of all orders that a command about a whole instrument may end or trade."""
        instrument = self.instruments.get(command.instrument_id)
        if instrument is None or sessions.stops(command):
            return ()
        orders: Iterable[Order]
        if sessions.closes_quietly(instrument, command) or sessions.is_letting_go(instrument):
            orders = [*sessions.leftovers(instrument), *instrument.book.due(self.now_us)]
        elif not isinstance(command, ExpireOrders) or sessions.pause_is_over(instrument, self.now_us):
            orders = instrument.book.all_orders()
        else:
            orders = instrument.book.due(self.now_us)
        return [self.records[order.id].account_id for order in orders]

    def apply(self, command: Command) -> tuple[int, Answer]:
        """Decide one command. Gives its journal number and its answer; a refusal is an answer too."""
        self.seq += NUMBERS
        self._command = self.seq
        self._asking = command.party_id
        seq = self.seq
        try:
            answer = self._decide(command)
        except Refusal as refusal:
            self._watch_refusal(command, refusal)
            answer = _refused(command, refusal.code, str(refusal))
        except NotTaken as refusal:
            answer = _refused(command, refusal.code, refusal.detail)
        if self._holds:
            self._move_holds()
        return seq, answer

    def end(self, commands: Iterable[Command]) -> None:
        """Close a batch: bring the state hashes up to what its commands have changed."""
        for records in (self.changes.placed, self.changes.changed):
            for record in records.values():
                marked = mark(record) if record.state == "open" else 0
                self.instruments[record.instrument_id].state_hash += marked - record.marked
                record.marked = marked
        about = {instrument_id for command in commands for instrument_id in instruments_of(command)}
        known = about & self.instruments.keys()
        self.state_hash = sum(self.instruments[instrument_id].state_hash for instrument_id in known) % MODULUS

    def next_due_us(self) -> int | None:
        """When the clock next asks for something, as far as is known."""
        times = [due for instrument in self.instruments.values() if (due := instrument.next_due_us) is not None]
        return min(times, default=None)

    def due_instruments(self, now_us: int) -> list[int]:
        """The instruments of which the clock asks for something now."""
        return [
            instrument.id
            for instrument in self.instruments.values()
            if (due := instrument.next_due_us) is not None and due <= now_us
        ]

    def _decide(self, command: Command) -> Answer:
        instrument = self.instruments.get(command.instrument_id)
        if instrument is None:
            raise NotTaken("unknown_instrument", "There is no such instrument here.")
        self.caps.hear(command)
        due_us = instrument.next_due_us
        if due_us is not None or not isinstance(command, ORDINARY):
            self._ended = self._keep_time(command)
        return self._DECISIONS[type(command)](self, command, instrument)

    def _expire(self, command: ExpireOrders, instrument: Instrument) -> Answer:
        ended = self._ended + (self._let_go(instrument) if sessions.is_letting_go(instrument) else 0)
        return Answer(command.key, command.party_id, accepted=True, ended_orders=ended)

    # Placing

    def _check(
        self, command: PlaceOrder, instrument: Instrument, taken: int = 0, orders: int = 0, need: int | None = None
    ) -> int:
        """Refuse what cannot be taken, before anything changes; gives the amount that the order must hold.

        ``taken`` and ``orders`` are what others of the same command have taken from the account and placed;
        ``need`` is what it must hold when that is known to be less than its limit asks.
        """
        side = SIDES[command.side]
        traits = traits_of(command, self.now_us)
        check(
            instrument.terms,
            self.now_us,
            price=command.price_minor,
            quantity=command.quantity,
            time_in_force=TIMES_IN_FORCE[command.time_in_force],
            post_only=command.post_only,
            expires_at=command.expires_at_us,
            side=side,
            market=command.market,
            traits=traits,
        )
        if traits is not None and instrument.book.special_orders + orders >= MAXIMUM_SPECIAL_ORDERS:
            raise NotTaken("too_many_special_orders", "This market takes no more orders with conditions just now.")
        _check_parts(command, instrument, side)
        self.caps.check(instrument, command)
        if need is None:
            need = _worth(instrument, side, limit_minor(command, instrument), command.quantity)
        account = self.accounts.get(command.account_id)
        asset_id = instrument.money_id if side is BUY else instrument.asset_id
        if account is None or account.party_id != command.party_id or account.asset_id != asset_id:
            raise NotTaken("unknown_account", "There is no such account for this order.")
        if account.available - taken < need:
            raise _not_enough(instrument, side, account.available - taken, need)
        if len(self.orders_of.get(command.party_id, ())) + orders >= MAXIMUM_OPEN_ORDERS:
            raise NotTaken("too_many_orders", f"You have {MAXIMUM_OPEN_ORDERS} open orders. Cancel some first.")
        return need

    def _place_alone(self, command: PlaceOrder, instrument: Instrument) -> Answer:
        self._check(command, instrument)
        return self._place(command, instrument)

    def _place(self, command: PlaceOrder, instrument: Instrument) -> Answer:
        return self._enter(record_of(command, self.seq, self.now_us, instrument), instrument, command)

    def _enter(self, record: Record, instrument: Instrument, command: PlaceOrder) -> Answer:
        record.priority = self._command
        self.changes.placed[record.id] = record
        self._know(record)
        self._hold(record.account_id, worth(instrument, record))
        placement = instrument.book.place(record)
        made = self._follow(instrument, placement.fills, placement.effects)
        if placement.state is not OPEN:
            self._end_as(instrument, record, placement.reason)
        self._touch(record)
        return _answer(command, record, made)

    def _place_together(self, command: PlaceTogether, _: Instrument) -> Answer:
        """All of them or none: each is checked with what those before it take, then they are placed in their order."""
        if not 1 <= len(command.orders) <= MAXIMUM_TOGETHER:
            raise NotTaken("bad_batch", f"Place 1 to {MAXIMUM_TOGETHER} orders at once.")
        taken: dict[int, int] = {}
        instruments = []
        for number, order in enumerate(command.orders):
            instrument = self.instruments.get(order.instrument_id)
            if instrument is None:
                raise NotTaken("other_shard", f"Order {number + 1} is of a market that is matched elsewhere.")
            try:
                need = self._check(order, instrument, taken.get(order.account_id, 0), number)
            except Refusal as refusal:
                raise NotTaken(refusal.code, f"Order {number + 1} of {len(command.orders)}: {refusal}") from refusal
            except NotTaken as refusal:
                raise NotTaken(
                    refusal.code, f"Order {number + 1} of {len(command.orders)}: {refusal.detail}"
                ) from refusal
            if not command.linked:  # a pair takes once what only one of them can need
                taken[order.account_id] = taken.get(order.account_id, 0) + need
            instruments.append(instrument)
        if command.linked:
            return self._place_linked(command, instruments[0])

        answers = []
        for number, (order, instrument) in enumerate(zip(command.orders, instruments, strict=True)):
            self.seq += NUMBERS if number else 0
            answers.append(self._place(order, instrument))
        return Answer(command.key, command.party_id, accepted=True, orders=tuple(answers))

    def _place_linked(self, command: PlaceTogether, instrument: Instrument) -> Answer:
        """Two orders of which one ends the other. What only one can need is held once, by the one that needs more.

        The stop goes first: the other may trade at once, and must find it there to end it.
        """
        stop, limit = linked_pair(command, instrument)
        stop_id = self.seq
        limit_id = self.seq = stop_id + NUMBERS
        pair = (
            record_of(stop, stop_id, self.now_us, instrument, linked_to=limit_id),
            record_of(limit, limit_id, self.now_us, instrument, linked_to=stop_id),
        )
        min(pair, key=lambda record: worth(instrument, record)).rides = True
        self._enter(pair[0], instrument, stop)
        placed = self._enter(pair[1], instrument, limit)
        answers = (_answer(stop, pair[0], ()), placed)
        return Answer(command.key, command.party_id, accepted=True, orders=answers)

    # Across instruments

    def _place_basket(self, command: PlaceBasket, _: Instrument) -> Answer:
        if command.all_or_none:
            plans = plan_all(command, self.instruments, self.now_us, command.limit_minor, self.caps.parts)
        else:
            plans = plan_some(command, self.instruments, self.now_us, self._spendable(command))
        self._check_plans(command, plans)
        placed = iter(self._place_legs([plan.order for plan in plans if plan.order is not None]))
        legs = [_leg_answer(command, plan, None if plan.order is None else next(placed)) for plan in plans]
        net_minor = sum(plan.net_minor for plan in plans)
        return Answer(command.key, command.party_id, accepted=True, orders=tuple(legs), net_minor=net_minor)

    def _prepare_legs(self, command: PrepareLegs, _: Instrument) -> Answer:
        """Hold what the legs need, and promise them: from here on the books must not change."""
        assert self.prepared is None, "nothing is decided while legs are prepared"
        plans = plan_all(command, self.instruments, self.now_us, None, self.caps.parts)
        self._check_plans(command, plans)
        legs = [plan.order for plan in plans if plan.order is not None]
        needs = tuple(plan.need for plan in plans)
        for number, (leg, need) in enumerate(zip(legs, needs, strict=True)):
            self._hold(leg.account_id, need)
            self.changes.legs.append((command.basket_id, number, leg.account_id, need, encode_leg(leg), self.now_us))
        self.changes.parties.add(command.party_id)
        self.prepared = Prepared(command.basket_id, tuple(legs), needs, self.now_us)
        answers = tuple(_leg_answer(command, plan, None) for plan in plans)
        net_minor = sum(plan.net_minor for plan in plans)
        return Answer(
            command.key, command.party_id, accepted=True, state="prepared", orders=answers, net_minor=net_minor
        )

    def _resolve_legs(self, command: ResolveLegs, _: Instrument) -> Answer:
        prepared = self.prepared
        if prepared is None or prepared.basket_id != command.basket_id:
            raise NotTaken("unknown_basket", "No legs of this basket are prepared here.")
        self.prepared = None
        for leg, need in zip(prepared.legs, prepared.needs, strict=True):
            self._hold(leg.account_id, -need)
            self.changes.parties.add(leg.party_id)
        self.changes.resolved.append((command.basket_id, "filled" if command.committed else "returned"))
        if not command.committed:
            for leg in prepared.legs:
                if leg.custody_id is not None:
                    lane = self.instruments[leg.instrument_id].carrier or "house"
                    self.changes.instructions.append(("release", leg.custody_id, lane))
            return Answer(command.key, command.party_id, accepted=True, state="aborted")
        placed = self._place_legs(prepared.legs)
        return Answer(command.key, command.party_id, accepted=True, state="committed", orders=tuple(placed))

    def _place_legs(self, legs: Sequence[PlaceOrder]) -> list[Answer]:
        """Trade legs that were planned. What that sets off in one book comes after all of them have traded."""
        numbers = numbers_of(legs, self.seq, NUMBERS)
        self.seq = numbers[-1] if numbers else self.seq
        placed = place_legs(legs, numbers, self.instruments, self._command, self.now_us)
        for record, _ in placed:
            self.changes.placed[record.id] = record
            self._know(record)
            instrument = self.instruments[record.instrument_id]
            self._hold(record.account_id, _worth(instrument, record.side, record.limit_minor, record.quantity))
        answers = []
        for leg, (record, placement) in zip(legs, placed, strict=True):
            instrument = self.instruments[record.instrument_id]
            fills = self.caps.parts(instrument, placement.fills)
            made = self._follow(instrument, fills, placement.effects)
            own = [told for fill, told in zip(fills, made, strict=True) if fill.taker is record]
            answers.append(msgspec.structs.replace(_answer(leg, record, tuple(own)), net_minor=_net_minor(record, own)))
        return answers

    def _spendable(self, command: PlaceBasket) -> int:
        """The money in the one wallet that pays for a basket."""
        wallets = {leg.account_id for leg in command.legs}
        account = self.accounts.get(min(wallets, default=0))
        if len(wallets) != 1 or account is None:
            raise NotTaken("unknown_account", "A basket is paid from one wallet.")
        return account.available

    def _check_plans(self, command: PlaceBasket | PrepareLegs, plans: Sequence[LegPlan]) -> None:
        """Refuse a basket of which a leg cannot be taken beside those before it."""
        taken: dict[int, int] = {}
        for number, (leg, plan) in enumerate(zip(command.legs, plans, strict=True)):
            if leg.party_id != command.party_id:
                raise NotTaken("bad_basket", "The legs of a basket are its party's own.")
            if plan.order is None:
                continue
            before = taken.get(leg.account_id, 0)
            try:
                self._check(plan.order, self.instruments[leg.instrument_id], before, number, plan.need)
            except NotTaken as refusal:
                words = f"Leg {number + 1} of {len(plans)}: {refusal.detail}"
                raise NotTaken(refusal.code, words) from refusal
            taken[leg.account_id] = before + plan.need

    # Changing and ending

    def _cancel(self, command: CancelOrder, instrument: Instrument) -> Answer:
        record = self._own(command)
        self._take_out(instrument, record, command.reason)
        return _answer(command, record, ())

    def _take_out(self, instrument: Instrument, record: Record, reason: str) -> None:
        cancellation = instrument.book.remove(record.id, priority=self._command)
        self._end_as(instrument, record, reason)
        self._follow(instrument, cancellation.fills, cancellation.effects)

    def _cancel_all(self, command: CancelAll, instrument: Instrument) -> Answer:
        ended = 0
        for record in self._owned(command):
            if record.id in self.records:  # one that was linked to another of them is gone already
                self._take_out(instrument, record, command.reason)
            ended += 1
        return Answer(command.key, command.party_id, accepted=True, ended_orders=ended)

    def _owned(self, command: CancelAll) -> list[Record]:
        side = None if command.side is None else (BUY if command.side == "buy" else Side.SELL)
        records = [self.records[order_id] for order_id in sorted(self.orders_of.get(command.owner_id, ()))]
        return [
            record
            for record in records
            if record.instrument_id == command.instrument_id and (side is None or record.side is side)
        ]

    def _amend(self, command: AmendOrder, instrument: Instrument) -> Answer:
        record = self._own(command)
        check(
            instrument.terms,
            self.now_us,
            price=command.price_minor,
            quantity=command.quantity,
            time_in_force=record.time_in_force,
            post_only=record.post_only,
            expires_at=record.expires_at,
            side=record.side,
            market=record.market,
            traits=record.traits,
        )
        if record.custody_id is not None and command.quantity > record.quantity:
            raise NotTaken("custody_is_fixed", "Only the reserved data can be sold. Place another order to sell more.")
        if record.traits is not None and not record.traits.can_be_amended:
            raise NotTaken("terms_are_fixed", "This order moves by itself. Cancel it and place a new one.")
        self.caps.check_amended(instrument, command.quantity)
        before = worth(instrument, record)
        open_after = max(command.quantity - record.filled, 0)
        more = _worth(instrument, record.side, command.price_minor, open_after) - before
        account = self.accounts[record.account_id]
        if account.available < more:
            raise _not_enough(instrument, record.side, account.available, more)

        amendment = instrument.book.amend(
            record.id, price=command.price_minor, quantity=command.quantity, priority=self._command
        )

        record.limit_minor = command.price_minor
        self._hold(account.id, more)
        made = self._follow(instrument, amendment.fills, amendment.effects)
        if amendment.state is not OPEN:
            self._end_as(instrument, record, amendment.reason)
        self._touch(record)
        return _answer(command, record, made)

    def _renew(self, command: RenewOrder, instrument: Instrument) -> Answer:
        record = self._own(command)
        check_session(instrument.terms, self.now_us)
        check_expiry(instrument.terms, self.now_us, record.time_in_force, command.expires_at_us)

        for order in instrument.book.renew(record.id, command.expires_at_us):
            self._touch(self.records[order.id])
        return _answer(command, record, ())

    def _enact(self, command: EnactRules, instrument: Instrument) -> Answer:
        """Match by a carrier's new rules; what they keep from delivery is given back with notice."""
        doomed = enact(self.caps, command, instrument)
        for record in doomed:
            if record.id in self.records:  # one that was linked to another of them is gone already
                self._take_out(instrument, record, RULES_CHANGED)
        return Answer(command.key, command.party_id, accepted=True, ended_orders=len(doomed))

    def _set_state(self, command: SetState, instrument: Instrument) -> Answer:
        """Bring the instrument into a state, as `sessions.step` decides: after an auction, if one is to be held."""
        standing, has_auction = sessions.step(instrument, command, self.now_us)
        ended, auction = 0, None
        if has_auction:
            auction = self._auction(instrument)
        self._stand(instrument, standing)
        if standing.state == "closed":  # only now, when nothing that is taken out can make others trade
            ended = self._let_go(instrument)
        state = str(instrument.terms.state)
        return Answer(command.key, command.party_id, accepted=True, state=state, ended_orders=ended, auction=auction)

    def _let_go(self, instrument: Instrument) -> int:
        """End the next orders of a market that is closed; says how many it took out itself."""
        ended = 0
        for order in sessions.leftovers(instrument):
            if order.id in self.records:  # one that was linked to another of them is gone already
                self._take_out(instrument, self.records[order.id], "closed")
                ended += 1
        return ended

    def _stand(self, instrument: Instrument, standing: Standing) -> None:
        instrument.stand(standing)
        self.changes.states[instrument.id] = standing
        self.changes.instruments.add(instrument.id)

    def _auction(self, instrument: Instrument) -> Auctioned | None:
        auction = instrument.book.uncross(priority=self._command)
        self._follow(instrument, auction.fills, auction.effects, auction=True)
        return Auctioned(auction.price, auction.volume) if auction.price is not None else None

    # What they share

    def _keep_time(self, command: Command) -> int:
        """Do what the time asks of all that a command is about, before it is decided. Gives how many orders ended."""
        if isinstance(command, ResolveLegs):
            return 0  # what was promised was promised from the books as they are
        ended = 0
        if sessions.stops(command):
            return ended
        for instrument_id in instruments_of(command):
            instrument = self.instruments.get(instrument_id)
            if instrument is None:
                continue
            if sessions.pause_is_over(instrument, self.now_us):
                self._auction(instrument)
                self._stand(instrument, Standing("open"))
            if instrument.book.is_due(self.now_us):
                moved = instrument.book.advance(self.now_us, priority=self._command)
                self._follow(instrument, moved.fills, moved.effects)
                ended += sum(isinstance(effect, Ended) for effect in moved.effects)
        return ended

    def _follow(
        self, instrument: Instrument, fills: Sequence[Fill], effects: Sequence[Effect], *, auction: bool = False
    ) -> tuple[Filled, ...]:
        """Book what the matching made of a command, on every order that it touched."""
        trades = self.caps.follow(instrument, fills)
        made = tuple([self._trade(instrument, fill, auction=auction) for fill in trades])
        for effect in effects:
            self._effect(instrument, effect)
        for fill in fills:
            for order in (fill.maker, fill.taker):
                if not order.open and order.id in self.records:
                    self._finish(instrument, self.records[order.id], "filled", None)
        return made

    def _effect(self, instrument: Instrument, effect: Effect) -> None:
        if isinstance(effect, Breached):
            self._stand(instrument, sessions.paused(self.now_us))
            self._watch("band_breach", self._asking, instrument, None, f"paused before a trade at {effect.price}")
            return
        record = effect.order
        assert isinstance(record, Record)
        match effect:
            case Ended(reason=reason):
                self._end_as(instrument, record, reason)
            case Reduced(lots=lots):
                if not record.rides:
                    self._hold(record.account_id, -_worth(instrument, record.side, record.limit_minor, lots))
                self._touch(record)
            case Skipped(lots=lots, reason=reason):
                self._watch("skipped", record.party_id, instrument, record.id, f"{lots} lots not matched: {reason}")
            case Triggered() | Repriced() | Requeued():
                self._touch(record)

    def _trade(self, instrument: Instrument, fill: Fill, *, auction: bool) -> Filled:
        """Book one fill: a buyer who pays less than its limit gets the difference back."""
        self.trade += NUMBERS
        maker, taker, price, quantity = fill
        assert isinstance(maker, Record)
        assert isinstance(taker, Record)
        buy, sell = (taker, maker) if taker.side is BUY else (maker, taker)
        amount = price * quantity
        fee = fee_minor(amount, basis_points=sell.fee_basis_points, minimum_minor=sell.fee_minimum_minor)
        units = quantity * instrument.lot_units
        charge = charge_minor(sell.charges, quantity_mb=units, left_minor=amount - fee)
        self.changes.trades.append(
            Trade(
                self.trade, instrument.id, price, quantity, buy, sell, 0 if auction else int(taker.side), fee + charge,
                instrument.carrier, units, self.now_us, charge,
            )
        )  # fmt: skip
        self.changes.instructions.append(("deliver", self.trade, instrument.carrier or "house"))
        for order in (buy, sell):
            if order.rides:  # its sibling held for it, and is ended by this very fill
                self._hold(order.account_id, _worth(instrument, order.side, order.limit_minor, quantity))
        if buy.limit_minor > price:
            self._hold(buy.account_id, (price - buy.limit_minor) * quantity)
        self._touch(maker)
        self._touch(taker)
        return Filled(self.trade, price, quantity)

    def _end_as(self, instrument: Instrument, record: Record, reason: str | None) -> None:
        """End an order: filled, or cancelled with what it held given back."""
        if not record.open:
            self._finish(instrument, record, "filled", None)
            return
        if reason == "self_trade":
            self._watch("self_trade", record.party_id, instrument, record.id, f"{record.open} lots not matched")
        self._hold(record.account_id, -worth(instrument, record))
        self._finish(instrument, record, "cancelled", str(reason))

    def _finish(self, instrument: Instrument, record: Record, state: str, reason: str | None) -> None:
        if record.state != "open":
            return
        record.state, record.reason = state, reason
        self._touch(record)
        del self.records[record.id]
        others = self.orders_of[record.party_id]
        others.remove(record.id)
        if not others:
            del self.orders_of[record.party_id]
        if record.traits is not None and record.traits.linked_to is not None:
            self._stand_alone(instrument, record.traits.linked_to)
        if record.custody_id is not None:
            self.changes.instructions.append(("release", record.custody_id, instrument.carrier or "house"))
        if record.payment_id is not None:
            self.changes.instructions.append(("finish_payment", record.payment_id, "house"))

    def _stand_alone(self, instrument: Instrument, order_id: int) -> None:
        """Let an order that outlives its sibling hold for itself."""
        record = self.records.get(order_id)
        if record is not None and record.rides:
            record.rides = False
            self._hold(record.account_id, worth(instrument, record))
            self._touch(record)

    def _know(self, record: Record) -> None:
        self.records[record.id] = record
        self.orders_of.setdefault(record.party_id, []).append(record.id)

    def _touch(self, record: Record) -> None:
        if record.id < self._command:
            record.version += 1
        self.changes.touch(record)

    def _hold(self, account_id: int, amount: int) -> None:
        if amount:
            self._holds[account_id] = self._holds.get(account_id, 0) + amount

    def _move_holds(self) -> None:
        """Take a command's net holds from the accounts."""
        for account_id, amount in self._holds.items():
            self.changes.holds[account_id] = self.changes.holds.get(account_id, 0) + amount
            account = self.accounts.get(account_id)
            if account is not None:
                account.hold(amount)
            else:
                assert amount <= 0, "nothing is taken from an account that is not locked"
        self._holds.clear()

    def _own(self, command: CancelOrder | AmendOrder | RenewOrder) -> Record:
        record = self.records.get(command.order_id)
        if record is None or record.party_id != command.party_id or record.instrument_id != command.instrument_id:
            raise NotTaken("unknown_order", "This order is not open any more, or it is not yours.")
        if command.version is not None and command.version != record.version:
            raise NotTaken("stale_version", "The order has changed since you looked. Look again, then decide.")
        return record

    def _watch_refusal(self, command: Command, refusal: Refusal) -> None:
        if isinstance(refusal, OutsideBand) and isinstance(command, PlaceOrder | AmendOrder):
            instrument = self.instruments[command.instrument_id]
            self._watch("outside_band", command.party_id, instrument, None, str(refusal))

    def _watch(self, kind: str, party_id: int, instrument: Instrument, order_id: int | None, detail: str) -> None:
        self.changes.surveillance.append((kind, party_id, instrument.id, order_id, detail, self.now_us))

    _DECISIONS: ClassVar[dict[type, Callable[["Desk", Any, Instrument], Answer]]] = {
        PlaceOrder: _place_alone,
        CancelOrder: _cancel,
        AmendOrder: _amend,
        RenewOrder: _renew,
        PlaceTogether: _place_together,
        PlaceBasket: _place_basket,
        PrepareLegs: _prepare_legs,
        ResolveLegs: _resolve_legs,
        CancelAll: _cancel_all,
        ExpireOrders: _expire,
        SetState: _set_state,
        EnactRules: _enact,
        HandOver: lambda desk, command, _: hand_over(desk, command),
    }
    """How each command is decided."""


def worth(instrument: Instrument, record: Record) -> int:
    """What an order holds: money for a buy, units of the asset for a sale; nothing when its pair holds for both."""
    return 0 if record.rides else _worth(instrument, record.side, record.limit_minor, record.open)


def _worth(instrument: Instrument, side: Side, price_minor: int, lots: int) -> int:
    return price_minor * lots if side is BUY else lots * instrument.lot_units


def _net_minor(record: Record, fills: Sequence[Filled]) -> int:
    """What an order's trades come to: to pay, negative to get, less its fee."""
    amounts = [fill.price_minor * fill.quantity for fill in fills]
    if record.side is BUY:
        return sum(amounts)
    basis_points, minimum_minor = record.fee_basis_points, record.fee_minimum_minor
    return sum(fee_minor(each, basis_points=basis_points, minimum_minor=minimum_minor) - each for each in amounts)


def _check_parts(command: PlaceOrder, instrument: Instrument, side: Side) -> None:
    """A trade must know where its money and its data go before it can happen."""
    needs_line = side is BUY and instrument.carrier is not None
    if needs_line and command.line_id is None:
        raise NotTaken("line_missing", "Choose the line that gets the data.")
    if not needs_line and command.proceeds_account_id is None:
        raise NotTaken("account_missing", "There is no account for what this order would earn.")
    if side is not BUY and instrument.carrier is not None and command.custody_id is None:
        raise NotTaken("custody_missing", "The data must be reserved at the carrier first.")


def _answer(
    command: PlaceOrder | CancelOrder | AmendOrder | RenewOrder, record: Record, fills: tuple[Filled, ...]
) -> Answer:
    return Answer(
        command.key,
        command.party_id,
        accepted=True,
        order_id=record.id,
        state=record.state,
        reason=record.reason,
        open=record.open if record.state == "open" else 0,
        filled=record.filled,
        version=record.version,
        fills=fills,
    )


def _leg_answer(command: PlaceBasket | PrepareLegs, plan: LegPlan, placed: Answer | None) -> Answer:
    """How a leg of a basket stands: with its trades once they are made, before that with what is promised."""
    fills = tuple(Filled(0, *fill) for fill in plan.fills) if placed is None else placed.fills
    return Answer(
        "",
        command.party_id,
        accepted=plan.order is not None,
        code=plan.code,
        detail=plan.detail,
        order_id=None if placed is None else placed.order_id,
        state=None if placed is None else placed.state,
        filled=sum(quantity for _, quantity in plan.fills),
        version=0 if placed is None else placed.version,
        fills=fills,
        net_minor=plan.net_minor,
    )


def _refused(command: Command, code: str, detail: str) -> Answer:
    return Answer(command.key, command.party_id, accepted=False, code=code, detail=detail)


def _not_enough(instrument: Instrument, side: Side, available: int, need: int) -> NotTaken:
    if side is BUY:
        return NotTaken("insufficient_money", f"This needs {need} minor units and {available} are available.")
    if instrument.carrier is None:
        return NotTaken("insufficient_data", f"This needs {need} coins and {available} are available.")
    return NotTaken("insufficient_data", f"This needs {need} MB and {available} MB are available.")
