"""The auction that ends a call: one price for all that trades in it, and who trades with whom."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from matching.cascade import Cascade
from matching.floor import Floor, place_in_time, related
from matching.guard import Blame
from matching.ladder import Ladder
from matching.orders import Auction, Fill, Indication, Order, SelfTrade, Skipped


def indicate(floor: Floor) -> Indication | None:
    """The price at which most lots trade, then fewest are left over, then nearest the reference, then the lower."""
    if not floor.is_crossed():
        return None
    bids = _Crossed(floor.bids, -floor.asks.ranks[-1])
    asks = _Crossed(floor.asks, -floor.bids.ranks[-1])

    best: tuple[int, int, int, int] | None = None
    surplus_at_best = 0
    for price in _candidates(floor, bids.prices, asks.prices):
        bought = bids.lots[-1] - bids.up_to(price - 1)
        sold = asks.up_to(price)
        away = 0 if floor.reference is None else abs(price - floor.reference)
        rank = (-min(bought, sold), abs(bought - sold), away, price)
        if best is None or rank < best:
            best, surplus_at_best = rank, bought - sold
    assert best is not None
    return Indication(best[3], -best[0], surplus_at_best)


class _Crossed:
    """What lies within the crossed prices of one side: the lots at each price and below, hidden ones too."""

    __slots__ = ("lots", "prices")

    def __init__(self, ladder: Ladder, limit: int) -> None:
        levels = sorted(ladder.down_to(limit), key=lambda level: level.price)
        self.prices = [level.price for level in levels]
        self.lots = list(accumulate(sum(order.open for order in level) for level in levels))

    def up_to(self, price: int) -> int:
        at = bisect_right(self.prices, price)
        return self.lots[at - 1] if at else 0


def _candidates(floor: Floor, bids: Sequence[int], asks: Sequence[int]) -> list[int]:
    """Prices among which the best one is: between two prices of orders nothing changes but the way to the reference."""
    tick, lowest, highest = floor.tick, asks[0], bids[-1]
    prices = {price: None for at in (*bids, *asks) for price in (at - tick, at, at + tick)}
    if floor.reference is not None:
        down = floor.reference // tick * tick
        prices |= {down: None, down + tick: None}
    return [price for price in sorted(prices) if lowest <= price <= highest]


def uncross(floor: Floor, number: int) -> Auction:
    """Hold the auction and go back to continuous matching. `number` is its place in time, as for every cascade.

    What it sets off is not held by the dynamic band, so that the call ends for certain.
    """
    cascade = Cascade(floor, None, number)
    cascade.band = None
    indication = indicate(floor)
    if indication is not None:
        _allocate(cascade, indication.price)
    volume = sum(fill.quantity for fill in cascade.fills)
    _part(cascade)
    floor.calling = False

    cascade.look_at_reference()
    floor.pegged_at = None  # pegged orders have stood still meanwhile
    cascade.settle()
    price = indication.price if indication is not None and volume else None
    surplus = indication.surplus if indication is not None else 0
    return Auction(price, volume, surplus, tuple(cascade.fills), tuple(cascade.effects))


def _allocate(cascade: Cascade, price: int) -> None:
    """Let each buyer meet the sellers, both by price and then by time. A pair kept apart leaves both for the next."""
    orders = cascade.floor.orders
    buys = [order for level in cascade.floor.bids.down_to(price) for order in level]
    sells = [order for level in cascade.floor.asks.down_to(-price) for order in level]
    first = 0
    for buy in buys:
        while first < len(sells) and sells[first].id not in orders:
            first += 1
        for at in range(first, len(sells)):
            if buy.id not in orders:
                break
            sell = sells[at]
            if sell.id in orders and not related(sell, buy):
                _meet(cascade, sell, buy, price)


def _meet(cascade: Cascade, sell: Order, buy: Order, price: int) -> None:
    lots = allowed = min(sell.open, buy.open)
    guard = cascade.floor.guard
    verdict = None if guard is None else guard.verdict(sell, buy, lots)
    if verdict is not None:
        allowed = min(lots, verdict.lots)
    maker, taker = sorted((sell, buy), key=place_in_time)
    if allowed:
        if guard is not None:
            guard.took(sell, buy, allowed)
        cascade.clear(Fill(maker, taker, price, allowed))
    if verdict is None or allowed == lots:
        return

    blamed = {Blame.SELL: sell, Blame.BUY: buy}.get(verdict.blame)
    if allowed or blamed is None:
        cascade.effects.append(Skipped(maker, lots - allowed, verdict.reason))
    if blamed is not None and blamed.id in cascade.floor.orders:
        cascade.leave(blamed, verdict.reason)


def _part(cascade: Cascade) -> None:
    """Bring in anew, the newest first, what is still crossed: it meets its own group, or whom the price did not reach.

    Its own group ends it, whatever its mode, for nobody here is the incoming one.
    """
    floor = cascade.floor
    while floor.is_crossed():
        bids, asks = floor.bids.down_to(-floor.asks.ranks[-1]), floor.asks.down_to(-floor.bids.ranks[-1])
        newest = max((order for levels in (bids, asks) for level in levels for order in level), key=place_in_time)
        floor.take_out(newest)
        mode, newest.self_trade = newest.self_trade, SelfTrade.CANCEL_NEWEST
        cascade.match(newest)
        newest.self_trade = mode
