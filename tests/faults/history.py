"""Judges what clients were told against what the books kept. Knows the wire and the tables, and nothing of our code."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Name = tuple[int, str]
"""Whose request it was, and the key under which it was asked."""


class Terms(NamedTuple):
    """What an order asks for; a cancellation has none."""

    instrument_id: int
    side: Literal["buy", "sell"]
    price_minor: int
    lots: int


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants done once, however often it has to ask. ``terms`` is None for a cancellation."""

    party_id: int
    key: str
    body: str
    terms: Terms | None = None

    @property
    def name(self) -> Name:
        return self.party_id, self.key


class Fill(NamedTuple):
    """One fill, as an answer tells it."""

    trade_id: int
    price_minor: int
    lots: int


class Told(NamedTuple):
    """An answer: what both the engine's journal and the public API say of a request."""

    accepted: bool
    code: str | None = None
    detail: str | None = None
    order_id: int | None = None
    state: str | None = None
    reason: str | None = None
    open: int = 0
    filled: int = 0
    version: int = 0
    fills: tuple[Fill, ...] = ()


@dataclass(slots=True)
class Ask:
    """One try of a request. ``told`` stays None when no answer came, or one that leaves the outcome open."""

    request: Request
    sent_at: float = field(default_factory=time.monotonic)
    told: Told | None = None
    answered_at: float | None = None

    def answer(self, told: Told) -> None:
        self.told, self.answered_at = told, time.monotonic()


@dataclass(slots=True)
class History:
    """Everything that the clients of one run asked and heard, in the order in which they asked."""

    asks: list[Ask] = field(default_factory=list)

    def ask(self, request: Request) -> Ask:
        self.asks.append(Ask(request))
        return self.asks[-1]

    @property
    def requests(self) -> dict[Name, Request]:
        return {ask.request.name: ask.request for ask in self.asks}

    @property
    def unknown(self) -> int:
        """Tries that ended without a definite answer."""
        return sum(ask.told is None for ask in self.asks)


class Kept(NamedTuple):
    """One row of the journal: whose request, under which key, and what was answered."""

    name: Name
    told: Told


class OrderKept(NamedTuple):
    """One row of the orders table, reduced to what was asked for."""

    id: int
    party_id: int
    terms: Terms


@dataclass(frozen=True, slots=True)
class Books:
    """What the database has of the clients of a run: only their rows, but all of them."""

    journal: Sequence[Kept]
    orders: Sequence[OrderKept]
    trades: Sequence[Fill]


BEFORE_THE_ENGINE = frozenset({"custody_refused"})
"""Refusals for which no command is sent: the carrier did not set the data aside, or nobody waited for it any more."""


class Breach(NamedTuple):
    """One promise that was broken."""

    kind: Literal["lost", "doubled", "changed", "invented"]
    about: object
    says: str


def check(history: History, books: Books, again: Mapping[Name, Told]) -> list[Breach]:
    """Every broken promise; none when nothing acknowledged was lost, doubled or changed.

    ``again`` is what each key was told when it was asked once more, after all faults.
    """
    requests = history.requests
    journal: dict[Name, list[Told]] = {}
    for kept in books.journal:
        journal.setdefault(kept.name, []).append(kept.told)
    return [
        *_keys_with_two_bodies(history),
        *_against_the_journal(history, journal),
        *_asked_again(requests, journal, again),
        *_journaled_amiss(requests, journal),
        *_orders_amiss(requests, books),
        *_trades_amiss(books),
    ]


def _keys_with_two_bodies(history: History) -> Iterable[Breach]:
    """A history in which a client used a key twice could excuse anything."""
    requests = history.requests
    for ask in history.asks:
        if ask.request != requests[ask.request.name]:
            yield Breach("invented", ask.request.name, "the client itself asked two things under one key")


def _against_the_journal(history: History, journal: Mapping[Name, Sequence[Told]]) -> Iterable[Breach]:
    for ask in history.asks:
        if ask.told is None:
            continue
        rows = journal.get(ask.request.name, ())
        if not rows and ask.told.code not in BEFORE_THE_ENGINE:
            yield Breach("lost", ask.request.name, f"was told {ask.told}, the journal has nothing")
        elif rows and ask.told not in rows:
            yield Breach("changed", ask.request.name, f"was told {ask.told}, the journal has {rows[0]}")


