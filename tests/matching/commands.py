"""Commands in plain values, drawn at random, and a run that gives each one to our book and to the reference."""

import random
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import groupby

from matching.book import Book
from matching.floor import shown
from matching.orders import (
    Breached,
    Decay,
    Effect,
    Ended,
    Fill,
    Order,
    OrderState,
    Reduced,
    Repriced,
    Requeued,
    SelfTrade,
    Side,
    Skipped,
    TimeInForce,
    Traits,
    Triggered,
)
from matching.refusals import Refusal
from tests.matching import reference as obvious
from tests.matching.limits import Limits
from tests.matching.reference import Entry, ReferenceBook

NUMBERS = 1024  # between two commands' places in time
RESTING = ("gtc", "gtd", "day")


@dataclass(frozen=True)
class Place:
    party: int
    group: int
    buys: bool
    price: int  # ticks, as all prices here
    quantity: int
    time_in_force: str = "gtc"
    post_only: bool = False
    life: int = 1  # how far ahead a good-till-date order expires
    self_trade: str = "cancel_newest"
    display: int | None = None
    minimum: int | None = None
    all_or_none: bool = False
    stop: int | None = None
    peg: int | None = None
    falls: tuple[int, int, int] | None = None  # how far, by how much at a time, how often
    linked_to: int | None = None  # which order, counted from 1

    @property
    def plain(self) -> bool:
        special = (self.display, self.minimum, self.stop, self.peg, self.falls, self.linked_to)
        return not self.all_or_none and all(value is None for value in special)


@dataclass(frozen=True)
class Cancel:
    order: int  # counted from 1, as it was placed


@dataclass(frozen=True)
class Amend:
    order: int
    price: int
    quantity: int


@dataclass(frozen=True)
class Wait:
    duration: int


@dataclass(frozen=True)
class Call:
    """Start collecting for an auction."""


@dataclass(frozen=True)
class Uncross:
    """Hold the auction, if the book is calling."""


@dataclass(frozen=True)
class Reload:
    """Go on with a new book that has loaded what must be stored of the old one."""


Command = Place | Cancel | Amend | Wait | Call | Uncross | Reload


@dataclass(frozen=True)
class Market:
    tick: int = 1
    reference: int | None = None  # ticks
    highest: int | None = None  # ticks
    band_basis_points: int | None = None
    limits: Limits | None = None

    @property
    def terms(self) -> tuple[int, int | None, int, int | None, int | None]:
        """The arguments of both books."""
        reference = None if self.reference is None else self.reference * self.tick
        highest = None if self.highest is None else self.highest * self.tick
        return self.tick, reference, self.tick, highest, self.band_basis_points


def sensible(place: Place) -> Place:
    """The order without what does not go with the rest of it."""
    if place.peg is not None:
        place = replace(place, stop=None, falls=None)
    if place.falls is not None:
        falls = place.falls if not place.buys and place.price > place.falls[0] else None
        place = replace(place, falls=falls, display=None, stop=None, post_only=False)
    if place.peg is not None or place.falls is not None or place.display is not None:
        place = replace(place, minimum=None, all_or_none=False)
        place = replace(place, time_in_force=place.time_in_force if place.time_in_force in RESTING else "gtc")
    if place.minimum is not None or place.all_or_none:
        place = replace(place, post_only=False, minimum=None if place.all_or_none else place.minimum)
    return replace(place, post_only=place.post_only and place.stop is None)


class Disagreement(AssertionError):
    """Our book did something the rules do not allow."""


def agree(what: str, ours: object, expected: object) -> None:
    if ours != expected:
        raise Disagreement(f"{what}: {ours} is not {expected}")


