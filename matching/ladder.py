"""One side of the book: its price levels, and in each level the orders in the order they arrived."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice

from matching.orders import DepthLevel, Order


class Level:
    """The queue at one price: a chain of orders, so that one leaves from anywhere in constant time.

    Whoever links and unlinks them keeps `quantity` (lots shown) and `count` (orders) in step.
    """

    __slots__ = ("count", "first", "last", "price", "quantity", "rank")

    def __init__(self, price: int, rank: int) -> None:
        self.price = price
        self.rank = rank
        self.first: Order | None = None
        self.last: Order | None = None
        self.quantity = 0
        self.count = 0

    def __iter__(self) -> Iterator[Order]:
        order = self.first
        while order is not None:
            yield order
            order = order.after


class Ladder:
    """The levels of one side by rank: a bid's price as it is, an ask's negated.

    The higher rank is then the better one on both sides, the best is the last in `ranks`, and an order reaches the
    other side down to the negative of its own rank. Levels live only while an order rests in them.
    """

    __slots__ = ("levels", "ranks")

    def __init__(self) -> None:
        self.ranks: list[int] = []  # ascending
        self.levels: dict[int, Level] = {}

    def __iter__(self) -> Iterator[Level]:
        for rank in reversed(self.ranks):
            yield self.levels[rank]

    def down_to(self, limit: int) -> Iterator[Level]:
        """The levels whose rank is at least this, best first."""
        for rank in reversed(self.ranks):
            if rank < limit:
                return
            yield self.levels[rank]

    def new_level(self, price: int, rank: int) -> Level:
        level = self.levels[rank] = Level(price, rank)
        insort(self.ranks, rank)
        return level

    def drop_level(self, level: Level) -> None:
        del self.levels[level.rank]
        del self.ranks[bisect_left(self.ranks, level.rank)]

    def join(self, order: Order, rank: int, shown: int) -> None:
        """Put an order at the end of the queue at its price, with so many lots to be seen."""
        level = self.levels.get(rank)
        if level is None:
            level = self.new_level(order.price, rank)
        last = level.last
        if last is None:
            level.first = order
        else:
            last.after = order
            order.before = last
        level.last = order
        level.quantity += shown
        level.count += 1
        order.level = level

    def leave(self, order: Order, shown: int) -> None:
        """Take an order out of its queue, of which so many lots could be seen."""
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
        level.quantity -= shown
        level.count -= 1
        order.level = order.before = order.after = None  # an order kept by others must not keep its neighbours alive
        if level.first is None:
            self.drop_level(level)

    def best_price(self) -> int | None:
        return self.levels[self.ranks[-1]].price if self.ranks else None

    def depth(self, levels: int) -> list[DepthLevel]:
        return [DepthLevel(level.price, level.quantity, level.count) for level in islice(self, levels)]


class Shelf:
    """Orders that wait beside a ladder, unseen: their keys by a rank of the shelf's own, then by place in time."""

    __slots__ = ("keys",)

    def __init__(self) -> None:
        self.keys: list[tuple[int, int, int]] = []  # (rank, priority, order id), best first

    def __len__(self) -> int:
        return len(self.keys)

    def put(self, rank: int, order: Order) -> None:
        insort(self.keys, (rank, order.priority, order.id))

    def drop(self, rank: int, order: Order) -> None:
        at = bisect_left(self.keys, (rank, order.priority, order.id))
        assert self.keys[at][2] == order.id
        del self.keys[at]

    def ids_up_to(self, rank: int) -> list[int]:
        """The ids of those whose rank is at most this, best first."""
        return [order_id for _, _, order_id in self.keys[: bisect_left(self.keys, (rank + 1,))]]
