"""A book so slow and plain that it is obviously right: one list, searched and sorted anew for every step.

What may come to nothing (all or none, a retry) is done to a copy of the whole book first, and then in earnest or not.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.matching.limits import Limits

Trade = tuple[int, int, int, int]  # maker's id, taker's id, price, quantity
Effect = tuple[Any, ...]  # its kind, the order's id, and what else it tells
Outcome = tuple[str, str | None]  # state, reason


@dataclass
class Entry:
    id: int
    party: int
    group: int
    buys: bool
    price: int
    ordered: int
    open: int
    time_in_force: str
    post_only: bool
    expires_at: int | None
    self_trade: str = "cancel_newest"
    display: int | None = None
    minimum: int | None = None
    all_or_none: bool = False
    stop: int | None = None
    peg: int | None = None
    decay: tuple[int, int, int, int, int] | None = None  # start, floor, step, every, since
    linked_to: int | None = None
    arrival: int = 0
    shown: int = 0
    sibling: int | None = None

    def related(self, other: "Entry") -> bool:
        return self.group == other.group or self.party == other.party

    @property
    def conditional(self) -> bool:
        return self.all_or_none or self.minimum is not None

    @property
    def on_ladder(self) -> bool:
        return not self.conditional and self.stop is None

    @property
    def slice(self) -> int:
        return self.open if self.display is None else self.shown

    @property
    def rests(self) -> bool:
        return self.time_in_force in {"gtc", "gtd", "day"}

    def price_at(self, now: int) -> int:
        assert self.decay is not None
        start, floor, step, every, since = self.decay
        return max(floor, start - step * ((now - since) // every))


@dataclass
class Walked:
    """What stopped a taker on its way through the other side."""

    reason: str | None = None  # why the rest of it cannot stay
    breached: int | None = None  # the price that the band forbids
    met: list[int] = field(default_factory=list)  # those who were passed over
    passed: list[tuple[int, str]] = field(default_factory=list)  # those of them whom the guard kept away, and why


@dataclass
class ReferenceBook:
    tick: int = 1
    reference: int | None = None
    lowest: int = 1
    highest: int | None = None
    band_basis_points: int | None = None
    limits: Limits | None = None
    resting: list[Entry] = field(default_factory=list)
    arrivals: int = 0
    calling: bool = False
    pegged_at: int | None = None

    # What the present command did
    subject: int | None = None
    reason: str | None = None
    trades: list[Trade] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    band: tuple[int, int] | None = None
    prices: list[int] = field(default_factory=list)  # the reference before, and what traded since

    def start(self, subject: int | None) -> None:
        self.subject, self.reason, self.trades, self.effects = subject, None, [], []
        self.band = self.bounds()
        self.prices = [] if self.reference is None else [self.reference]

    def bounds(self) -> tuple[int, int] | None:
        if self.band_basis_points is None or self.reference is None:
            return None
        within = [
            price
            for price in range(2 * self.reference + 1)
            if abs(price - self.reference) * 10_000 <= self.band_basis_points * self.reference
        ]
        return min(within), max(within)

    def next_arrival(self) -> int:
        self.arrivals += 1
        return self.arrivals

    # Commands

    def place(self, taker: Entry) -> Outcome | str:
        if taker.peg is not None and self.reference is None:
            return "no_reference"
        sibling = None if taker.linked_to is None else self.find(taker.linked_to)
        if sibling is not None and (sibling.party != taker.party or sibling.sibling is not None):
            return "unfit_link"
        if sibling is not None:
            taker.sibling, sibling.sibling = sibling.id, taker.id
        if not any(entry.peg is not None for entry in self.resting):
            self.pegged_at = self.reference
        self.start(taker.id)
        taker.arrival = self.next_arrival()
        self.enter(taker)
        self.settle()
        return self.outcome(taker)

    def outcome(self, entry: Entry) -> Outcome:
        if self.find(entry.id) is not None:
            return "open", None
        return ("cancelled", self.reason) if entry.open else ("filled", None)

    def cancel(self, order_id: int) -> int | None:
        """The lots cancelled, or None when the order is not open."""
        entry = self.find(order_id)
        if entry is None:
            return None
        self.start(order_id)
        self.end(entry, "cancelled")
        self.settle()
        return entry.open

    def amend(self, order_id: int, price: int, quantity: int) -> tuple[bool, Outcome] | str:
        """Whether it kept its place and what came of it; or the refusal's code."""
        entry = self.find(order_id)
        if entry is None:
            return "unknown_order"
        filled = entry.ordered - entry.open
        if quantity <= filled:
            return "amend_below_filled"
        if entry.peg is not None or entry.decay is not None:
            price = entry.price
        self.start(order_id)
        if price == entry.price and quantity <= entry.ordered:
            entry.ordered, entry.open = quantity, quantity - filled
            entry.shown = min(entry.shown, entry.open)
            self.settle()
            return True, self.outcome(entry)
        moved = Entry(**{**vars(entry), "price": price})
        if entry.post_only and not self.calling and any(other.on_ladder for other in self.in_reach(moved)):
            return "amend_would_cross"
        self.resting.remove(entry)
        entry.price, entry.ordered, entry.open, entry.shown = price, quantity, quantity - filled, 0
        entry.arrival = self.next_arrival()
        self.enter(entry)
        self.settle()
        return False, self.outcome(entry)

    def advance(self, now: int) -> None:
        self.start(None)
        while True:
            ends = [(e.expires_at, 0, e.id, e) for e in self.resting if e.expires_at is not None]
            falls = [(self.next_fall(e), 1, e.id, e) for e in self.resting if e.decay and e.price > e.decay[1]]
            at, kind, _, entry = min(ends + falls, default=(now + 1, 0, 0, None))
            if entry is None or at > now:
                return
            if kind == 0:
                self.end(entry, "expired")
            else:
                self.resting.remove(entry)
                self.effects.append(("repriced", entry.id, entry.price))
                entry.price, entry.arrival = entry.price_at(at), self.next_arrival()
                self.enter(entry)
            self.settle()

    def next_fall(self, entry: Entry) -> int:
        assert entry.decay is not None
        at = entry.decay[4]
        while entry.price_at(at) >= entry.price:
            at += 1
        return at

    def uncross(self) -> tuple[int | None, int, int]:
        """The auction's price, the lots that traded at it, and the surplus."""
        self.start(None)
        self.band = None
        found = self.indicative()
        if found is not None:
            self.allocate(found[0])
        volume = sum(trade[3] for trade in self.trades)
        while crossed := self.crossed():
            newest = max(crossed, key=lambda entry: entry.arrival)
            self.resting.remove(newest)
            mode, newest.self_trade = newest.self_trade, "cancel_newest"
            self.match(newest)
            newest.self_trade = mode
        self.calling = False
        self.prices = [] if self.reference is None else [self.reference]
        self.pegged_at = None
        self.settle()
        if found is None:
            return None, 0, 0
        return found[0] if volume else None, volume, found[2]

    # Ending

    def end(self, entry: Entry, reason: str) -> None:
        if entry in self.resting:
            self.resting.remove(entry)
        if entry.id == self.subject:
            self.reason = reason
        else:
            self.effects.append(("ended", entry.id, reason))
        self.end_sibling(entry)

    def end_sibling(self, entry: Entry) -> None:
        sibling = None if entry.sibling is None else self.find(entry.sibling)
        entry.sibling = None
        if sibling is not None:
            sibling.sibling = None
            self.end(sibling, "linked")

    # Coming in

    def enter(self, entry: Entry) -> None:
        if entry.stop is not None:
            self.resting.append(entry)
        elif entry.peg is not None:
            price = self.pegged_price(entry)
            if price is None:
                self.end(entry, "post_only_would_cross")
            else:
                entry.price = price
                self.rest(entry)
        elif self.calling:
            self.rest_or_end(entry)
        elif not entry.post_only:
            self.match(entry)
        elif any(other.on_ladder for other in self.in_reach(entry)):
            self.end(entry, "post_only_would_cross")
        else:
            self.rest_or_end(entry)

    def rest_or_end(self, entry: Entry) -> None:
        if entry.rests:
            self.rest(entry)
        else:
            self.end(entry, "fok_unfilled" if self.is_whole(entry) else "ioc_remainder")

    def rest(self, entry: Entry) -> None:
        if entry.display is not None:
            entry.shown = min(entry.shown or entry.display, entry.open)
        self.resting.append(entry)

    def is_whole(self, entry: Entry) -> bool:
        return entry.all_or_none or entry.time_in_force == "fok"

    def match(self, taker: Entry) -> None:
        if self.is_whole(taker):
            copied, taker_copied = deepcopy((self, taker))
            copied.walk(taker_copied)
            if taker_copied.open:
                self.rest_or_end(taker)
                return
        walked = self.walk(taker)
        if not taker.open:
            return
        reason = walked.reason
        if walked.breached is not None:
            self.effects.append(("breached", walked.breached))
            self.calling = True
            if not taker.rests:
                reason = "band_breached"
        for order_id, why in walked.passed:
            if reason is None and self.find(order_id) is not None:
                reason = why
        if reason is None:
            self.rest_or_end(taker)
        else:
            self.end(taker, reason)

    def walk(self, taker: Entry, *, retry: bool = False) -> "Walked":
        walked = Walked()
        while taker.open:
            maker = next((entry for entry in self.in_reach(taker) if entry.id not in walked.met), None)
            if maker is None:
                break
            lots = min(taker.open, maker.slice)
            least = max(self.least(taker, as_taker=True), self.least(maker, as_taker=False))
            if lots < least:
                walked.met.append(maker.id)
                continue
            if retry and maker.related(taker):
                break
            if maker.related(taker):
                walked.reason = self.meet_own(maker, taker)
            else:
                self.meet_stranger(maker, taker, lots, least, walked)
            if walked.reason is not None or walked.breached is not None:
                break
        return walked

    def meet_own(self, maker: Entry, taker: Entry) -> str | None:
        """Why the taker ends, if it does."""
        mode = taker.self_trade
        if mode == "cancel_newest" or (mode != "cancel_oldest" and self.is_whole(taker)):
            return "self_trade"
        if mode == "decrement":
            return self.decrement(maker, taker)
        tied = maker.sibling == taker.id
        self.end(maker, "self_trade")
        if mode == "cancel_both":
            return "self_trade"
        return "linked" if tied else None

    def meet_stranger(self, maker: Entry, taker: Entry, lots: int, least: int, walked: "Walked") -> None:
        allowed, blame, why = lots, "none", ""
        if self.limits is not None:
            sell, buy = (taker, maker) if maker.buys else (maker, taker)
            allowed, blame, why = self.limits.asked(sell.party, buy.party, lots)
            if allowed < least:
                allowed = 0
        if allowed and self.band is not None and not self.band[0] <= maker.price <= self.band[1]:
            walked.breached = maker.price
            return
        if allowed:
            self.trade(maker, taker, maker.price, allowed)
        if allowed == lots:
            return

        if allowed or blame in {"none", "pair"}:
            self.effects.append(("skipped", maker.id, lots - allowed, why))
        if blame == ("buy" if taker.buys else "sell"):
            walked.reason = why
        elif blame in {"buy", "sell"}:
            self.end(maker, why)
        else:
            walked.met.append(maker.id)
            walked.passed.append((maker.id, why))

    def least(self, entry: Entry, *, as_taker: bool) -> int:
        if entry.minimum is not None:
            return min(entry.minimum, entry.open)
        return entry.open if entry.all_or_none and not as_taker else 1

    def decrement(self, maker: Entry, taker: Entry) -> str | None:
        """Why the taker ends, if it does: what both have open is the lots that never traded."""
        lots, tied = min(maker.open, taker.open), maker.sibling == taker.id
        taker_ends, maker_ends = taker.open == lots, maker.open == lots
        if not taker_ends:
            self.take_off(taker, lots)
        if maker_ends:
            self.end(maker, "self_trade")
        else:
            self.take_off(maker, lots)
        if taker_ends:
            return "self_trade"
        return "linked" if tied else None

    def take_off(self, entry: Entry, lots: int) -> None:
        entry.open -= lots
        entry.ordered -= lots
        entry.shown = min(entry.shown, entry.open)
        self.effects.append(("reduced", entry.id, lots))

    def trade(self, maker: Entry, taker: Entry, price: int, lots: int, *, auction: bool = False) -> None:
        self.trades.append((maker.id, taker.id, price, lots))
        self.reference = price
        self.prices.append(price)
        if self.limits is not None:
            sell, buy = (taker, maker) if maker.buys else (maker, taker)
            self.limits.taken(sell.party, buy.party, lots)
        maker.open -= lots
        taker.open -= lots
        if auction:
            maker.shown, taker.shown = min(maker.shown, maker.open), min(taker.shown, taker.open)
        elif maker.display is not None:
            maker.shown -= lots
        self.resting = [entry for entry in self.resting if entry.open]
        if maker.display is not None and maker.open and not maker.shown:
            maker.shown = min(maker.display, maker.open)
            maker.arrival = self.next_arrival()
            self.effects.append(("requeued", maker.id))
        self.end_sibling(maker)
        self.end_sibling(taker)

    def in_reach(self, taker: Entry) -> list[Entry]:
        """What the taker could trade with, in the order it would have to."""
        others = [entry for entry in self.resting if entry.buys != taker.buys and entry.stop is None]
        if taker.buys:
            asks = [entry for entry in others if entry.price <= taker.price]
            return sorted(asks, key=lambda entry: (entry.price, entry.arrival))
        bids = [entry for entry in others if entry.price >= taker.price]
        return sorted(bids, key=lambda entry: (-entry.price, entry.arrival))

    # What a command sets off

    def settle(self) -> None:
        while not self.calling and (self.trigger() or self.retry() or self.reprice()):
            pass

    def trigger(self) -> bool:
        reached = [
            entry
            for entry in self.resting
            if entry.stop is not None
            and any(price >= entry.stop if entry.buys else price <= entry.stop for price in self.prices)
        ]
        if not reached:
            return False
        entry = min(reached, key=lambda entry: entry.arrival)
        self.resting.remove(entry)
        entry.stop, entry.arrival = None, self.next_arrival()
        self.effects.append(("triggered", entry.id))
        self.end_sibling(entry)
        self.enter(entry)
        return True

    def retry(self) -> bool:
        waiting = [entry for entry in self.in_priority() if entry.conditional]
        for entry in waiting:
            copied = deepcopy(self)
            copied.trades = []
            entry_copied = copied.find(entry.id)
            assert entry_copied is not None
            copied.walk(entry_copied, retry=True)
            if copied.trades and not (entry.all_or_none and entry_copied.open):
                reason = self.walk(entry, retry=True).reason
                if entry.open and reason is not None:
                    self.end(entry, reason)
                return True
        return False

    def reprice(self) -> bool:
        if self.pegged_at == self.reference:
            return False
        self.pegged_at = self.reference
        moved = False
        for entry in sorted(self.resting, key=lambda entry: entry.arrival):
            price = None if entry.peg is None else self.pegged_price(entry)
            if price is not None and price != entry.price:
                self.effects.append(("repriced", entry.id, entry.price))
                entry.price, entry.arrival = price, self.next_arrival()
                moved = True
        return moved

    def pegged_price(self, entry: Entry) -> int | None:
        """The nearest price to the wanted one that is on tick, in the band, and does not meet the other side."""
        assert self.reference is not None
        assert entry.peg is not None
        wanted = self.reference + entry.peg
        others = [other for other in self.resting if other.on_ladder and other.buys != entry.buys and not self.calling]
        allowed = [
            price
            for price in range(self.lowest, (self.highest or 2 * abs(wanted) + 100) + 1)
            if price % self.tick == 0
            and all(price < other.price if entry.buys else price > other.price for other in others)
        ]
        if not allowed:
            return None
        modest = [price for price in allowed if (price <= wanted if entry.buys else price >= wanted)]
        if modest:
            return max(modest) if entry.buys else min(modest)
        return min(allowed) if entry.buys else max(allowed)

    # The auction

    def indicative(self) -> tuple[int, int, int] | None:
        """Price, volume and surplus, of all prices on tick the best."""
        ladder = [entry for entry in self.resting if entry.on_ladder]
        found = []
        for price in range(self.tick, max((entry.price for entry in ladder), default=0) + 1, self.tick):
            bought = sum(entry.open for entry in ladder if entry.buys and entry.price >= price)
            sold = sum(entry.open for entry in ladder if not entry.buys and entry.price <= price)
            away = 0 if self.reference is None else abs(price - self.reference)
            if min(bought, sold):
                found.append((-min(bought, sold), abs(bought - sold), away, price, bought - sold))
        if not found:
            return None
        volume, _, _, price, surplus = min(found)
        return price, -volume, surplus

    def allocate(self, price: int) -> None:
        ladder = [entry for entry in self.in_priority() if entry.on_ladder]
        buys = [entry for entry in ladder if entry.buys and entry.price >= price]
        sells = [entry for entry in ladder if not entry.buys and entry.price <= price]
        for buy in buys:
            for sell in sells:
                if buy not in self.resting or sell not in self.resting or buy.related(sell):
                    continue
                lots = allowed = min(buy.open, sell.open)
                blame, why = "none", ""
                if self.limits is not None:
                    allowed, blame, why = self.limits.asked(sell.party, buy.party, lots)
                maker, taker = sorted((sell, buy), key=lambda entry: entry.arrival)
                if allowed:
                    self.trade(maker, taker, price, allowed, auction=True)
                if allowed == lots:
                    continue
                if allowed or blame in {"none", "pair"}:
                    self.effects.append(("skipped", maker.id, lots - allowed, why))
                blamed = {"sell": sell, "buy": buy}.get(blame)
                if blamed is not None and blamed in self.resting:
                    self.end(blamed, why)

    def crossed(self) -> list[Entry]:
        ladder = [entry for entry in self.resting if entry.on_ladder]
        bids, asks = [e for e in ladder if e.buys], [e for e in ladder if not e.buys]
        return [
            entry
            for entry in ladder
            if any(entry.price <= bid.price if not entry.buys else False for bid in bids)
            or any(entry.price >= ask.price if entry.buys else False for ask in asks)
        ]

    # Looking at it

    def find(self, order_id: int) -> Entry | None:
        return next((entry for entry in self.resting if entry.id == order_id), None)

    def in_priority(self) -> list[Entry]:
        """Those that may trade: bids then asks, best first, first come first."""
        trading = [entry for entry in self.resting if entry.stop is None]
        bids = sorted((e for e in trading if e.buys), key=lambda e: (-e.price, e.arrival))
        asks = sorted((e for e in trading if not e.buys), key=lambda e: (e.price, e.arrival))
        return bids + asks

    def ahead_of(self, entry: Entry) -> tuple[int, int]:
        """Orders and lots shown before it."""
        before = [
            other.slice
            for other in self.resting
            if other.on_ladder
            and other.buys == entry.buys
            and (-other.price if other.buys else other.price, other.arrival)
            < (-entry.price if entry.buys else entry.price, entry.arrival)
        ]
        return len(before), sum(before)
