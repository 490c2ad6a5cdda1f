"""What the autopilot does for a line, decided from plain values: the same rule shows the preview and does the work.

It holds to two thresholds. Above the upper one it sells, counting only on what will be left in nine cases of ten;
below the lower one it buys, by what will probably be left. Between them it does nothing, so small errors of the
forecast make no trades. Its open orders count as what they are: data that comes back if it is not sold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from market.forecast import Forecast
from market.selling_spare import price_to_sell
from market.views import InstrumentView

Deed = Literal["sell", "buy", "shrink", "cancel"]


@dataclass(frozen=True, slots=True)
class Wish:
    """A member's setting for a line: MB that shall be left at the end, and prices in minor units per lot."""

    sells: bool
    buys: bool
    sell_down_to_mb: int
    buy_up_to_mb: int
    floor_minor: int
    cap_minor: int


@dataclass(frozen=True, slots=True)
class Standing:
    """An order of the autopilot that is open. Quantities are lots."""

    order_id: int
    side: Literal["buy", "sell"]
    quantity: int
    open: int
    price_minor: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a line's data when the autopilot decides."""

    forecast: Forecast
    covered_mb: int
    """Data of the same sort that is used afterwards."""
    most_to_sell: int
    most_to_buy: int
    """Lots that the carrier's rules allow now, and that the purse pays for."""


@dataclass(frozen=True, slots=True)
class Move:
    """One thing to do. ``lots`` is the size of a new order, or what the order that shrinks shall come to in all."""

    deed: Deed
    lots: int
    price_minor: int
    order_id: int | None = None


def decide(wish: Wish, sight: Sight, view: InstrumentView, standing: Sequence[Standing]) -> list[Move]:
    """What to do now, the orders that have to go first."""
    lot = view.lot_units
    sales = [each for each in standing if each.side == "sell"]
    purchases = [each for each in standing if each.side == "buy"]
    on_sale_mb = lot * sum(each.open for each in sales)
    left_mb, use = sight.forecast.remaining_mb + on_sale_mb, sight.forecast.use
    spare = max(0, left_mb - use.high_mb - wish.sell_down_to_mb) // lot if wish.sells else 0
    missing_mb = max(0, wish.buy_up_to_mb + use.likely_mb - left_mb - sight.covered_mb)
    missing = -(-missing_mb // lot) if wish.buys else 0

    kept_sales, moves = _fit(sales, spare, lambda each: each.price_minor < wish.floor_minor)
    kept_purchases, more = _fit(purchases, missing, lambda each: each.price_minor > _top(wish, view))
    moves += more

    to_sell, to_buy = min(spare - kept_sales, sight.most_to_sell), min(missing - kept_purchases, sight.most_to_buy)
    floor, top = _floor(wish, view), _top(wish, view)
    if to_sell > 0 and floor is not None:
        moves.append(Move("sell", min(to_sell, view.maximum_lots), max(floor, price_to_sell(view)[0])))
    if to_buy > 0 and top >= view.floor_minor:
        price = top if view.best_ask is None else min(top, view.best_ask)
        moves.append(Move("buy", min(to_buy, view.maximum_lots), price))
    return moves


def _fit(standing: Sequence[Standing], wanted: int, is_wrong: Callable[[Standing], bool]) -> tuple[int, list[Move]]:
    """Keep the oldest orders up to what is wanted, shrink the one that exceeds it, and cancel the rest and the wrong.

    Gives the lots that stay open too.
    """
    kept = 0
    moves: list[Move] = []
    for each in sorted(standing, key=lambda each: each.order_id):
        room = wanted - kept
        if is_wrong(each) or room <= 0:
            moves.append(Move("cancel", 0, each.price_minor, each.order_id))
            continue
        if each.open > room:
            filled = each.quantity - each.open
            moves.append(Move("shrink", filled + room, each.price_minor, each.order_id))
        kept += min(each.open, room)
    return kept, moves


def _floor(wish: Wish, view: InstrumentView) -> int | None:
    """The lowest price to ask: the member's and the market's, on the tick; none when that is above the carrier's."""
    lowest = -(-max(wish.floor_minor, view.floor_minor) // view.tick_minor) * view.tick_minor
    return lowest if lowest <= view.ceiling_minor else None


def _top(wish: Wish, view: InstrumentView) -> int:
    """The highest price that may be bid: the member's cap, and never above the carrier's own price."""
    return min(wish.cap_minor, view.ceiling_minor) // view.tick_minor * view.tick_minor
