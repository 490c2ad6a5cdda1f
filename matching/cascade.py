"""One command on a book with more than plain orders in it, and all that the command sets off."""

from matching.floor import Floor, place_in_time
from matching.orders import (
    RESTING,
    Breached,
    CancelReason,
    Decay,
    Effect,
    Ended,
    Fill,
    Order,
    OrderState,
    Placement,
    Reduced,
    Repriced,
    Requeued,
    Side,
    Skipped,
    TimeInForce,
    Triggered,
)
from matching.walk import Step, Walk

BUY = Side.BUY
FOK = TimeInForce.FOK

MOST_SET_OFF = 1_000
"""Stops, retries and rounds of repricing that one command may set off; what is left waits for the next command."""
MOST_RETRIES = 1_000
"""Plans of conditional orders that one command may try."""


class Cascade:
    """Carries a command through. What happens to its subject goes to `placement`, and all else to `effects`."""

    __slots__ = ("_armed_range", "_number", "_reason", "_retries", "_subject", "band", "effects", "fills", "floor")

    def __init__(self, floor: Floor, subject: Order | None, number: int) -> None:
        """`number` is the command's place in time; orders that it moves come after it. 0 means after all there are."""
        self.floor = floor
        self.band = floor.band()  # measured from the reference as it was before the command
        self.fills: list[Fill] = []
        self.effects: list[Effect] = []
        self._subject = subject
        self._reason: str | None = None
        self._number = number
        self._retries = MOST_RETRIES
        self._armed_range: tuple[int, int] | None = None
        self.look_at_reference()

    def look_at_reference(self) -> None:
        """From here on stops are triggered by the last price and by what trades after it."""
        price = self.floor.reference
        self._armed_range = None if price is None else (price, price)

    def placement(self) -> Placement:
        subject = self._subject
        assert subject is not None
        state = OrderState.OPEN
        if subject.id not in self.floor.orders:
            state = OrderState.CANCELLED if subject.open else OrderState.FILLED
        return Placement(tuple(self.fills), state, self._reason, tuple(self.effects))

    # The ways of an order

    def enter(self, order: Order) -> None:
        """Bring in an order that is not in the book: match it, then let what remains rest or end."""
        floor, traits = self.floor, order.traits
        if traits is not None and traits.armed:
            floor.rest(order)
        elif traits is not None and traits.peg_offset is not None:
            price = self._pegged_price(order)
            if price is None:
                self.finish(order, CancelReason.POST_ONLY_WOULD_CROSS)
                return
            order.price = price
            self._rest(order)
        elif floor.calling:
            self._rest_or_finish(order)
        elif not order.post_only:
            self.match(order)
        elif floor.reaches_seen(order.side, order.price):
            self.finish(order, CancelReason.POST_ONLY_WOULD_CROSS)
        else:
            self._rest_or_finish(order)

    def match(self, taker: Order) -> None:
        """Trade an order that is not in the book with the other side, then let what remains rest or end."""
        walk = Walk(self.floor, taker, self.band)
        if not walk.run():
            self._rest_or_finish(taker)
            return
        self._do(walk.steps, taker)
        if not taker.open:
            return
        reason = walk.reason
        if walk.breached is not None:
            self.effects.append(Breached(walk.breached))
            self.floor.calling = True
            if taker.time_in_force not in RESTING:
                reason = CancelReason.BAND_BREACHED
        for passed in walk.passed:
            if reason is None and passed.order.id in self.floor.orders:
                reason = passed.reason
        if reason is None:
            self._rest_or_finish(taker)
        else:
            self.finish(taker, reason)

    def leave(self, order: Order, reason: str) -> None:
        """End an order that is in the book."""
        self.floor.take_out(order)
        self.finish(order, reason)

    def finish(self, order: Order, reason: str) -> None:
        """Tell that an order ended which is not in the book, and end its sibling too."""
        if order is self._subject:
            self._reason = reason
        else:
            self.effects.append(Ended(order, reason))
        self.end_sibling(order)

    def end_sibling(self, order: Order) -> None:
        sibling = self.floor.unlink(order)
        if sibling is not None:
            self.leave(sibling, CancelReason.LINKED)

    def fall(self, order: Order, decay: Decay, now_us: int) -> None:
        """Lower a falling ask to its price at this moment; it may trade there."""
        self.floor.take_out(order)
        self.effects.append(Repriced(order, order.price))
        order.price, order.priority = decay.price_at(now_us), self.next_number()
        self.enter(order)

    def settle(self) -> None:
        """Until nothing more happens: trigger stops, try conditional orders again, move pegged orders."""
        for _ in range(MOST_SET_OFF):
            if self.floor.calling or not (self._trigger() or self._retry() or self._reprice()):
                return

    def next_number(self) -> int:
        """A place in time behind all that have one."""
        if not self._number:
            self._number = max((order.priority for order in self.floor.orders.values()), default=0)
        self._number += 1
        return self._number

    # Resting

    def _rest_or_finish(self, order: Order) -> None:
        if order.time_in_force in RESTING:
            self._rest(order)
        elif order.time_in_force is FOK or (order.traits is not None and order.traits.all_or_none):
            self.finish(order, CancelReason.FOK_UNFILLED)
        else:
            self.finish(order, CancelReason.IOC_REMAINDER)

    def _rest(self, order: Order) -> None:
        self.floor.rest(order)
        self._come_last(order)

    def _come_last(self, order: Order) -> None:
        self.floor.come_last(order)
        if self._number:
            self._number = max(self._number, order.priority)

    # Doing what was planned

    def _do(self, steps: list[Step], taker: Order) -> None:
        for step in steps:
            match step:
                case Fill():
                    self._fill(step)
                case Skipped():
                    self.effects.append(step)
                case Ended(order, reason):
                    self.leave(order, reason)
                case Reduced(order, lots):
                    self._reduce(order, taker, lots)

    def _fill(self, fill: Fill) -> None:
        maker, taker, _, lots = fill
        self._record(fill)
        for order in (maker, taker):
            self.floor.shrink(order, lots)
            if not order.open and order.id in self.floor.orders:
                self.floor.take_out(order)
        if maker.open and maker.traits is not None and maker.traits.display is not None and not maker.traits.shown:
            self._requeue(maker)
        self.end_sibling(maker)
        self.end_sibling(taker)

    def clear(self, fill: Fill) -> None:
        """Carry out a match of an auction: both orders keep their places."""
        self._record(fill)
        for order in (fill.maker, fill.taker):
            self.floor.reduce(order, fill.quantity)
            if not order.open:
                self.floor.take_out(order)
        self.end_sibling(fill.maker)
        self.end_sibling(fill.taker)

    def _record(self, fill: Fill) -> None:
        """Take down a match, whose price is the reference from here on."""
        self.fills.append(fill)
        price = self.floor.reference = fill.price
        lowest, highest = self._armed_range or (price, price)
        self._armed_range = min(lowest, price), max(highest, price)

    def _requeue(self, iceberg: Order) -> None:
        self.floor.hide(iceberg)
        iceberg.priority = self.next_number()
        self.floor.show(iceberg)
        self._come_last(iceberg)
        self.effects.append(Requeued(iceberg))

    def _reduce(self, maker: Order, taker: Order, lots: int) -> None:
        """Take the same lots off two orders of one group; one that would have none left ends with them open."""
        if lots < taker.open:
            self._take_off(taker, lots)
        if lots < maker.open:
            self._take_off(maker, lots)
        else:
            self.leave(maker, CancelReason.SELF_TRADE)

    def _take_off(self, order: Order, lots: int) -> None:
        self.floor.reduce(order, lots)
        order.quantity -= lots
        self.effects.append(Reduced(order, lots))

    # What a command sets off; each tells whether it did anything

    def _trigger(self) -> bool:
        """Let the earliest of the stop orders that a trade has reached become an ordinary order."""
        if self._armed_range is None:
            return False
        lowest, highest = self._armed_range
        floor = self.floor
        reached = floor.armed_buys.ids_up_to(highest) + floor.armed_sells.ids_up_to(-lowest)
        if not reached:
            return False
        order = min((floor.orders[order_id] for order_id in reached), key=place_in_time)
        assert order.traits is not None
        floor.take_out(order)
        order.traits.triggered = True
        order.priority = self.next_number()
        self.effects.append(Triggered(order))
        self.end_sibling(order)
        self.enter(order)
        return True

    def _retry(self) -> bool:
        """Let the first conditional order trade that now can, best price first, bids before asks."""
        floor = self.floor
        for shelf in (floor.unseen_bids, floor.unseen_asks):
            for _, _, order_id in shelf.keys:
                order = floor.orders[order_id]
                if not (floor.reaches_seen(order.side, order.price) or floor.reaches_unseen(order)):
                    break  # those behind it reach no further
                if not self._retries:
                    return False
                self._retries -= 1
                walk = Walk(floor, order, self.band, retry=True)
                if walk.run():
                    self._do(walk.steps, order)
                    if order.open and walk.reason is not None:
                        self.leave(order, walk.reason)
                    return True
        return False

    def _reprice(self) -> bool:
        """Move pegged orders after the reference, the earliest first."""
        floor = self.floor
        if floor.pegged_at == floor.reference:
            return False
        floor.pegged_at = floor.reference
        moved = False
        for order in sorted(floor.pegs.values(), key=place_in_time):
            price = self._pegged_price(order)
            if price is not None and price != order.price:
                self._move(order, price)
                moved = True
        return moved

    def _move(self, order: Order, price: int) -> None:
        self.floor.hide(order)
        self.effects.append(Repriced(order, order.price))
        order.price, order.priority = price, self.next_number()
        self.floor.show(order)
        self._come_last(order)

    def _pegged_price(self, order: Order) -> int | None:
        """Off the reference, on tick, in the static band, and below the best ask or above the best bid."""
        floor = self.floor
        assert order.traits is not None
        assert order.traits.peg_offset is not None
        assert floor.reference is not None
        tick, wanted = floor.tick, floor.reference + order.traits.peg_offset
        lowest = -(-floor.lowest // tick) * tick
        highest = None if floor.highest is None else floor.highest // tick * tick
        if order.side is BUY:
            price = wanted // tick * tick
            against = None if floor.calling else floor.asks.best_price()
            highest = _least(highest, None if against is None else against - tick)
        else:
            price = -(-wanted // tick) * tick
            against = None if floor.calling else floor.bids.best_price()
            lowest = lowest if against is None else max(lowest, against + tick)
        if highest is not None and lowest > highest:
            return None
        return max(lowest, price if highest is None else min(price, highest))


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
