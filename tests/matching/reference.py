"""A book so slow and plain that it is obviously right: one list, searched and sorted anew for every command."""

from dataclasses import dataclass
from itertools import takewhile

Trade = tuple[int, int, int, int]  # maker's id, taker's id, price, quantity
Outcome = tuple[str, str | None, list[Trade]]  # state, reason, trades


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
    arrival: int = 0

    def related(self, other: "Entry") -> bool:
        return self.group == other.group or self.party == other.party


class ReferenceBook:
    def __init__(self) -> None:
        self.resting: list[Entry] = []
        self.arrivals = 0

    def place(self, taker: Entry) -> Outcome:
        path = self.in_reach(taker)
        usable = list(takewhile(lambda maker: not maker.related(taker), path))
        if path and taker.post_only:
            return "cancelled", "post_only_would_cross", []
        if taker.time_in_force == "fok" and sum(maker.open for maker in usable) < taker.open:
            return "cancelled", "fok_unfilled", []

        trades = []
        for maker in usable:
            if taker.open > 0:
                quantity = min(maker.open, taker.open)
                maker.open -= quantity
                taker.open -= quantity
                trades.append((maker.id, taker.id, maker.price, quantity))
        self.resting = [entry for entry in self.resting if entry.open > 0]

        if taker.open == 0:
            return "filled", None, trades
        if len(usable) < len(path):
            return "cancelled", "self_trade", trades
        if taker.time_in_force == "ioc":
            return "cancelled", "ioc_remainder", trades
        self.arrivals += 1
        taker.arrival = self.arrivals
        self.resting.append(taker)
        return "open", None, trades

    def in_reach(self, taker: Entry) -> list[Entry]:
        """What the taker could trade with, in the order it would have to."""
        if taker.buys:
            asks = [entry for entry in self.resting if not entry.buys and entry.price <= taker.price]
            return sorted(asks, key=lambda entry: (entry.price, entry.arrival))
        bids = [entry for entry in self.resting if entry.buys and entry.price >= taker.price]
        return sorted(bids, key=lambda entry: (-entry.price, entry.arrival))

    def find(self, order_id: int) -> Entry | None:
        return next((entry for entry in self.resting if entry.id == order_id), None)

    def cancel(self, order_id: int) -> int | None:
        """The lots cancelled, or None when the order is not open."""
        entry = self.find(order_id)
        if entry is None:
            return None
        self.resting.remove(entry)
        return entry.open

    def amend(self, order_id: int, price: int, quantity: int) -> tuple[bool, Outcome] | str:
        """Whether it kept its place and what came of it; or the refusal's code."""
        entry = self.find(order_id)
        if entry is None:
            return "unknown_order"
        filled = entry.ordered - entry.open
        if quantity <= filled:
            return "amend_below_filled"
        if price == entry.price and quantity <= entry.ordered:
            entry.ordered, entry.open = quantity, quantity - filled
            return True, ("open", None, [])
        if entry.post_only and self.in_reach(Entry(**{**vars(entry), "price": price})):
            return "amend_would_cross"
        self.resting.remove(entry)
        entry.price, entry.ordered, entry.open = price, quantity, quantity - filled
        return False, self.place(entry)

    def expired(self, now: int) -> list[int]:
        dead = [entry for entry in self.resting if entry.expires_at is not None and entry.expires_at <= now]
        self.resting = [entry for entry in self.resting if entry not in dead]
        return [entry.id for entry in sorted(dead, key=lambda entry: (entry.expires_at, entry.id))]

    def in_priority(self) -> list[tuple[int, int, int]]:
        """Id, price and open lots of every resting order: bids then asks, best first, first come first."""
        bids = sorted((e for e in self.resting if e.buys), key=lambda e: (-e.price, e.arrival))
        asks = sorted((e for e in self.resting if not e.buys), key=lambda e: (e.price, e.arrival))
        return [(e.id, e.price, e.open) for e in bids + asks]
