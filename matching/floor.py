"""All that rests in one book, and how an order joins it and leaves it."""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappush, merge

from matching.guard import Guard
from matching.ladder import Ladder, Shelf
from matching.orders import Order, Side
from matching.refusals import UnfitLink

BUY = Side.BUY
BASIS_POINTS = 10_000


class Floor:
    """The ladders that everybody sees, and beside them what waits unseen.

    `careful` says whether a command needs more than plain matching: it is set while the book has a guard or a band,
    while it is calling, and while a special order is in it.
    """

    __slots__ = (
        "_calling",
        "_guard",
        "_special",
        "armed_buys",
        "armed_sells",
        "asks",
        "band_basis_points",
        "bids",
        "careful",
        "expiries",
        "highest",
        "links",
        "lowest",
        "orders",
        "pegged_at",
        "pegs",
        "reference",
        "steps",
        "tick",
        "unseen_asks",
        "unseen_bids",
    )

    def __init__(
        self,
        tick: int = 1,
        reference: int | None = None,
        lowest: int = 1,
        highest: int | None = None,
        band_basis_points: int | None = None,
    ) -> None:
        """The static band is `lowest` to `highest`; the dynamic one is measured from `reference`.

        All but the tick and the basis points are prices in minor units per lot.
        """
        assert tick > 0
        assert lowest > 0
        self.tick = tick
        self.reference = reference  # price of the last trade or auction; before the first, what the market lists
        self.lowest = lowest
        self.highest = highest
        self.band_basis_points = band_basis_points
        self.orders: dict[int, Order] = {}
        self.bids, self.asks = Ladder(), Ladder()
        self.unseen_bids, self.unseen_asks = Shelf(), Shelf()  # conditional orders, by price
        self.armed_buys, self.armed_sells = Shelf(), Shelf()  # stop orders, by stop price
        self.pegs: dict[int, Order] = {}
        self.pegged_at = reference  # the reference that pegged orders were last priced from
        self.links: dict[int, int] = {}  # each way between two siblings
        self.expiries: list[tuple[int, int]] = []  # heap of (expires_at, order id), of orders that left too
        self.steps: list[tuple[int, int]] = []  # heap of (next step of a falling price, order id), likewise
        self._special = 0
        self._calling = False
        self._guard: Guard | None = None
        self._take_care()

    @property
    def calling(self) -> bool:
        """Whether orders are collected for an auction instead of being matched; the book may then be crossed."""
        return self._calling

    @calling.setter
    def calling(self, calling: bool) -> None:
        assert calling or not self.is_crossed(), "a crossed book is uncrossed by an auction"
        self._calling = calling
        self._take_care()

    @property
    def guard(self) -> Guard | None:
        return self._guard

    @guard.setter
    def guard(self, guard: Guard | None) -> None:
        self._guard = guard
        self._take_care()

    @property
    def special_orders(self) -> int:
        """How many orders with traits are in the book: each makes some commands slower, so the caller bounds them."""
        return self._special

    def _take_care(self) -> None:
        self.careful = bool(self._special or self._calling or self._guard or self.band_basis_points is not None)

    def is_crossed(self) -> bool:
        bids, asks = self.bids.ranks, self.asks.ranks
        return bool(bids and asks) and bids[-1] >= -asks[-1]

    def band(self) -> tuple[int, int] | None:
        """The lowest and the highest price at which the dynamic band lets trade, in minor units per lot."""
        if self.band_basis_points is None or self.reference is None:
            return None
        down, up = BASIS_POINTS - self.band_basis_points, BASIS_POINTS + self.band_basis_points
        return -(-self.reference * down // BASIS_POINTS), self.reference * up // BASIS_POINTS

    def rest(self, order: Order) -> None:
        """Put an order where it waits: unseen, or at the end of the queue at its price."""
        traits = order.traits
        if traits is None:
            self._ladder(order).join(order, _rank(order), order.open)
        else:
            self._special += 1
            self._take_care()
            if traits.armed:
                self._armed(order).put(_stop_rank(order), order)
            elif traits.conditional:
                self._unseen(order).put(-_rank(order), order)
            else:
                self.show(order)
            if traits.peg_offset is not None:
                self.pegs[order.id] = order
            self.note_step(order)
        self.orders[order.id] = order
        if order.expires_at is not None:
            self.note_expiry(order.expires_at, order.id)

    def take_out(self, order: Order) -> None:
        """Let an order leave wherever it waits. Its link stays, for whoever knows what its leaving means."""
        del self.orders[order.id]
        traits = order.traits
        if traits is None:
            self._ladder(order).leave(order, order.open)
            return
        self._special -= 1
        self._take_care()
        if traits.armed:
            self._armed(order).drop(_stop_rank(order), order)
        elif traits.conditional:
            self._unseen(order).drop(-_rank(order), order)
        else:
            self.hide(order)
        self.pegs.pop(order.id, None)

    def show(self, order: Order) -> None:
        """Join the ladder; an iceberg without a slice gets a new one."""
        traits = order.traits
        if traits is not None and traits.display is not None:
            traits.shown = min(traits.shown or traits.display, order.open)
        self._ladder(order).join(order, _rank(order), shown(order))

    def come_last(self, order: Order) -> None:
        """Keep places in time in step with the queue that was joined, whatever numbers the caller gave."""
        before = order.before
        if before is not None and place_in_time(order) < place_in_time(before):
            order.priority = before.priority + 1

    def hide(self, order: Order) -> None:
        """Leave the ladder but stay in the book."""
        self._ladder(order).leave(order, shown(order))

    def shrink(self, order: Order, lots: int) -> None:
        """Take lots that traded in turn off an order: an iceberg loses those that it shows."""
        order.open -= lots
        if order.level is not None:
            order.level.quantity -= lots
            if order.traits is not None and order.traits.display is not None:
                order.traits.shown -= lots

    def reduce(self, order: Order, lots: int) -> None:
        """Take lots off an order out of turn: an iceberg first loses those that it hides."""
        before = shown(order)
        order.open -= lots
        if order.traits is not None:
            order.traits.shown = min(order.traits.shown, order.open)
        if order.level is not None:
            order.level.quantity -= before - shown(order)

    def link(self, order: Order) -> None:
        """Tie an order to its sibling, when that is in the book. Raises UnfitLink."""
        sibling_id = None if order.traits is None else order.traits.linked_to
        sibling = None if sibling_id is None else self.orders.get(sibling_id)
        if sibling is None:
            return
        if sibling.party_id != order.party_id or self.links.get(sibling.id, order.id) != order.id:
            raise UnfitLink(order_id=sibling.id)
        self.links[order.id] = sibling.id
        self.links[sibling.id] = order.id

    def unlink(self, order: Order) -> Order | None:
        """Untie an order from its sibling, and give that when it is in the book."""
        sibling_id = self.links.pop(order.id, None)
        if sibling_id is None:
            return None
        del self.links[sibling_id]
        return self.orders.get(sibling_id)

    def in_reach(self, taker: Order) -> Iterator[tuple[int, Iterable[Order]]]:
        """What an order could trade with: each price, best first, with those who wait there, seen or not, by time."""
        ladder, unseen = (self.asks, self.unseen_asks) if taker.side is BUY else (self.bids, self.unseen_bids)
        limit = -_rank(taker)
        beside: dict[int, list[Order]] = {}
        for order_id in unseen.ids_up_to(-limit):
            order = self.orders[order_id]
            beside.setdefault(_rank(order), []).append(order)
        if not beside:
            for level in ladder.down_to(limit):
                yield level.price, level
            return
        ranks = dict.fromkeys(beside) | dict.fromkeys(level.rank for level in ladder.down_to(limit))
        for rank in sorted(ranks, reverse=True):
            yield abs(rank), merge(ladder.levels.get(rank, ()), beside.get(rank, ()), key=place_in_time)

    def reaches_unseen(self, order: Order) -> bool:
        """Whether a conditional order of the other side lies in reach."""
        keys = (self.unseen_asks if order.side is BUY else self.unseen_bids).keys
        return bool(keys) and keys[0][0] <= _rank(order)

    def reaches_seen(self, side: Side, price: int) -> bool:
        """Whether an order of this side at this price would meet anybody on the ladder."""
        best = (self.asks if side is BUY else self.bids).best_price()
        return best is not None and (price >= best if side is BUY else price <= best)

    def note_expiry(self, expires_at: int, order_id: int) -> None:
        """Orders leave without telling the heap; it is swept when most of it is of the past, so it stays bounded."""
        heappush(self.expiries, (expires_at, order_id))
        if len(self.expiries) > 2 * len(self.orders) + 64:
            self.expiries = [(o.expires_at, o.id) for o in self.orders.values() if o.expires_at is not None]
            heapify(self.expiries)

    def note_step(self, order: Order) -> None:
        """Wake a falling price when it is due; swept as the expiries are."""
        at = _next_step_us(order)
        if at is None:
            return
        heappush(self.steps, (at, order.id))
        if len(self.steps) > 2 * self._special + 64:
            due = [(_next_step_us(order), order.id) for order in self.orders.values()]
            self.steps = [(at, order_id) for at, order_id in due if at is not None]
            heapify(self.steps)

    def _ladder(self, order: Order) -> Ladder:
        return self.bids if order.side is BUY else self.asks

    def _unseen(self, order: Order) -> Shelf:
        return self.unseen_bids if order.side is BUY else self.unseen_asks

    def _armed(self, order: Order) -> Shelf:
        return self.armed_buys if order.side is BUY else self.armed_sells


def shown(order: Order) -> int:
    """The lots of an order that can trade before its turn ends: an iceberg's slice, or all."""
    traits = order.traits
    return order.open if traits is None or traits.display is None or traits.conditional else traits.shown


def related(one: Order, other: Order) -> bool:
    """Whether two orders must not trade; the party counts too, for it may have changed groups meanwhile."""
    return one.group_id == other.group_id or one.party_id == other.party_id


def _rank(order: Order) -> int:
    return order.price if order.side is BUY else -order.price


def _stop_rank(order: Order) -> int:
    assert order.traits is not None
    stop_price = order.traits.stop_price
    assert stop_price is not None
    return stop_price if order.side is BUY else -stop_price


def place_in_time(order: Order) -> tuple[int, int]:
    return order.priority, order.id


def _next_step_us(order: Order) -> int | None:
    decay = None if order.traits is None else order.traits.decay
    return None if decay is None else decay.next_step_us(order.price)
