"""Plays one stream of events through one order book, one call an event, and prints what came of it as JSON.

`driver.py PEER STREAM EVENTS`, run as a script by the interpreter that has the peer installed: only the standard
library and the peer may be imported here. A stream is a file of 4-byte integers: how many orders wait at the start,
then six for each event (kind, id, account, 1 for a buy, price, lots).

An event comes as a program gets it: plain values, in the package's own kinds of side, price and number, which are
made before the clock starts. Whatever object the package wants for an order is made inside the clock, as everybody
has to who uses it, ours included; and where it names orders itself, remembering the name. The answers are kept, and
what traded is counted after the clock stopped. Where a package offers several ways the fastest one is taken, even when
it tells less; a package that tells no trades is played a second time, without the clock, to count them.
"""

import gc
import importlib
import json
import os
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from time import thread_time_ns
from typing import Any, NamedTuple
from uuid import UUID

ADD, CANCEL, TAKE = 0, 1, 2  # to rest, by id, immediate-or-cancel
FIELDS = 6
MOST_ORDERS = 1_000_000  # for a book that wants to know


class Event(NamedTuple):
    kind: int
    id: int
    account: int
    buys: bool
    price: int
    lots: int


Call = tuple[Callable[..., Any], tuple[Any, ...]]
Tally = tuple[int, int]  # lots traded, trades; -1 trades where a package does not tell


class Play(NamedTuple):
    """A stream made ready for a peer: a call for each event, and how to count what traded from the answers."""

    calls: list[Call]
    tally: Callable[[Sequence[Any]], Tally]


def read(path: str, events: int) -> tuple[list[Event], list[Event]]:
    """The orders that wait at the start, and so many of the events that follow."""
    numbers = array("i")
    with open(path, "rb") as stream:  # noqa: PTH123 - the quickest way into an array
        opening = array("i")
        opening.fromfile(stream, 1)
        numbers.fromfile(stream, (opening[0] + events) * FIELDS)
    columns = [numbers[at::FIELDS] for at in range(FIELDS)]
    made = [
        Event(kind, id_, account, buys == 1, *terms) for kind, id_, account, buys, *terms in zip(*columns, strict=True)
    ]
    return made[: opening[0]], made[opening[0] :]


def measure(peer: str, path: str, events: int) -> dict[str, int]:
    """Nanoseconds, lots and trades of so many events. The orders that wait at the start are placed before."""
    opening, stream = read(path, events)
    play = PEERS[peer]([*opening, *stream])
    for call, args in play.calls[: len(opening)]:
        call(*args)
    calls = play.calls[len(opening) :]

    gc.collect()
    gc.freeze()  # what was prepared is nobody's garbage to look through; what a peer makes is still collected
    # The processor's time for this thread, so that what else runs on the machine counts for nobody.
    before_ns = thread_time_ns()
    answers = [call(*args) for call, args in calls]
    elapsed_ns = thread_time_ns() - before_ns
    gc.unfreeze()

    lots, trades = play.tally(answers)
    return {"events": len(calls), "elapsed_ns": elapsed_ns, "traded_lots": lots, "trades": trades}


def surplusflow(events: list[Event]) -> Play:
    from matching.book import Book
    from matching.orders import Order, Side, TimeInForce

    book = Book()
    times = {ADD: TimeInForce.GTC, TAKE: TimeInForce.IOC}

    def place(id_: int, account: int, side: Side, price: int, lots: int, time_in_force: TimeInForce) -> Any:  # noqa: PLR0917 - as the peers get them
        return book.place(Order(id_, account, account, side, price, lots, lots, time_in_force))

    calls: list[Call] = []
    for kind, id_, account, buys, price, lots in events:
        if kind == CANCEL:
            calls.append((book.cancel, (id_,)))
        else:
            side = Side.BUY if buys else Side.SELL
            calls.append((place, (id_, account, side, price, lots, times[kind])))
    return Play(calls, lambda answers: _sum(f.quantity for made in answers for f in getattr(made, "fills", ())))


