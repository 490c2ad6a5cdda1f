"""One side of the book: its price levels, and in each level the orders in the order they arrived."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice

from matching.orders import DepthLevel, Order


class Level:
    """The queue at one price: a chain of orders, so that one leaves from anywhere in constant time.

    The book links and unlinks them, and keeps `quantity` (lots) and `count` (orders) in step.
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

    def new_level(self, price: int, rank: int) -> Level:
        level = self.levels[rank] = Level(price, rank)
        insort(self.ranks, rank)
        return level

    def drop_level(self, level: Level) -> None:
        del self.levels[level.rank]
        del self.ranks[bisect_left(self.ranks, level.rank)]

    def best_price(self) -> int | None:
        return self.levels[self.ranks[-1]].price if self.ranks else None

    def depth(self, levels: int) -> list[DepthLevel]:
        return [DepthLevel(level.price, level.quantity, level.count) for level in islice(self, levels)]
