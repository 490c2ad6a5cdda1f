"""The book of one instrument: continuous matching by price, then time, at the resting order's price."""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from matching.ladder import Ladder
from matching.orders import Amendment, CancelReason, DepthLevel, Fill, Order, OrderState, Placement, Side, TimeInForce
from matching.refusals import AmendBelowFilled, AmendWouldCross, CrossedBook, DuplicateOrder, UnknownOrder

# Looking a member up on its enumeration costs as much as a step of matching, so each is named once here.
BUY = Side.BUY
IOC = TimeInForce.IOC
FOK = TimeInForce.FOK
OPEN = OrderState.OPEN
FILLED = OrderState.FILLED
CANCELLED = OrderState.CANCELLED

# What most placements come to: no fill, so nothing of their own to tell.
RESTS = Placement((), OPEN, None)
NONE_IN_REACH = Placement((), CANCELLED, CancelReason.IOC_REMAINDER)
NOT_ALL_FILLABLE = Placement((), CANCELLED, CancelReason.FOK_UNFILLED)
WOULD_CROSS = Placement((), CANCELLED, CancelReason.POST_ONLY_WOULD_CROSS)


class Book:
    """Never crossed between calls. It has no clock: call `expired` before each command, with the command's time.

    An order joins its queue in `place` and leaves it in `_match` or `cancel`, and nowhere else. The three steps are
    written out there: as methods of the queue they cost about a twentieth of the book's speed.
    """

    __slots__ = ("_asks", "_bids", "_expiries", "_orders")

    def __init__(self) -> None:
        self._bids = Ladder()
        self._asks = Ladder()
        self._orders: dict[int, Order] = {}
        self._expiries: list[tuple[int, int]] = []  # heap of (expires_at, order id), of orders that left too

    def place(self, order: Order) -> Placement:
        """Match the order with the other side, then let what remains rest or cancel it. Raises DuplicateOrder."""
        orders = self._orders
        if order.id in orders:
            raise DuplicateOrder(order_id=order.id)
        if order.side is BUY:
            own, other, rank = self._bids, self._asks, order.price
        else:
            own, other, rank = self._asks, self._bids, -order.price

        placement = RESTS
        if other.ranks and other.ranks[-1] >= -rank:
            placement = self._take(order, other, -rank)
            if placement.state is not OPEN:
                return placement
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
            self._note_expiry(order.expires_at, order.id)
        return placement

    def _take(self, order: Order, other: Ladder, limit: int) -> Placement:
        """What becomes of an order that can trade at once."""
        if order.post_only:
            return WOULD_CROSS
        if order.time_in_force is FOK and not _can_fill_all(order, other, limit):
            return NOT_ALL_FILLABLE

        fills = self._match(order, other, limit)

        if not order.open:
            return Placement(fills, FILLED, None)
        if other.ranks and other.ranks[-1] >= limit:  # something in reach was left: an order of the taker's own group
            return Placement(fills, CANCELLED, CancelReason.SELF_TRADE)
        if order.time_in_force is IOC:
            return Placement(fills, CANCELLED, CancelReason.IOC_REMAINDER)
        return Placement(fills, OPEN, None)

    def _match(self, taker: Order, other: Ladder, limit: int) -> tuple[Fill, ...]:
        """Best price first, first come first, until the taker is filled, out of reach, or meets its own group."""
        fills: list[Fill] = []
        ranks, levels, orders = other.ranks, other.levels, self._orders
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
        return tuple(fills)

    def cancel(self, order_id: int) -> Order:
        """Take a resting order out; its `open` says how many lots that cancels. Raises UnknownOrder."""
        order = self._orders.pop(order_id, None)
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
            (self._bids if order.side is BUY else self._asks).drop_level(level)
        return order

    def amend(self, order_id: int, *, price: int, quantity: int) -> Amendment:
        """Change an order's price (minor units per lot) and total quantity (lots, those filled included).

        It keeps its place when the price stays and the quantity does not grow. Otherwise it leaves the queue and comes
        back as a new order would: it may trade, and stands behind those already waiting at its price.
        Raises UnknownOrder, AmendBelowFilled, or AmendWouldCross for a post-only order; each leaves it as it was.
        """
        order = self._orders.get(order_id)
        if order is None:
            raise UnknownOrder(order_id=order_id)
        filled = order.filled
        if quantity <= filled:
            raise AmendBelowFilled(filled=filled, quantity=quantity)
        assert price > 0
        price_before, open_before = order.price, order.open

        if price == order.price and quantity <= order.quantity:
            level = order.level
            assert level is not None
            level.quantity -= order.quantity - quantity
            order.quantity, order.open = quantity, quantity - filled
            return Amendment(order, True, price_before, open_before, *RESTS)

        if order.post_only and self._reaches(order.side, price):
            raise AmendWouldCross(order_id=order_id, price=price)
        self.cancel(order_id)
        order.price, order.quantity, order.open = price, quantity, quantity - filled
        return Amendment(order, False, price_before, open_before, *self.place(order))

    def expired(self, now_us: int) -> list[Order]:
        """Take out the orders whose time has come (microseconds since the epoch), by expiry time, then by id."""
        gone = []
        while self._expiries and self._expiries[0][0] <= now_us:
            expires_at, order_id = heappop(self._expiries)
            order = self._orders.get(order_id)
            if order is not None and order.expires_at == expires_at:
                gone.append(self.cancel(order_id))
        return gone

    def load(self, orders: Iterable[Order]) -> None:
        """Fill an empty book with orders that rested before, at each price in the order they arrived.

        Raises CrossedBook or DuplicateOrder; the book is then half full and must be thrown away.
        """
        assert not self._orders
        for order in orders:
            if self._reaches(order.side, order.price):
                raise CrossedBook(order_id=order.id)
            placement = self.place(order)
            assert placement is RESTS

    def depth(self, levels: int) -> tuple[list[DepthLevel], list[DepthLevel]]:
        """The best bids and asks, best first, at most so many prices of each."""
        return self._bids.depth(levels), self._asks.depth(levels)

    def open_orders(self) -> Iterator[Order]:
        """Every resting order: bids then asks, best price first, first come first. Copy before changing the book."""
        for ladder in (self._bids, self._asks):
            for level in ladder:
                yield from level

    @property
    def best_bid(self) -> int | None:
        return self._bids.best_price()

    @property
    def best_ask(self) -> int | None:
        return self._asks.best_price()

    def get(self, order_id: int) -> Order | None:
        return self._orders.get(order_id)

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, order_id: int) -> bool:
        return order_id in self._orders

    def _reaches(self, side: Side, price: int) -> bool:
        best = self.best_ask if side is BUY else self.best_bid
        return best is not None and (price >= best if side is BUY else price <= best)

    def _note_expiry(self, expires_at: int, order_id: int) -> None:
        """Orders leave without telling the heap; it is swept when most of it is of the past, so it stays bounded."""
        heappush(self._expiries, (expires_at, order_id))
        if len(self._expiries) > 2 * len(self._orders) + 64:
            self._expiries = [(o.expires_at, o.id) for o in self._orders.values() if o.expires_at is not None]
            heapify(self._expiries)


def _can_fill_all(taker: Order, other: Ladder, limit: int) -> bool:
    """Whether the orders in reach, up to the first of the taker's own group, are enough for all of it."""
    wanted = taker.open
    for level in other:
        if level.rank < limit:
            break
        for maker in level:
            if maker.group_id == taker.group_id or maker.party_id == taker.party_id:
                return False
            wanted -= maker.open
            if wanted <= 0:
                return True
    return False