def litebook(events: list[Event]) -> Play:
    """No IOC, so a taker is a plain limit. It names its orders itself, when they are made."""
    peer = importlib.import_module("litebook")
    book = peer.OrderBook(tick_size=1.0)
    sides = {True: peer.OrderType.Buy, False: peer.OrderType.Sell}
    names: dict[int, str] = {}

    def place(id_: int, side: Any, price: float, lots: float) -> Any:
        order = book.create_order(side, price, lots)
        names[id_] = order.id
        return book.add(order)

    def cancel(id_: int) -> Any:
        return book.cancel(names[id_])

    calls: list[Call] = [
        (cancel, (id_,)) if kind == CANCEL else (place, (id_, sides[buys], float(price), float(lots)))
        for kind, id_, _, buys, price, lots in events
    ]
    return Play(calls, lambda answers: _sum(int(f.quantity) for made in answers if made for f in _list(made)))


def liquibook(events: list[Event]) -> Play:
    """With a listener, as its documentation shows: without one nobody learns what traded."""
    peer = importlib.import_module("liquibook")
    fills: list[int] = []
    calls = _liquibook_calls(peer, _liquibook_telling(peer, fills), events)

    def tally(_: Sequence[Any]) -> Tally:
        return _sum(fills)

    return Play(calls, tally)


def liquibook_silent(events: list[Event]) -> Play:
    """Without the listener, which makes it faster; the second time the listener counts."""
    peer = importlib.import_module("liquibook")

    def tally(_: Sequence[Any]) -> Tally:
        fills: list[int] = []
        for call, args in _liquibook_calls(peer, _liquibook_telling(peer, fills), events):
            call(*args)
        return _sum(fills)

    return Play(_liquibook_calls(peer, peer.DepthOrderBook(), events), tally)


def _liquibook_telling(peer: Any, fills: list[int]) -> Any:
    """A book that notes the lots of each fill."""

    def on_fill(_listener: Any, _taker: Any, _maker: Any, lots: int, _cost: int) -> None:
        fills.append(lots)

    # It wants an answer to everything that it may tell.
    told = {name: lambda *_: None for name in dir(peer.OrderListener) if name.startswith("on_")}
    book = peer.DepthOrderBook()
    book.listener = type("Listener", (peer.OrderListener,), {**told, "on_fill": on_fill})()  # it does not keep it
    book.set_order_listener(book.listener)
    return book


def _liquibook_calls(peer: Any, book: Any, events: list[Event]) -> list[Call]:
    orders: dict[int, Any] = {}
    conditions = {ADD: peer.oc_no_conditions, TAKE: peer.oc_immediate_or_cancel}

    def place(id_: int, buys: bool, price: int, lots: int, condition: Any) -> None:
        orders[id_] = order = peer.SimpleOrder(buys, price, lots, 0, condition)
        book.add(order)

    def cancel(id_: int) -> None:
        book.cancel(orders[id_])

    return [
        (cancel, (event.id,))
        if event.kind == CANCEL
        else (place, (event.id, event.buys, event.price, event.lots, conditions[event.kind]))
        for event in events
    ]


def cython_orderbook(events: list[Event]) -> Play:
    """No IOC. Prices may be any number, and whole ones are the fastest. Its own log tells what traded."""
    return _order_book_of(importlib.import_module("cython_orderbook"), events)


def akhil4n_orderbook(events: list[Event]) -> Play:
    """The same author's book in Python alone."""
    return _order_book_of(importlib.import_module("orderbook"), events)


