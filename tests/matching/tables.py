"""Books drawn as tables: a line for each price, best asks lowest, and each order as `#id lots` in its queue."""

import re
from collections.abc import Sequence
from textwrap import dedent
from typing import Any

from matching.book import Book
from matching.orders import Advance, Effect, Ended, Fill, Order, Side, TimeInForce, Traits


def an_order(order_id: int, words: str, **other: Any) -> Order:
    """An order from words like "buy 4 at 101"; its party and group are its own id unless said otherwise."""
    side, quantity, price = re.fullmatch(r"(buy|sell) (\d+) at (\d+)", words).groups()  # type: ignore[union-attr]
    values = {"party_id": order_id, "group_id": order_id, "quantity": int(quantity), "open": int(quantity)} | other
    return Order(id=order_id, side=Side[side.upper()], price=int(price), **values)


def orders_of(table: str) -> list[Order]:
    orders = []
    for line in dedent(table).strip().splitlines():
        level, queue = line.split("|")
        side, price = level.split()
        for order_id, lots in re.findall(r"#(\d+) (\d+)", queue):
            orders.append(an_order(int(order_id), f"{side} {lots} at {price}"))
    return orders


def a_book(table: str) -> Book:
    book = Book()
    book.load(orders_of(table))
    return book


def drawn(book: Book) -> str:
    """The book as such a table, highest price first, as a trading screen shows it."""
    levels: dict[tuple[str, int], list[str]] = {}
    for order in book.open_orders():
        levels.setdefault((order.side.name.lower(), order.price), []).append(f"#{order.id} {order.open}")
    by_price = sorted(levels.items(), key=lambda item: -item[0][1])
    return "\n".join(f"{side:4} {price} | {', '.join(queue)}" for (side, price), queue in by_price)


def table(text: str) -> str:
    return dedent(text).strip()


def told(fills: tuple[Fill, ...]) -> list[str]:
    return [f"#{fill.maker.id} {fill.quantity} at {fill.price}" for fill in fills]


def happened(effects: Sequence[Effect]) -> list[str]:
    """Effects in words like "ended #3 expired": the kind, the order, and what else it tells."""
    return [
        " ".join([type(effect).__name__.lower(), *(f"#{p.id}" if isinstance(p, Order) else str(p) for p in effect)])
        for effect in effects
    ]


def special(order_id: int, words: str, **other: Any) -> Order:
    """An order as in `an_order`, with its traits by name."""
    traits = {name: other.pop(name) for name in list(other) if name in Traits.__dataclass_fields__}
    return an_order(order_id, words, traits=Traits(**traits), **other)


def ended(advance: Advance) -> list[int]:
    return [effect.order.id for effect in advance.effects if isinstance(effect, Ended)]


IOC = TimeInForce.IOC
FOK = TimeInForce.FOK
GTD = TimeInForce.GTD
DAY = TimeInForce.DAY