@dataclass
class Run:
    """Both books, and each order ever placed with the lots it has filled, cancelled and lost to its own group."""

    book: Book
    market: Market = Market()
    numbered: bool = True  # whether commands other than placing and amending say their place in time
    reference: ReferenceBook = field(init=False)
    ids: list[int] = field(default_factory=list)
    asked: dict[int, int] = field(default_factory=dict)  # lots
    orders: dict[int, Order] = field(default_factory=dict)
    filled: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    trace: list[object] = field(default_factory=list)
    now: int = 0
    seq: int = 0

    def __post_init__(self) -> None:
        self.reference = ReferenceBook(*self.market.terms, deepcopy(self.market.limits))
        self.book.guard = deepcopy(self.market.limits)

    def all(self, commands: Iterable[Command]) -> list[object]:
        for command in commands:
            self.one(command)
        return self.trace

    def one(self, command: Command) -> None:
        self.seq += NUMBERS
        self.advance()
        match command:
            case Place():
                self.place(sensible(command))
            case Cancel(order):
                self.cancel(self.id_of(order))
            case Amend(order, price, quantity):
                self.amend(self.id_of(order), price * self.market.tick, quantity)
            case Wait(duration):
                self.now += duration
                self.advance()
            case Call():
                self.book.calling = self.reference.calling = True
            case Uncross() if self.reference.calling:
                self.uncross()
            case Reload():
                self.reload()
        self.check()

    def id_of(self, order: int) -> int:
        return self.ids[order - 1] if order <= len(self.ids) else -1

    def place(self, command: Place) -> None:
        order = self.an_order(command)
        entry = self.an_entry(order)
        self.ids.append(order.id)
        try:
            placement = self.book.place(order)
        except Refusal as refusal:
            agree("the refusal", refusal.code, self.reference.place(entry))
            self.trace.append(refusal.code)
            return
        self.orders[order.id], self.asked[order.id] = order, command.quantity
        agree(f"what came of {command}", (placement.state, placement.reason), self.reference.place(entry))
        self.compare(placement.fills, placement.effects, order, placement.state)

    def an_order(self, command: Place) -> Order:
        tick = self.market.tick
        price = command.price * tick
        traits = None
        if not command.plain:
            decay = None
            if command.falls is not None:
                distance, step, every = command.falls
                decay = Decay(price, price - distance * tick, step * tick, every, self.now)
            traits = Traits(
                command.display,
                command.minimum,
                command.all_or_none,
                None if command.stop is None else command.stop * tick,
                None if command.peg is None else command.peg * tick,
                decay,
                None if command.linked_to is None else self.id_of(command.linked_to),
            )
        return Order(
            self.seq,
            command.party,
            command.group,
            Side.BUY if command.buys else Side.SELL,
            price,
            command.quantity,
            command.quantity,
            TimeInForce(command.time_in_force),
            command.post_only,
            self.now + command.life if command.time_in_force in {"gtd", "day"} else None,
            self_trade=SelfTrade(command.self_trade),
            traits=traits,
        )

    def an_entry(self, order: Order) -> Entry:
        traits = order.traits or Traits()
        decay = traits.decay
        return Entry(
            order.id,
            order.party_id,
            order.group_id,
            order.side is Side.BUY,
            order.price,
            order.quantity,
            order.open,
            str(order.time_in_force),
            order.post_only,
            order.expires_at,
            str(order.self_trade),
            traits.display,
            traits.minimum,
            traits.all_or_none,
            traits.stop_price,
            traits.peg_offset,
            None if decay is None else (decay.start, decay.floor, decay.step, decay.every_us, decay.since_us),
            traits.linked_to,
        )

    def cancel(self, order_id: int) -> None:
        open_expected = self.reference.cancel(order_id)
        try:
            removed = self.book.remove(order_id, priority=self.given)
        except Refusal:
            agree("the lots cancelled", None, open_expected)
            return
        agree("the lots cancelled", removed.order.open, open_expected)
        self.compare(removed.fills, removed.effects, removed.order, OrderState.CANCELLED)

    def amend(self, order_id: int, price: int, quantity: int) -> None:
        before = self.resting()
        expected = self.reference.amend(order_id, price, quantity)
        try:
            result = self.book.amend(order_id, price=price, quantity=quantity, priority=self.seq)
        except Refusal as refusal:
            agree("the refusal", refusal.code, expected)
            agree("the book after a refusal", self.resting(), before)
            self.trace.append(refusal.code)
            return
        was = next(row for row in before if row[0] == order_id)
        agree("what the order was", (order_id, result.price_before, result.open_before), was[:3])
        agree("what came of the change", (result.kept_place, (result.state, result.reason)), expected)
        self.trace.append(("amended", result.kept_place, result.state))
        self.asked[order_id] = quantity
        self.compare(result.fills, result.effects, result.order, result.state)

    def advance(self) -> None:
        expected_due = min((e.expires_at for e in self.reference.resting if e.expires_at), default=None)
        if expected_due is not None and expected_due <= self.now:
            agree("due", self.book.is_due(self.now), True)
        self.reference.advance(self.now)
        moved = self.book.advance(self.now, priority=self.given)
        self.compare(moved.fills, moved.effects)

    def uncross(self) -> None:
        indication = self.book.indicative()
        agree("the indication", indication, self.reference.indicative())
        expected = self.reference.uncross()
        auction = self.book.uncross(priority=self.given)
        agree("the auction", (auction.price, auction.volume, auction.surplus), expected)
        self.trace.append(("auction", expected))
        self.compare(auction.fills, auction.effects)

    def reload(self) -> None:
        """What is stored of an order is enough: its terms, price, quantity, open, priority, and its traits' state."""
        old = self.book
        book = type(old)(*self.market.terms)
        book.reference, book.guard, book.calling = old.reference, old.guard, old.calling
        copies = [stored(order) for order in old.all_orders()]
        random.Random(self.seq).shuffle(copies)
        copies.sort(key=lambda order: (order.priority, order.id))
        book.load(copies)
        self.orders |= {order.id: order for order in copies}
        self.book = book

    @property
    def given(self) -> int:
        return self.seq if self.numbered else 0

    def compare(
        self,
        fills: Sequence[Fill],
        effects: Sequence[Effect],
        subject: Order | None = None,
        state: OrderState = OrderState.OPEN,
    ) -> None:
        """The command's fills and effects are the obvious ones, and tell enough to follow every order."""
        trades = [(fill.maker.id, fill.taker.id, fill.price, fill.quantity) for fill in fills]
        agree("the fills", trades, self.reference.trades)
        agree("the effects", [told(effect) for effect in effects], self.reference.effects)
        self.trace.append((trades, self.reference.effects, state.value, self.reference.reason))
        for fill in fills:
            agree("sides that meet", {fill.maker.side, fill.taker.side}, {Side.BUY, Side.SELL})
            apart = fill.maker.group_id != fill.taker.group_id and fill.maker.party_id != fill.taker.party_id
            agree("group and party apart", apart, True)
            for order in (fill.maker, fill.taker):
                self.filled[order.id] = self.filled.get(order.id, 0) + fill.quantity
        for effect in effects:
            if isinstance(effect, Ended):
                self.ended[effect.order.id] = effect.order.open
            elif isinstance(effect, Reduced):
                self.asked[effect.order.id] -= effect.lots
        if subject is not None and state is OrderState.CANCELLED:
            self.ended[subject.id] = subject.open
        if subject is not None:
            agree("no end of its own", any(isinstance(e, Ended) and e.order is subject for e in effects), False)

    def check(self) -> None:
        """What holds after every command."""
        book, reference = self.book, self.reference
        obvious_rows = [(e.id, e.price, e.open, e.slice) for e in reference.in_priority()]
        armed = sorted(entry.id for entry in reference.resting if entry.stop is not None)
        agree("the book", self.resting()[: len(obvious_rows)], obvious_rows)
        agree("the armed stops", sorted(order.id for order in book.armed_orders()), armed)
        agree("calling", book.calling, reference.calling)
        agree("the reference", book.reference, reference.reference)
        self.check_counts()
        self.check_depth()
        for entry in reference.resting:
            if entry.stop is None:
                agree("ahead", book.ahead_of(entry.id), reference.ahead_of(entry))

    def check_counts(self) -> None:
        agree("orders counted", len(self.book), len(self.resting()))
        special = sum(order.traits is not None for order in self.book.all_orders())
        agree("special orders counted", self.book.special_orders, special)
        agree("siblings", all(two in self.book for one in self.book.links.items() for two in one), True)
        for order_id, order in self.orders.items():
            filled, ended = self.filled.get(order_id, 0), self.ended.get(order_id, 0)
            resting = order.open if order_id in self.book else 0
            agree("one of open and ended", resting and ended, 0)
            agree("filled + ended + open", filled + ended + resting, self.lots_of(order))
            agree("filled", order.filled, filled)
            agree("found", self.book.get(order_id), order if order_id in self.book else None)

    def lots_of(self, order: Order) -> int:
        agree("the lots asked for", order.quantity, self.asked[order.id])
        return order.quantity

    def check_depth(self) -> None:
        bids, asks = self.book.depth(1_000)
        summed = []
        ladder = [order for order in self.book.open_orders() if order.level is not None]
        for (_, price), queue in groupby(ladder, key=lambda order: (order.side, order.price)):
            lots = [shown(order) for order in queue]
            summed.append((price, sum(lots), len(lots)))
        agree("depth", [tuple(level) for level in bids + asks], summed)
        agree("nobody shows more than it may", all(_within_display(order) for order in ladder), True)
        agree("best prices", (self.book.best_bid, self.book.best_ask), (_first_price(bids), _first_price(asks)))
        agree("the top of the depth", self.book.depth(1), (bids[:1], asks[:1]))
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            for level in levels:
                agree("one level", self.book.level(side, level.price), level)
        bid, ask = self.book.best_bid, self.book.best_ask
        agree("not crossed", self.book.calling or bid is None or ask is None or bid < ask, True)

    def resting(self) -> list[tuple[int, int, int, int]]:
        return [(order.id, order.price, order.open, shown(order)) for order in self.book.all_orders()]