def _order_book_of(peer: Any, events: list[Event]) -> Play:
    book = peer.OrderBook()
    sides = {True: peer.OrderSide.BID, False: peer.OrderSide.ASK}
    names: dict[int, str] = {}

    def place(id_: int, side: Any, price: int, lots: int) -> None:
        order = peer.Order(side=side, price=price, original_quantity=lots)
        names[id_] = order.order_id
        book.add_limit_order(order)

    def cancel(id_: int) -> None:
        book.cancel_order(names[id_])

    calls: list[Call] = [
        (cancel, (id_,)) if kind == CANCEL else (place, (id_, sides[buys], price, lots))
        for kind, id_, _, buys, price, lots in events
    ]
    return Play(calls, lambda _: _sum(trade.quantity_filled for trade in book.trade_log))


def pyorderbook(events: list[Event]) -> Play:
    """No IOC."""
    peer = importlib.import_module("pyorderbook")
    book = peer.Book()
    sides = {True: peer.bid, False: peer.ask}
    orders: dict[int, Any] = {}

    def place(id_: int, side: Any, price: int, lots: int) -> Any:
        orders[id_] = order = side("X", price, lots)
        return book.match(order)

    def cancel(id_: int) -> None:
        book.cancel(orders[id_])

    calls: list[Call] = [
        (cancel, (id_,)) if kind == CANCEL else (place, (id_, sides[buys], price, lots))
        for kind, id_, _, buys, price, lots in events
    ]
    return Play(calls, lambda answers: _sum(t.fill_quantity for made in answers if made for t in made.trades))


def lightmatchingengine(events: list[Event]) -> Play:
    """No IOC. It numbers its orders from 1 as they come; a trade is told once for each side."""
    engine = importlib.import_module("lightmatchingengine.lightmatchingengine").LightMatchingEngine()
    numbers = _numbered(events)
    calls: list[Call] = [
        (engine.cancel_order, (numbers[id_], "X"))
        if kind == CANCEL
        else (engine.add_order, ("X", price, lots, 1 if buys else 2))
        for kind, id_, _, buys, price, lots in events
    ]

    def tally(answers: Sequence[Any]) -> Tally:
        placed = [made for made in answers if isinstance(made, tuple)]
        return _sum(t.trade_qty for order, trades in placed for t in trades if t.order_id != order.order_id)

    return Play(calls, tally)


def order_matching(events: list[Event]) -> Play:
    """No IOC. To place and to match are two calls, here in one function; a cancel is one.

    Each call looks through the whole book, so the orders that wait at the start are put into it directly.
    """
    engine_module = importlib.import_module("order_matching.matching_engine")
    peer = importlib.import_module("order_matching.order")
    enums = importlib.import_module("order_matching.enums")
    many = importlib.import_module("order_matching.orders").Orders
    importlib.import_module("loguru").logger.disable("order_matching")
    engine, now = engine_module.MatchingEngine(seed=1), datetime(2026, 1, 1)  # noqa: DTZ001 - as it documents
    sides = {True: enums.Side.BUY, False: enums.Side.SELL}

    def order_of(id_: str, account: str, side: Any, price: float, lots: float) -> Any:
        return peer.LimitOrder(side=side, price=price, size=lots, timestamp=now, order_id=id_, trader_id=account)

    def place(*terms: Any) -> Any:
        engine.place(many([order_of(*terms)]))
        return engine.match(now)

    calls: list[Call] = []
    waiting = True
    for kind, id_, account, buys, price, lots in events:
        waiting = waiting and kind == ADD
        if kind == CANCEL:
            calls.append((engine.cancel_order, (str(id_),)))
        else:
            terms = (str(id_), str(account), sides[buys], float(price), float(lots))
            calls.append((engine.unprocessed_orders.append, (order_of(*terms),)) if waiting else (place, terms))
    return Play(calls, lambda answers: _sum(int(t.size) for made in answers if made for t in made.trades))


