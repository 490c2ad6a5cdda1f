"""The book of one instrument: continuous matching by price, then time, at the resting order's price, and auctions."""

from collections.abc import Iterable, Iterator
from heapq import heappop, merge

from matching.auction import indicate, uncross
from matching.cascade import Cascade
from matching.floor import Floor, place_in_time, shown
from matching.ladder import Ladder, Level
from matching.orders import (
    RESTING,
    Advance,
    Amendment,
    Auction,
    Cancellation,
    CancelReason,
    DepthLevel,
    Fill,
    Indication,
    Order,
    OrderState,
    Placement,
    SelfTrade,
    Side,
    TimeInForce,
)
from matching.refusals import AmendBelowFilled, AmendWouldCross, CrossedBook, DuplicateOrder, NoReference, UnknownOrder

# Looking a member up on its enumeration costs as much as a step of matching, so each is named once here.
BUY = Side.BUY
IOC = TimeInForce.IOC
FOK = TimeInForce.FOK
OPEN = OrderState.OPEN
FILLED = OrderState.FILLED
CANCELLED = OrderState.CANCELLED
CANCEL_NEWEST = SelfTrade.CANCEL_NEWEST

# What most placements come to: no fill, so nothing of their own to tell.
RESTS = Placement((), OPEN, None)
NONE_IN_REACH = Placement((), CANCELLED, CancelReason.IOC_REMAINDER)
NOT_ALL_FILLABLE = Placement((), CANCELLED, CancelReason.FOK_UNFILLED)
WOULD_CROSS = Placement((), CANCELLED, CancelReason.POST_ONLY_WOULD_CROSS)
NOTHING_DUE = Advance((), ())