def stored(order: Order) -> Order:
    """The order as it comes back from where its columns are kept."""
    terms = {
        name: getattr(order, name) for name in Order.__dataclass_fields__ if name not in {"level", "before", "after"}
    }
    return Order(**(terms | {"traits": None if order.traits is None else replace(order.traits)}))


KINDS = {
    Breached: "breached",
    Ended: "ended",
    Reduced: "reduced",
    Triggered: "triggered",
    Repriced: "repriced",
    Requeued: "requeued",
    Skipped: "skipped",
}


def told(effect: Effect) -> obvious.Effect:
    """The effect in plain values, an order by its id."""
    return KINDS[type(effect)], *[part.id if isinstance(part, Order) else part for part in effect]


def _within_display(order: Order) -> bool:
    display = None if order.traits is None else order.traits.display
    return display is None or 0 < shown(order) <= display


def _first_price(levels: Sequence[tuple[int, int, int]]) -> int | None:
    return levels[0][0] if levels else None


CALLING: list[Command] = [Call(), Uncross(), Uncross(), Uncross(), Reload()]


def random_commands(count: int, seed: int, *, special: float = 0.0) -> list[Command]:
    """A crowded little market: few prices, few parties in fewer groups, every kind of order."""
    draw = random.Random(seed)
    commands: list[Command] = []
    placed: list[Place] = []
    for _ in range(count):
        kind = draw.random()
        order = draw.randint(max(1, len(placed) - 20), len(placed) + 1)
        if special and draw.random() < 0.06:
            commands.append(draw.choice(CALLING))
        elif kind < 0.65 or not placed:
            place = random_place(draw, len(placed), special)
            if place.linked_to is not None and place.linked_to <= len(placed) and draw.random() < 0.8:
                sibling = placed[place.linked_to - 1]
                place = replace(place, party=sibling.party, group=sibling.group, buys=sibling.buys)
            placed.append(place)
            commands.append(placed[-1])
        elif kind < 0.75:
            commands.append(Cancel(order))
        elif kind < 0.95:
            price = placed[min(order, len(placed)) - 1].price if draw.random() < 0.6 else draw.randint(1, 9)
            commands.append(Amend(order, price, draw.randint(1, 9)))
        else:
            commands.append(Wait(draw.randint(0, 5)))
    return commands