def nanobook(events: list[Event]) -> Play:
    """It numbers its orders from 1 as they come. Its own log tells what traded.

    Once a partly filled order is cancelled, its level keeps lots that are not there; the taker that meets them next
    never returns. So only a stream too short for that can be played.
    """
    exchange = importlib.import_module("nanobook").Exchange()
    numbers = _numbered(events)
    calls: list[Call] = []
    for kind, id_, _, buys, price, lots in events:
        if kind == CANCEL:
            calls.append((exchange.cancel, (numbers[id_],)))
        else:
            terms: tuple[Any, ...] = ("buy" if buys else "sell", price, lots)
            calls.append((exchange.submit_limit, terms if kind == ADD else (*terms, "ioc")))
    return Play(calls, lambda _: _sum(trade.quantity for trade in exchange.trades()))


def limit_order_book(events: list[Event]) -> Play:
    """No IOC, and it tells no trades: the second time the lots in the book are counted after each event."""
    peer = importlib.import_module("limit_order_book")

    def calls_of(book: Any) -> list[Call]:
        return [
            (book.cancel, (id_,))
            if kind == CANCEL
            else (book.limit_buy if buys else book.limit_sell, (id_, lots, price))
            for kind, id_, _, buys, price, lots in events
        ]

    def tally(_: Sequence[Any]) -> Tally:
        book = peer.LimitOrderBook()
        traded = before = 0
        for event, (call, args) in zip(events, calls_of(book), strict=True):
            call(*args)
            after = book.volume()
            if event.kind != CANCEL:
                traded += (before + event.lots - after) // 2  # what trades leaves both sides
            before = after
        return traded, -1

    return Play(calls_of(peer.LimitOrderBook()), tally)


def orderly_chaos(events: list[Event]) -> Play:
    """No IOC with a price. A placed order's answer is how many lots of it traded at once."""
    peer = importlib.import_module("orderly_chaos")
    book = peer.LimitOrderBook()
    sides = {True: peer.Side.BUY, False: peer.Side.SELL}
    calls: list[Call] = [
        (book.cancel, (id_,)) if kind == CANCEL else (book.limit, (sides[buys], id_, lots, price))
        for kind, id_, _, buys, price, lots in events
    ]
    return Play(calls, lambda answers: (sum(filled for filled in answers if filled), -1))


def obook(events: list[Event]) -> Play:
    """It numbers its orders from 1 as they come. What it tells of trades is only right when asked after each call."""
    peer = importlib.import_module("obook")
    numbers = _numbered(events)
    owners = {event.id: event.account for event in events if event.kind != CANCEL}

    def calls_of(book: Any) -> list[Call]:
        calls: list[Call] = []
        for kind, id_, account, buys, price, lots in events:
            if kind == CANCEL:
                calls.append((book.cancel, (numbers[id_], owners[id_])))
            else:
                terms = (account, peer.BUY if buys else peer.SELL, price, lots, peer.LIMIT)
                calls.append((book.submit, (*terms, peer.IOC if kind == TAKE else peer.GTC)))
        return calls

    def tally(_: Sequence[Any]) -> Tally:
        book = peer.Book(max_orders=MOST_ORDERS)
        trades = []
        for call, args in calls_of(book):
            call(*args)
            trades += [told.qty for told in book.events() if told.kind == peer.EventKind.TRADE]
        return _sum(trades)

    return Play(calls_of(peer.Book(max_orders=MOST_ORDERS)), tally)


def pylobo(events: list[Event]) -> Play:
    """No IOC. It names an order when it comes to rest, so that its caller must remember the name."""
    peer = importlib.import_module("lobo")
    kinds = importlib.import_module("lobo.orders")
    sides = {True: kinds.Side.Buy, False: kinds.Side.Sell}
    names: dict[int, Any] = {}

    def calls_of(book: Any, *reports: Any) -> list[Call]:
        def place(id_: int, price: int, lots: int, owner: UUID, side: Any) -> Any:
            made = book.fill(kinds.LimitOrder(price, lots, owner, side), *reports)
            names[id_] = made.remaining_order_id
            return made

        def cancel(id_: int) -> None:
            book.cancel(names[id_])

        return [
            (cancel, (id_,)) if kind == CANCEL else (place, (id_, price, lots, UUID(int=account + 1), sides[buys]))
            for kind, id_, account, buys, price, lots in events
        ]

    def tally(_: Sequence[Any]) -> Tally:
        again = calls_of(peer.Book(update_user_map=False), peer.Reports(include_fills=True))
        answers = [call(*args) for call, args in again]
        return _sum(f.fill_quantity for made in answers if made and made.report for f in made.report.fills or ())

    return Play(calls_of(peer.Book(update_user_map=False)), tally)


