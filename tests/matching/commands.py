"""Commands in plain values, drawn at random, and a run that gives each one to our book and to the reference."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from matching.book import Book
from matching.orders import Fill, Order, OrderState, Side, TimeInForce
from matching.refusals import Refusal
from tests.matching.reference import Entry, Outcome, ReferenceBook


@dataclass(frozen=True)
class Place:
    party: int
    group: int
    buys: bool
    price: int
    quantity: int
    time_in_force: str = "gtc"
    post_only: bool = False
    life: int = 1  # how far ahead a good-till-date order expires


@dataclass(frozen=True)
class Cancel:
    order_id: int


@dataclass(frozen=True)
class Amend:
    order_id: int
    price: int
    quantity: int


@dataclass(frozen=True)
class Wait:
    duration: int


Command = Place | Cancel | Amend | Wait


class Disagreement(AssertionError):
    """Our book did something the rules do not allow."""


def agree(what: str, ours: object, expected: object) -> None:
    if ours != expected:
        raise Disagreement(f"{what}: {ours} is not {expected}")


@dataclass
class Run:
    """Both books, and each order ever placed with the lots it has filled and cancelled so far."""

    book: Book
    reference: ReferenceBook = field(default_factory=ReferenceBook)
    orders: dict[int, Order] = field(default_factory=dict)
    filled: dict[int, int] = field(default_factory=dict)
    cancelled: dict[int, int] = field(default_factory=dict)
    trace: list[object] = field(default_factory=list)
    now: int = 0

    def all(self, commands: Iterable[Command]) -> list[object]:
        for command in commands:
            self.one(command)
        return self.trace

    def one(self, command: Command) -> None:
        ours: object
        expected: object
        match command:
            case Place():
                ours, expected = self.place(command)
            case Cancel(order_id):
                ours, expected = self.cancel(order_id), self.reference.cancel(order_id)
            case Amend(order_id, price, quantity):
                ours, expected = self.amend(command), self.reference.amend(order_id, price, quantity)
            case Wait(duration):
                self.now += duration
                ours, expected = self.expire(), self.reference.expired(self.now)
        agree(f"answer to {command}", ours, expected)
        self.trace.append(ours)
        self.check()

    def place(self, command: Place) -> tuple[Outcome, Outcome]:
        order_id = len(self.orders) + 1
        side = Side.BUY if command.buys else Side.SELL
        expires_at = self.now + command.life if command.time_in_force == "gtd" else None
        terms = (command.price, command.quantity, command.quantity)
        last = (command.post_only, expires_at)
        who = (order_id, command.party, command.group)
        order = self.orders[order_id] = Order(*who, side, *terms, TimeInForce(command.time_in_force), *last)
        entry = Entry(*who, command.buys, *terms, command.time_in_force, *last)

        placement = self.book.place(order)

        return self.outcome(order, placement.fills, placement.state, placement.reason), self.reference.place(entry)

    def cancel(self, order_id: int) -> int | None:
        try:
            order = self.book.cancel(order_id)
        except Refusal:
            return None
        self.cancelled[order_id] = order.open
        return order.open

    def amend(self, command: Amend) -> tuple[bool, Outcome] | str:
        before = self.resting()
        try:
            result = self.book.amend(command.order_id, price=command.price, quantity=command.quantity)
        except Refusal as refusal:
            agree("the book after a refusal", self.resting(), before)
            return refusal.code
        was = next(row for row in before if row[0] == command.order_id)
        agree("what the order was", (command.order_id, result.price_before, result.open_before), was)
        return result.kept_place, self.outcome(result.order, result.fills, result.state, result.reason)

    def expire(self) -> list[int]:
        gone = self.book.expired(self.now)
        self.cancelled |= {order.id: order.open for order in gone}
        return [order.id for order in gone]

    def outcome(self, taker: Order, fills: Sequence[Fill], state: OrderState, reason: str | None) -> Outcome:
        """The answer in plain values, counted, and checked against what the taker and its makers asked for."""
        for fill in fills:
            maker = fill.maker
            agree("the taker", fill.taker, taker)
            agree("sides that meet", {maker.side, taker.side}, {Side.BUY, Side.SELL})
            agree("group and party apart", maker.group_id == taker.group_id or maker.party_id == taker.party_id, False)
            agree("the maker's price", fill.price, maker.price)
            within = fill.price <= taker.price if taker.side is Side.BUY else fill.price >= taker.price
            agree("within the taker's limit", within, True)
            for order in (maker, taker):
                self.filled[order.id] = self.filled.get(order.id, 0) + fill.quantity
        if state is OrderState.CANCELLED:
            self.cancelled[taker.id] = taker.open
        return state.value, reason, [(fill.maker.id, fill.taker.id, fill.price, fill.quantity) for fill in fills]

    def check(self) -> None:
        """What holds after every command."""
        agree("the book", self.resting(), self.reference.in_priority())
        self.check_counts()
        self.check_depth()
        bid, ask = self.book.best_bid, self.book.best_ask
        agree("not crossed", bid is None or ask is None or bid < ask, True)

    def check_counts(self) -> None:
        agree("orders counted", len(self.book), len(self.resting()))
        for order_id, order in self.orders.items():
            filled, cancelled = self.filled.get(order_id, 0), self.cancelled.get(order_id, 0)
            resting = order.open if order_id in self.book else 0
            agree("one of open and cancelled", resting and cancelled, 0)
            agree("filled + cancelled + open", filled + cancelled + resting, order.quantity)
            agree("filled", order.filled, filled)
            agree("found", self.book.get(order_id), order if order_id in self.book else None)

    def check_depth(self) -> None:
        bids, asks = self.book.depth(1_000)
        shown = [tuple(level) for level in bids + asks]
        summed = []
        for price, level in groupby(self.book.open_orders(), key=lambda order: order.price):
            lots = [order.open for order in level]
            summed.append((price, sum(lots), len(lots)))
        agree("depth", shown, summed)
        agree("best prices", (self.book.best_bid, self.book.best_ask), (_first_price(bids), _first_price(asks)))
        agree("the top of the depth", self.book.depth(1), (bids[:1], asks[:1]))

    def resting(self) -> list[tuple[int, int, int]]:
        return [(order.id, order.price, order.open) for order in self.book.open_orders()]


def _first_price(levels: Sequence[tuple[int, int, int]]) -> int | None:
    return levels[0][0] if levels else None


def random_commands(count: int, seed: int) -> list[Command]:
    """A crowded little market: few prices, few parties in fewer groups, every kind of order."""
    draw = random.Random(seed)
    commands: list[Command] = []
    placed: list[Place] = []
    for _ in range(count):
        kind = draw.random()
        order_id = draw.randint(max(1, len(placed) - 20), len(placed) + 1)
        if kind < 0.65 or not placed:
            placed.append(random_place(draw))
            commands.append(placed[-1])
        elif kind < 0.75:
            commands.append(Cancel(order_id))
        elif kind < 0.95:
            price = placed[min(order_id, len(placed)) - 1].price if draw.random() < 0.6 else draw.randint(1, 9)
            commands.append(Amend(order_id, price, draw.randint(1, 9)))
        else:
            commands.append(Wait(draw.randint(0, 5)))
    return commands


def random_place(draw: random.Random) -> Place:
    party = draw.randint(1, 9)
    group = party % 6 if draw.random() < 0.9 else draw.randint(0, 5)  # now and then a party has changed groups
    buys = draw.random() < 0.5
    price = draw.randint(1, 6) if buys else draw.randint(4, 9)
    time_in_force = draw.choice(["gtc", "gtc", "gtc", "gtd", "gtd", "ioc", "fok"])
    return Place(party, group, buys, price, draw.randint(1, 9), time_in_force, draw.random() < 0.15, draw.randint(1, 8))


def fingerprint(count: int, seed: int) -> str:
    """The whole trace of a run, and the book it leaves, as text."""
    run = Run(Book())
    run.all(random_commands(count, seed))
    return repr((run.trace, run.resting()))
