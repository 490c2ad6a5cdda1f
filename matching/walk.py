"""The way of one order through the other side: whom it would meet, in order, and what would come of each meeting."""

from itertools import chain
from typing import NamedTuple

from matching.floor import Floor, related, shown
from matching.guard import Blame
from matching.orders import CancelReason, Ended, Fill, Order, Reduced, SelfTrade, Side, Skipped, TimeInForce

Step = Fill | Ended | Reduced | Skipped

BLAME = {Side.SELL: Blame.SELL, Side.BUY: Blame.BUY}


class Passed(NamedTuple):
    """A resting order that the guard kept from the taker, and why."""

    order: Order
    reason: str


class Walk:
    """Plans a match and changes nothing but the guard, so that it can be forgotten when it comes to too little.

    It goes strictly by price, then by time, over orders seen and unseen. A conditional order that may not trade is
    passed over. A retry, that of a conditional order which has waited, stops where an order just placed would be ended.
    """

    __slots__ = (
        "_again",
        "_band",
        "_floor",
        "_gone",
        "_left",
        "_retry",
        "_taker",
        "_whole",
        "breached",
        "passed",
        "reason",
        "steps",
        "traded",
        "wanted",
    )

    def __init__(self, floor: Floor, taker: Order, band: tuple[int, int] | None, *, retry: bool = False) -> None:
        self._floor = floor
        self._taker = taker
        self._band = band
        self._retry = retry
        self._whole = taker.time_in_force is TimeInForce.FOK or (taker.traits is not None and taker.traits.all_or_none)
        self._gone: dict[int, None] = {}  # orders that are no longer to be met
        self._left: dict[int, int] = {}  # what an iceberg has open after the slices that were taken
        self._again: list[Order] = []  # icebergs whose next slice waits at the end of this price's queue
        self.steps: list[Step] = []
        self.passed: list[Passed] = []
        self.wanted = taker.open
        self.traded = False
        self.reason: str | None = None  # why the taker's rest cannot stay
        self.breached: int | None = None  # price of the trade that the dynamic band forbids

    def run(self) -> bool:
        """Whether the plan is worth doing: all of it for an order that is filled whole or not at all."""
        self._go()
        if (self._whole and self.wanted) or (self._retry and not self.traded):
            self._forget()
            return False
        return True

    def _go(self) -> None:
        for price, queue in self._floor.in_reach(self._taker):
            self._again = []
            for maker in chain(queue, self._again):
                if maker.id not in self._gone and not self._meet(maker, price):
                    return

    def _meet(self, maker: Order, price: int) -> bool:
        """Whether the walk goes on after this order."""
        lots = min(self.wanted, self._slice(maker))
        least = max(_least(self._taker, self.wanted), _least_of_maker(maker))
        if lots < least:
            return True
        if related(maker, self._taker):
            return self._meet_own(maker)
        if self._floor.guard is not None:
            return self._meet_guarded(maker, price, lots, least)
        return self._trade(maker, price, lots)

    def _meet_own(self, maker: Order) -> bool:
        mode = self._taker.self_trade
        if self._retry:
            return False
        if mode is SelfTrade.CANCEL_OLDEST:
            return self._end(maker, CancelReason.SELF_TRADE)
        if mode is SelfTrade.DECREMENT and not self._whole:
            return self._decrement(maker)
        if mode is SelfTrade.CANCEL_BOTH and not self._whole:
            self._end(maker, CancelReason.SELF_TRADE)
        self.reason = CancelReason.SELF_TRADE
        return False

    def _decrement(self, maker: Order) -> bool:
        lots = min(self.wanted, maker.open)
        self.steps.append(Reduced(maker, lots))
        goes_on = lots < maker.open or self._leave(maker)
        if lots == self.wanted:  # they stay open, for they never traded
            self.reason = CancelReason.SELF_TRADE
            return False
        self.wanted -= lots
        return goes_on

    def _meet_guarded(self, maker: Order, price: int, lots: int, least: int) -> bool:
        guard = self._floor.guard
        assert guard is not None
        verdict = guard.verdict(*self._pair(maker), lots)
        allowed = min(lots, verdict.lots)
        if allowed < least:
            allowed = 0
        goes_on = not allowed or self._trade(maker, price, allowed)
        if allowed == lots or not goes_on:
            return goes_on

        if verdict.blame is BLAME[self._taker.side]:
            if allowed:
                self.steps.append(Skipped(maker, lots - allowed, verdict.reason))
            self.reason = verdict.reason
            return False
        if verdict.blame is BLAME[maker.side]:
            if allowed:
                self.steps.append(Skipped(maker, lots - allowed, verdict.reason))
            return self._end(maker, verdict.reason)
        self.steps.append(Skipped(maker, lots - allowed, verdict.reason))
        self.passed.append(Passed(maker, verdict.reason))
        self._gone[maker.id] = None
        return True

    def _trade(self, maker: Order, price: int, lots: int) -> bool:
        if self._band is not None and not self._band[0] <= price <= self._band[1]:
            self.breached = price
            return False
        self.steps.append(Fill(maker, self._taker, price, lots))
        self.traded = True
        if self._floor.guard is not None:
            self._floor.guard.took(*self._pair(maker), lots)
        self.wanted -= lots
        self._lose_sibling(maker)
        self._lose_sibling(self._taker)
        self._left[maker.id] = left = self._left.get(maker.id, maker.open) - lots
        if left and self.wanted:
            self._again.append(maker)  # an iceberg, for only such a one has lots left when the taker wants more
        return bool(self.wanted)

    def _end(self, maker: Order, reason: str) -> bool:
        self.steps.append(Ended(maker, reason))
        return self._leave(maker)

    def _leave(self, maker: Order) -> bool:
        """Whether the taker outlives the maker's end: not when it is its sibling."""
        self._gone[maker.id] = None
        if self._floor.links.get(maker.id) == self._taker.id:
            self.reason = CancelReason.LINKED
            return False
        self._lose_sibling(maker)
        return True

    def _lose_sibling(self, order: Order) -> None:
        sibling_id = self._floor.links.get(order.id)
        if sibling_id is not None:
            self._gone[sibling_id] = None

    def _slice(self, maker: Order) -> int:
        left = self._left.get(maker.id)
        if left is None:
            return shown(maker)
        assert maker.traits is not None
        assert maker.traits.display is not None
        return min(maker.traits.display, left)

    def _pair(self, maker: Order) -> tuple[Order, Order]:
        """The seller and the buyer."""
        return (maker, self._taker) if maker.side is Side.SELL else (self._taker, maker)

    def _forget(self) -> None:
        guard = self._floor.guard
        if guard is not None:
            for step in reversed(self.steps):
                if type(step) is Fill:
                    guard.took(*self._pair(step.maker), -step.quantity)


def _least(taker: Order, wanted: int) -> int:
    """The lots of the smallest fill that an incoming order takes."""
    minimum = None if taker.traits is None else taker.traits.minimum
    return 1 if minimum is None else min(minimum, wanted)


def _least_of_maker(maker: Order) -> int:
    traits = maker.traits
    if traits is None:
        return 1
    if traits.all_or_none:
        return maker.open
    return 1 if traits.minimum is None else min(traits.minimum, maker.open)