class Book(Floor):
    """Never crossed between commands by what could trade, unless it is `calling`: collecting orders for an auction.

    It has no clock: call `advance` before each command, with the command's time. `priority` is a command's place in
    time, above all earlier ones; leave some hundreds free after it, for orders that the command moves.

    A plain order joins its queue in `place` and leaves it in `_match` or `cancel`. The three steps are written out
    there: as methods of the queue they cost about a twentieth of the book's speed. While the book is `careful`, and
    for an order that is not plain, a cascade does the same and all that it sets off.
    """

    __slots__ = ()

    def place(self, order: Order) -> Placement:
        """Match the order with the other side, then let what remains rest or end.

        Raises DuplicateOrder; NoReference for a pegged order with nothing to be priced from; UnfitLink.
        """
        orders = self.orders
        if self.careful or order.traits is not None or order.id in orders:
            return self._place_with_care(order)
        if order.side is BUY:
            own, other, rank = self.bids, self.asks, order.price
        else:
            own, other, rank = self.asks, self.bids, -order.price

        placement = RESTS
        if other.ranks and other.ranks[-1] >= -rank:
            placement = self._take(order, other, -rank)
            if placement.state is not OPEN or order.level is not None:
                return placement  # it has ended, or was brought to rest with care
        elif order.time_in_force is IOC:
            return NONE_IN_REACH
        elif order.time_in_force is FOK:
            return NOT_ALL_FILLABLE

        level = own.levels.get(rank)
        if level is None:
            level = own.new_level(order.price, rank)
        last = level.last
        if last is None:
            level.first = order
        else:
            last.after = order
            order.before = last
        level.last = order
        level.quantity += order.open
        level.count += 1
        order.level = level
        orders[order.id] = order
        if order.expires_at is not None:
            self.note_expiry(order.expires_at, order.id)
        return placement

    def _take(self, order: Order, other: Ladder, limit: int) -> Placement:
        """What becomes of a plain order that can trade at once."""
        if order.post_only:
            return WOULD_CROSS
        if order.self_trade is not CANCEL_NEWEST:
            return self._place_with_care(order)
        if order.time_in_force is FOK and not _can_fill_all(order, other, limit):
            return NOT_ALL_FILLABLE

        fills = self._match(order, other, limit)

        if not order.open:
            return Placement(fills, FILLED, None)
        if other.ranks and other.ranks[-1] >= limit:  # something in reach was left: an order of the taker's own group
            reason = CancelReason.SELF_TRADE
        elif order.time_in_force is IOC:
            reason = CancelReason.IOC_REMAINDER
        else:
            return Placement(fills, OPEN, None)
        return Placement(fills, CANCELLED, reason)

    def _match(self, taker: Order, other: Ladder, limit: int) -> tuple[Fill, ...]:
        """Best price first, first come first, until the taker is filled, out of reach, or meets its own group."""
        fills: list[Fill] = []
        ranks, levels, orders = other.ranks, other.levels, self.orders
        wanted, party_id, group_id = taker.open, taker.party_id, taker.group_id
        while wanted and ranks and ranks[-1] >= limit:
            level = levels[ranks[-1]]
            maker = level.first
            assert maker is not None
            if maker.group_id == group_id or maker.party_id == party_id:
                break  # the party too: it may have changed groups while its older order waited

            quantity = min(wanted, maker.open)
            fills.append(Fill(maker, taker, level.price, quantity))
            wanted -= quantity
            maker.open -= quantity
            level.quantity -= quantity
            if not maker.open:
                del orders[maker.id]
                level.first = after = maker.after
                level.count -= 1
                maker.level = maker.after = None
                if after is None:
                    del levels[ranks.pop()]
                else:
                    after.before = None
        taker.open = wanted
        if fills:
            self.reference = fills[-1].price
        return tuple(fills)

    def _place_with_care(self, order: Order) -> Placement:
        if order.id in self.orders:
            raise DuplicateOrder(order_id=order.id)
        traits = order.traits
        if traits is None and self._just_rests(order):
            self.rest(order)
            self.come_last(order)
            return RESTS
        if traits is not None and traits.peg_offset is not None and self.reference is None:
            raise NoReference
        self.link(order)
        if not self.pegs:
            self.pegged_at = self.reference
        cascade = Cascade(self, order, order.priority)
        cascade.enter(order)
        cascade.settle()
        return cascade.placement()

    def cancel(self, order_id: int) -> Order:
        """Take an order out; its `open` says how many lots that cancels. Raises UnknownOrder.

        What a cancellation sets off, for a sibling or a conditional order, is told by `remove`.
        """
        if self.careful:
            return self.remove(order_id).order
        order = self.orders.pop(order_id, None)
        if order is None:
            raise UnknownOrder(order_id=order_id)
        level = order.level
        assert level is not None

        before, after = order.before, order.after
        if before is None:
            level.first = after
        else:
            before.after = after
        if after is None:
            level.last = before
        else:
            after.before = before
        level.quantity -= order.open
        level.count -= 1
        order.level = order.before = order.after = None  # an order kept by others must not keep its neighbours alive
        if level.first is None:
            (self.bids if order.side is BUY else self.asks).drop_level(level)
        return order

    def remove(self, order_id: int, *, priority: int = 0) -> Cancellation:
        """Take an order out, and tell what that set off. Raises UnknownOrder."""
        if not self.careful:
            return Cancellation(self.cancel(order_id), (), ())
        order = self.orders.get(order_id)
        if order is None:
            raise UnknownOrder(order_id=order_id)
        if order.traits is None and not self.links and not self.unseen_bids and not self.unseen_asks:
            self.take_out(order)
            return Cancellation(order, (), ())
        cascade = Cascade(self, order, priority)
        self.take_out(order)
        cascade.end_sibling(order)
        cascade.settle()
        return Cancellation(order, tuple(cascade.fills), tuple(cascade.effects))

    def amend(self, order_id: int, *, price: int, quantity: int, priority: int = 0) -> Amendment:
        """Change an order's price (minor units per lot) and total quantity (lots, those filled included).

        It keeps its place when the price stays and the quantity does not grow. Otherwise it leaves the queue and comes
        back as a new order would: it may trade, and stands behind those already waiting at its price. The price of a
        pegged or a falling order is its own: the one given is ignored. A stop order stays armed.
        Raises UnknownOrder, AmendBelowFilled, or AmendWouldCross for a post-only order; each leaves it as it was.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise UnknownOrder(order_id=order_id)
        filled = order.filled
        if quantity <= filled:
            raise AmendBelowFilled(filled=filled, quantity=quantity)
        assert price > 0
        price_before, open_before = order.price, order.open
        if order.traits is not None and (order.traits.peg_offset is not None or order.traits.decay is not None):
            price = order.price
        keeps_place = price == order.price and quantity <= order.quantity
        if not keeps_place and order.post_only and not self.calling and self.reaches_seen(order.side, price):
            raise AmendWouldCross(order_id=order_id, price=price)

        cascade = Cascade(self, order, priority)
        if keeps_place:
            self.reduce(order, order.quantity - quantity)
            order.quantity = quantity
        else:
            self.take_out(order)
            order.price, order.quantity, order.open = price, quantity, quantity - filled
            order.priority = priority or cascade.next_number()
            if order.traits is not None:
                order.traits.shown = 0
            cascade.enter(order)
        cascade.settle()
        return Amendment(order, keeps_place, price_before, open_before, *cascade.placement())

    def renew(self, order_id: int, expires_at: int) -> list[Order]:
        """Let an order with an end stand until another moment, in its place; gives all that were renewed.

        What is linked to it ends with it, so it is renewed too. Raises UnknownOrder.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise UnknownOrder(order_id=order_id)
        linked = None if order.traits is None else self.orders.get(order.traits.linked_to or 0)
        renewed = [one for one in (order, linked) if one is not None and one.expires_at is not None]
        for one in renewed:
            one.expires_at = expires_at
            self.note_expiry(expires_at, one.id)
        return renewed

    @property
    def next_due(self) -> int | None:
        """When `advance` may next have something to do, in microseconds since the epoch."""
        expiries, steps = self.expiries, self.steps
        if expiries and (not steps or expiries[0][0] <= steps[0][0]):
            return expiries[0][0]
        return steps[0][0] if steps else None

    def is_due(self, now_us: int) -> bool:
        """Whether `advance` may have something to do by this moment."""
        expiries, steps = self.expiries, self.steps
        return bool((expiries and expiries[0][0] <= now_us) or (steps and steps[0][0] <= now_us))

    def due(self, now_us: int) -> list[Order]:
        """The orders whose time has come: those that `advance` would end, and those whose price it would lower."""
        if not self.is_due(now_us):
            return []
        ids = dict.fromkeys(order_id for heap in (self.expiries, self.steps) for at, order_id in heap if at <= now_us)
        return [self.orders[order_id] for order_id in ids if order_id in self.orders]

    def advance(self, now_us: int, *, priority: int = 0) -> Advance:
        """Let time pass up to this moment: orders end at their time, asks fall step by step, in the order of time.

        At one moment orders end first, then prices fall, each by id.
        """
        if not self.is_due(now_us):
            return NOTHING_DUE
        cascade = Cascade(self, None, priority)
        while self.is_due(now_us):
            if self.expiries and (not self.steps or self.expiries[0][0] <= self.steps[0][0]):
                expires_at, order_id = heappop(self.expiries)
                order = self.orders.get(order_id)
                if order is None or order.expires_at != expires_at:
                    continue
                cascade.leave(order, CancelReason.EXPIRED)
            else:
                at, order_id = heappop(self.steps)
                order = self.orders.get(order_id)
                decay = None if order is None or order.traits is None else order.traits.decay
                if order is None or decay is None or decay.next_step_us(order.price) != at:
                    continue
                cascade.fall(order, decay, at)
            cascade.settle()
        return Advance(tuple(cascade.fills), tuple(cascade.effects))

    def indicative(self) -> Indication | None:
        """What an auction would come to now; None when nothing could trade in it."""
        return indicate(self)

    def uncross(self, *, priority: int = 0) -> Auction:
        """End the call with an auction at one price, and go on continuously."""
        return uncross(self, priority)

    def load(self, orders: Iterable[Order]) -> None:
        """Fill an empty book with orders that rested before, at each price in the order they arrived.

        Each comes with the price, quantity, open lots, priority and traits that it had; a book that was calling is set
        to it first. Raises CrossedBook or DuplicateOrder; the book is then half full and must be thrown away.
        """
        assert not self.orders
        for order in orders:
            if order.id in self.orders:
                raise DuplicateOrder(order_id=order.id)
            unseen = order.traits is not None and (order.traits.armed or order.traits.conditional)
            if not unseen and not self.calling and self.reaches_seen(order.side, order.price):
                raise CrossedBook(order_id=order.id)
            assert order.time_in_force in RESTING or (order.traits is not None and order.traits.armed)
            self.rest(order)
        for order in self.orders.values():
            self.link(order)
        self.pegged_at = self.reference

    def depth(self, levels: int) -> tuple[list[DepthLevel], list[DepthLevel]]:
        """What is shown: the best bids and asks, best first, at most so many prices of each."""
        return self.bids.depth(levels), self.asks.depth(levels)

    def level(self, side: Side, price: int) -> DepthLevel | None:
        """What is shown at one price."""
        level = self._level(side, price)
        return None if level is None else DepthLevel(level.price, level.quantity, level.count)

    def ahead_of(self, order_id: int) -> tuple[int, int]:
        """How many orders, and how many lots, are shown before this one: at better prices and at its own.

        Raises UnknownOrder.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise UnknownOrder(order_id=order_id)
        count = lots = 0
        rank = order.price if order.side is BUY else -order.price
        for level in (self.bids if order.side is BUY else self.asks).down_to(rank):
            if level.rank > rank:
                count, lots = count + level.count, lots + level.quantity
                continue
            for other in level:
                if place_in_time(other) >= place_in_time(order):
                    break
                count, lots = count + 1, lots + shown(other)
        return count, lots

    def all_orders(self) -> Iterator[Order]:
        """Every order in the book: those that may trade, then armed stops. Copy before changing the book."""
        yield from self.open_orders()
        yield from self.armed_orders()

    def open_orders(self) -> Iterator[Order]:
        """Those that may trade: bids then asks, best price first, first come first. Copy before changing the book."""
        for ladder, shelf in ((self.bids, self.unseen_bids), (self.asks, self.unseen_asks)):
            seen = (order for level in ladder for order in level)
            unseen = (self.orders[order_id] for _, _, order_id in shelf.keys)
            yield from merge(seen, unseen, key=_in_priority) if shelf else seen

    def armed_orders(self) -> Iterator[Order]:
        """Stop orders that wait for their price: buys from the lowest up, then sells from the highest down."""
        for shelf in (self.armed_buys, self.armed_sells):
            for _, _, order_id in shelf.keys:
                yield self.orders[order_id]

    @property
    def best_bid(self) -> int | None:
        """The highest price shown by a buyer, in minor units per lot."""
        return self.bids.best_price()

    @property
    def best_ask(self) -> int | None:
        """The lowest price shown by a seller, in minor units per lot."""
        return self.asks.best_price()

    def get(self, order_id: int) -> Order | None:
        return self.orders.get(order_id)

    def __len__(self) -> int:
        return len(self.orders)

    def __contains__(self, order_id: int) -> bool:
        return order_id in self.orders

    def _level(self, side: Side, price: int) -> Level | None:
        return self.bids.levels.get(price) if side is BUY else self.asks.levels.get(-price)

    def _just_rests(self, order: Order) -> bool:
        """Whether a plain order meets nobody and sets off nothing, as most do."""
        return (
            order.time_in_force in RESTING
            and not self.calling
            and not self.unseen_bids
            and not self.unseen_asks
            and not self.reaches_seen(order.side, order.price)
        )


def _in_priority(order: Order) -> tuple[int, int, int]:
    return -order.price if order.side is BUY else order.price, order.priority, order.id


def _can_fill_all(taker: Order, other: Ladder, limit: int) -> bool:
    """Whether the orders in reach, up to the first of the taker's own group, are enough for all of it."""
    wanted = taker.open
    for level in other.down_to(limit):
        for maker in level:
            if maker.group_id == taker.group_id or maker.party_id == taker.party_id:
                return False
            wanted -= maker.open
            if wanted <= 0:
                return True
    return False
