"""A guard with limits on parties and pairs, for our book and for the reference alike."""

from dataclasses import dataclass, field

from matching.guard import Blame, Verdict
from matching.orders import Order


@dataclass
class Limits:
    """How many lots a party may sell and buy in all, which pairs never trade, and how many lots the others may."""

    most_sold: dict[int, int] = field(default_factory=dict)
    most_bought: dict[int, int] = field(default_factory=dict)
    apart: list[tuple[int, int]] = field(default_factory=list)
    together: dict[tuple[int, int], int] = field(default_factory=dict)
    sold: dict[int, int] = field(default_factory=dict)
    bought: dict[int, int] = field(default_factory=dict)
    traded: dict[tuple[int, int], int] = field(default_factory=dict)

    def asked(self, seller: int, buyer: int, lots: int) -> tuple[int, str, str]:
        pair = (seller, buyer)
        left = [
            (0 if pair in self.apart else lots, "pair", "kept_apart"),
            (self.most_sold.get(seller, lots) - self.sold.get(seller, 0) * (seller in self.most_sold), "sell", "sold"),
            (
                self.most_bought.get(buyer, lots) - self.bought.get(buyer, 0) * (buyer in self.most_bought),
                "buy",
                "bought",
            ),
            (self.together.get(pair, lots) - self.traded.get(pair, 0) * (pair in self.together), "pair", "enough"),
        ]
        allowed, blame, reason = min(left, key=lambda limit: limit[0])
        return (lots, "none", "") if allowed >= lots else (allowed, blame, reason)

    def taken(self, seller: int, buyer: int, lots: int) -> None:
        self.sold[seller] = self.sold.get(seller, 0) + lots
        self.bought[buyer] = self.bought.get(buyer, 0) + lots
        self.traded[seller, buyer] = self.traded.get((seller, buyer), 0) + lots

    # As our book's guard

    def verdict(self, sell: Order, buy: Order, lots: int) -> Verdict:
        allowed, blame, reason = self.asked(sell.party_id, buy.party_id, lots)
        return Verdict(allowed, Blame(blame), reason)

    def took(self, sell: Order, buy: Order, lots: int) -> None:
        self.taken(sell.party_id, buy.party_id, lots)
