"""How many events a second one core matches in pure Python, and beside it every order-book package that can be had.

A fixed, seeded stream, one call of the book for each event.
"""

import gc
import random
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from matching.book import Book
from matching.orders import Order, Side, TimeInForce
from web.bench import peers

ACCOUNTS = 10_000
LOWEST, HIGHEST = 1, 1_000  # the band, at a tick of 1
RESTING_AT_START = 10_000
ADDS, CANCELS = 0.5, 0.4  # of all events; the rest takes what the other side offers
DRIFT = 0.01  # how often the middle moves by a tick
REACH = 100  # how far beyond the middle a taker's protection price lies: far enough to be filled whole
MOST_LOTS = 10
MOST_LOTS_TAKEN = 8  # a little less, for a book that stays deep
TIMED_CALLS = 100_000  # how many events are also timed one by one

Event = Order | int  # an order to place, or the id of the order to cancel
NANOSECONDS = 1_000_000_000


def run(events: int = 1_000_000, seed: int = 1, *, beside: bool = True) -> tuple[dict[str, Any], dict[str, float]]:
    """The figures of one stream, drawn before the clock starts, and the ratios to other books if `beside` them.

    A call's time includes the clock's own.
    """
    opening, stream = draw(events, seed)

    book = a_book(opening)
    elapsed_ns, trades, traded_lots = match_all(book, fresh(stream))
    times_ns = sorted(match_each(a_book(opening), fresh(stream[:TIMED_CALLS])))

    figures: dict[str, Any] = {
        "events": events,
        "events_per_second": events * NANOSECONDS // elapsed_ns,
        "cancels": sum(isinstance(event, int) for event in stream),
        "trades": trades,
        "traded_lots": traded_lots,
        "open_orders_at_end": len(book),
        "p50_ns": times_ns[len(times_ns) // 2],
        "p99_ns": times_ns[len(times_ns) * 99 // 100],
    }
    if not beside:
        return figures, {}
    with tempfile.TemporaryDirectory(prefix="surplusflow-bench-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "stream"
        peers.write(path, len(opening), map(as_row, [*opening, *stream]))
        peer_figures, ratios = peers.compare(path, events, Path(folder))
    return figures | peer_figures, ratios


def draw(events: int, seed: int) -> tuple[list[Order], list[Event]]:
    """The orders that wait at the start, and the events that follow."""
    crowd = Crowd(seed)
    return [crowd.add() for _ in range(RESTING_AT_START)], [crowd.event() for _ in range(events)]


def as_row(event: Event) -> Iterable[int]:
    """An event as it stands in a stream's file."""
    if isinstance(event, int):
        return peers.CANCEL, event, 0, 0, 0, 0
    kind = peers.TAKE if event.time_in_force is TimeInForce.IOC else peers.ADD
    return kind, event.id, event.party_id, event.side is Side.BUY, event.price, event.quantity


def match_all(book: Book, stream: Sequence[Event]) -> tuple[int, int, int]:
    """Nanoseconds for the whole stream, the trades made, and their lots."""
    place, cancel = book.place, book.cancel
    tape = []
    gc.collect()
    gc.freeze()  # what was prepared is not the book's garbage to look through; its own is still collected
    started_at_ns = perf_counter_ns()
    for event in stream:
        if isinstance(event, int):
            cancel(event)
        elif fills := place(event).fills:
            tape.append(fills)
    elapsed_ns = perf_counter_ns() - started_at_ns
    gc.unfreeze()
    return elapsed_ns, sum(map(len, tape)), sum(fill.quantity for fills in tape for fill in fills)


def match_each(book: Book, stream: Sequence[Event]) -> list[int]:
    """Nanoseconds for each event."""
    times_ns = []
    for event in stream:
        started_at_ns = perf_counter_ns()
        if isinstance(event, int):
            book.cancel(event)
        else:
            book.place(event)
        times_ns.append(perf_counter_ns() - started_at_ns)
    return times_ns


def a_book(opening: Sequence[Order]) -> Book:
    book = Book()
    for order in opening:
        book.place(copy_of(order))
    return book


def fresh(stream: Sequence[Event]) -> list[Event]:
    """The same events with orders that no book has touched."""
    return [event if isinstance(event, int) else copy_of(event) for event in stream]


class Crowd:
    """Draws events around a drifting middle.

    Each is tried on a book of its own, so that every cancel names an order that will then be open.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.middle = (LOWEST + HIGHEST) // 2
        self.book = Book()
        self.open_ids: list[int] = []
        self.last_id = 0

    def event(self) -> Event:
        if self.draw.random() < DRIFT:
            self.middle = min(max(self.middle + self.draw.choice((-1, 1)), LOWEST + 300), HIGHEST - 300)
        kind = self.draw.random()
        if kind < ADDS:
            return self.add()
        if kind < ADDS + CANCELS:
            return self.cancel()
        return self.take()

    def add(self) -> Order:
        """An order that waits: most near the middle, some far away."""
        distance = 1 + int(self.draw.expovariate(1 / 40))
        side = self.draw.choice((Side.BUY, Side.SELL))
        price = self.middle - distance if side is Side.BUY else self.middle + distance
        order = self.order(side, min(max(price, LOWEST), HIGHEST), MOST_LOTS, TimeInForce.GTC)
        self.open_ids.append(order.id)
        return order

    def take(self) -> Order:
        side = self.draw.choice((Side.BUY, Side.SELL))
        return self.order(side, self.middle + (REACH if side is Side.BUY else -REACH), MOST_LOTS_TAKEN, TimeInForce.IOC)

    def cancel(self) -> Event:
        while self.open_ids:
            at = self.draw.randrange(len(self.open_ids))
            self.open_ids[at], self.open_ids[-1] = self.open_ids[-1], self.open_ids[at]
            order_id = self.open_ids.pop()
            if order_id in self.book:
                self.book.cancel(order_id)
                return order_id
        return self.add()

    def order(self, side: Side, price: int, most_lots: int, time_in_force: TimeInForce) -> Order:
        # Buyers have the even accounts and sellers the odd ones: not every book knows that nobody trades with himself.
        self.last_id += 1
        account = self.draw.randrange(ACCOUNTS // 2) * 2 + (side is Side.SELL)
        lots = self.draw.randint(1, most_lots)
        order = Order(self.last_id, account, account, side, price, lots, lots, time_in_force)
        self.book.place(copy_of(order))
        return order


def copy_of(order: Order) -> Order:
    """The order before anything happened to it."""
    terms = (order.side, order.price, order.quantity, order.quantity, order.time_in_force)
    return Order(order.id, order.party_id, order.group_id, *terms)