def random_place(draw: random.Random, placed: int, special: float) -> Place:
    party = draw.randint(1, 9)
    group = party % 6 if draw.random() < 0.9 else draw.randint(0, 5)  # now and then a party has changed groups
    buys = draw.random() < 0.5
    price = draw.randint(1, 6) if buys else draw.randint(4, 9)
    time_in_force = draw.choice(["gtc", "gtc", "gtc", "gtd", "day", "ioc", "fok"])
    place = Place(
        party, group, buys, price, draw.randint(1, 9), time_in_force, draw.random() < 0.15, draw.randint(1, 8)
    )
    if draw.random() >= special:
        return place
    place = replace(place, self_trade=draw.choice([str(mode) for mode in SelfTrade]))
    for kind in draw.sample(["display", "minimum", "all_or_none", "stop", "peg", "falls", "linked_to"], 2):
        if draw.random() < 0.7:
            place = replace(place, **{kind: random_trait(draw, kind, placed)})  # type: ignore[arg-type]
    return place


def random_trait(draw: random.Random, kind: str, placed: int) -> object:
    lowest, highest = {"display": (1, 4), "minimum": (1, 5), "stop": (2, 8), "peg": (-3, 3)}.get(kind, (0, 0))
    if kind == "all_or_none":
        return True
    if kind == "falls":
        return draw.randint(1, 6), draw.randint(1, 3), draw.randint(1, 3)
    if kind == "linked_to":
        return draw.randint(max(1, placed - 3), placed + 1)
    return draw.randint(lowest, highest)


def fingerprint(count: int, seed: int, special: float = 0.0) -> str:
    """The whole trace of a run, and the book it leaves, as text."""
    run = Run(Book())
    run.all(random_commands(count, seed, special=special))
    return repr((run.trace, run.resting()))