def _asked_again(
    requests: Iterable[Name], journal: Mapping[Name, Sequence[Told]], again: Mapping[Name, Told]
) -> Iterable[Breach]:
    for name in requests:
        if name not in again:
            yield Breach("lost", name, "got no answer when it was asked again")
        elif name not in journal and again[name].code in BEFORE_THE_ENGINE:
            continue
        elif again[name] not in journal.get(name, ()):
            yield Breach("changed", name, f"was told {again[name]} when it was asked again, not what the journal has")


def _journaled_amiss(requests: Iterable[Name], journal: Mapping[Name, Sequence[Told]]) -> Iterable[Breach]:
    known = set(requests)
    for name, rows in journal.items():
        if len(rows) > 1:
            yield Breach("doubled", name, f"stands {len(rows)} times in the journal")
        if name not in known:
            yield Breach("invented", name, "stands in the journal, and nobody asked for it")


def _orders_amiss(requests: Mapping[Name, Request], books: Books) -> Iterable[Breach]:
    """Compare orders with what was accepted: by id, and by what they ask for, in case the id itself is wrong."""
    placed = [
        OrderKept(kept.told.order_id, kept.name[0], terms)
        for kept in books.journal
        if kept.told.accepted and kept.told.order_id is not None
        if kept.name in requests and (terms := requests[kept.name].terms) is not None
    ]
    yield from _by_count(Counter(placed), Counter(books.orders), "order")
    by_terms = Counter((order.party_id, order.terms) for order in placed)
    yield from _by_count(by_terms, Counter((order.party_id, order.terms) for order in books.orders), "order for")
    for order_id, times in Counter(order.id for order in placed).items():
        if times > 1:
            yield Breach("doubled", order_id, f"{times} keys were told the same order id")


def _trades_amiss(books: Books) -> Iterable[Breach]:
    """Each trade is told once, to the one whose order came later."""
    told = Counter(fill for kept in books.journal for fill in kept.told.fills)
    yield from _by_count(told, Counter(books.trades), "trade")


def _by_count(wanted: Mapping[Any, int], kept: Mapping[Any, int], what: str) -> Iterable[Breach]:
    for thing in wanted.keys() | kept.keys():
        times, rows = wanted.get(thing, 0), kept.get(thing, 0)
        if rows < times:
            yield Breach("lost", thing, f"{what} was acknowledged {times} times, {rows} are kept")
        if rows > times:
            yield Breach("doubled" if times else "invented", thing, f"{what} acknowledged {times} times, {rows} kept")


# How answers look on the wire and in the journal


def told_by_the_engine(raw: bytes) -> Told:
    """The answer as the engine announces it and keeps it in the journal."""
    document = json.loads(raw)
    return Told(
        document["accepted"],
        document.get("code"),
        document.get("detail"),
        document.get("order_id"),
        document.get("state"),
        document.get("reason"),
        document.get("open", 0),
        document.get("filled", 0),
        document.get("version", 0),
        tuple(Fill(fill["trade_id"], fill["price_minor"], fill["quantity"]) for fill in document.get("fills", ())),
    )


def told_by_the_api(document: Mapping[str, Any]) -> Told:
    """The answer as the public API gives it: an outcome, or the problem that stands for a refusal."""
    if "accepted" not in document:
        return Told(accepted=False, code=document["code"], detail=document["detail"])
    order_id = document["order_id"]
    return Told(
        document["accepted"],
        document["code"],
        document["detail"],
        None if order_id is None else _number(order_id),
        document["state"],
        document["reason"],
        document["open_lots"],
        document["filled_lots"],
        document["version"],
        tuple(Fill(_number(fill["trade_id"]), fill["price_minor"], fill["lots"]) for fill in document["fills"]),
    )


def _number(name: str) -> int:
    return int(name.partition("_")[2])