def fastlob(events: list[Event]) -> Play:
    """No IOC. It names an order when it is processed, so that its caller must remember the name."""
    peer = importlib.import_module("fastlob")
    book = peer.Orderbook()
    book.start()
    sides = {True: peer.OrderSide.BID, False: peer.OrderSide.ASK}
    names: dict[int, str] = {}

    def place(id_: int, side: Any, price: int, lots: int) -> Any:
        made = book.process(peer.OrderParams(side, price, lots))
        names[id_] = made.orderid()
        return made

    def cancel(id_: int) -> None:
        book.cancel(names[id_])

    calls: list[Call] = [
        (cancel, (id_,)) if kind == CANCEL else (place, (id_, sides[buys], price, lots))
        for kind, id_, _, buys, price, lots in events
    ]

    def tally(answers: Sequence[Any]) -> Tally:
        book.stop()
        took = [made for made in answers if made and made.kind().name.endswith("MARKET")]
        return sum(int(sum(made.execprices().values())) for made in took), -1

    return Play(calls, tally)


def manticore_orderbook(events: list[Event]) -> Play:
    """Its log, silenced here, is the larger part of its time otherwise."""
    peer = importlib.import_module("manticore_orderbook")
    importlib.import_module("logging").disable()
    book = peer.OrderBook("X", max_trade_history=len(events) * 10, enable_logging=False)
    calls: list[Call] = []
    for kind, id_, _, buys, price, lots in events:
        if kind == CANCEL:
            calls.append((book.cancel_order, (str(id_),)))
        else:
            terms = ("buy" if buys else "sell", price, lots, str(id_), "IOC" if kind == TAKE else "GTC")
            calls.append((book.add_order, terms))
    return Play(calls, lambda _: _sum(int(t["quantity"]) for t in book.get_trade_history(len(events) * 10)))


def _numbered(events: list[Event]) -> dict[int, int]:
    """The number that a book gives to each order when it counts them from 1 as they come."""
    placed = [event.id for event in events if event.kind != CANCEL]
    return {id_: number for number, id_ in enumerate(placed, start=1)}


def _list(answer: Any) -> Sequence[Any]:
    """The fills, where a cancel answers with a mere yes."""
    return () if answer is True else answer


def _sum(lots: Iterable[int]) -> Tally:
    made = list(lots)
    return sum(made), len(made)


PEERS: dict[str, Callable[[list[Event]], Play]] = {
    "surplusflow": surplusflow,
    "nanobook": nanobook,
    "limit_order_book": limit_order_book,
    "orderly_chaos": orderly_chaos,
    "litebook": litebook,
    "liquibook": liquibook,
    "liquibook_silent": liquibook_silent,
    "cython_orderbook": cython_orderbook,
    "pylobo": pylobo,
    "pyorderbook": pyorderbook,
    "akhil4n_orderbook": akhil4n_orderbook,
    "obook": obook,
    "lightmatchingengine": lightmatchingengine,
    "fastlob": fastlob,
    "manticore_orderbook": manticore_orderbook,
    "order_matching": order_matching,
}


def main() -> None:
    peer, path, events = sys.argv[1:]
    print(json.dumps(measure(peer, path, int(events))), flush=True)  # noqa: T201 - it is there to say it
    os._exit(0)  # some peers leave threads behind that would never end


if __name__ == "__main__":
    main()
