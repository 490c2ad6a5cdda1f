"""What an order would trade with the book as it is, and orders in several books taken together."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matching.book import Book
from matching.cascade import Cascade
from matching.orders import Fill, Order, Placement, Side
from matching.walk import Walk


class Quote(NamedTuple):
    """The fills that an immediate order would get, best first, and what would stop it before it has all."""

    fills: tuple[Fill, ...]
    reason: str | None  # a CancelReason, or the guard's own word; None when nothing more is offered in reach
    band: bool = False  # whether the next trade would leave the dynamic band

    @property
    def lots(self) -> int:
        return sum(fill.quantity for fill in self.fills)


def quote(book: Book, order: Order) -> Quote:
    """Plan what an order that is not in the book would trade; the book stays as it is.

    A guard is told of the fills, so that a quote after this one counts with them: `forget` takes that back.
    """
    if book.calling:
        return Quote((), None)
    walk = Walk(book, order, book.band())
    if not walk.run():
        return Quote((), walk.reason)
    fills = tuple(step for step in walk.steps if isinstance(step, Fill))
    return Quote(fills, walk.reason, walk.breached is not None)


def forget(quotes: Iterable[tuple[Book, Quote]]) -> None:
    """Take quotes back, given in the order in which they were made: no guard counts with them any more."""
    for book, quoted in reversed(list(quotes)):
        if book.guard is None:
            continue
        for maker, taker, _, lots in reversed(quoted.fills):
            sell, buy = (maker, taker) if maker.side is Side.SELL else (taker, maker)
            book.guard.took(sell, buy, -lots)


def take(orders: Sequence[tuple[Book, Order]]) -> list[Placement]:
    """Place orders in several books, each once, and only then let happen what that sets off.

    So each trades exactly what it was quoted, whatever the others trigger. The same guard may watch several books.
    """
    cascades = []
    for book, order in orders:
        if not book.pegs:
            book.pegged_at = book.reference
        cascade = Cascade(book, order, order.priority)
        cascade.enter(order)
        cascades.append(cascade)
    for cascade in cascades:
        cascade.settle()
    return [cascade.placement() for cascade in cascades]
