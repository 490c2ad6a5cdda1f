"""Drawings that the server makes itself, as the points of an SVG: whole numbers in a box, no style, no script."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from market.views import BookView, Level

LINE_WIDTH, LINE_HEIGHT = 96, 28
DEPTH_WIDTH, DEPTH_HEIGHT = 600, 240


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A course in a box of 96 by 28, and what it says in words: prices in minor units per lot."""

    points: str
    first: int
    last: int
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Step:
    """What is offered down to a price: lots of the level and of all better ones."""

    price: int
    lots: int
    total: int


@dataclass(frozen=True, slots=True)
class Depth:
    """Both sides of a book, summed up from the best price, as areas in a box of 600 by 240."""

    bids: tuple[Step, ...]
    asks: tuple[Step, ...]
    bid_area: str
    ask_area: str
    lowest: int
    """The price at the left edge, minor units per lot."""
    highest: int
    most: int
    """Lots at the upper edge."""


def sparkline(prices: Sequence[int]) -> Sparkline | None:
    """Draw a course; nothing for a single point."""
    if len(prices) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    lowest, highest = min(prices), max(prices)
    points = " ".join(
        f"{_scaled(place, 0, len(prices) - 1, LINE_WIDTH - 4) + 2},"
        f"{LINE_HEIGHT - 3 - _scaled(price, lowest, highest, LINE_HEIGHT - 6)}"
        for place, price in enumerate(prices)
    )
    return Sparkline(points, prices[0], prices[-1], lowest, highest)


def depth(book: BookView) -> Depth | None:
    """Draw a book; nothing for an empty one."""
    bids, asks = _summed(book.bids), _summed(book.asks)
    prices = [step.price for step in (*bids, *asks)]
    if not prices:
        return None
    lowest, highest, most = min(prices), max(prices), max(step.total for step in (*bids, *asks))
    box = lowest, highest, most
    return Depth(bids, asks, _area(bids, 0, box), _area(asks, DEPTH_WIDTH, box), *box)


def _summed(levels: Iterable[Level]) -> tuple[Step, ...]:
    """Each level with all that stands before it; ``levels`` are best first."""
    total, steps = 0, []
    for level in levels:
        total += level.lots
        steps.append(Step(level.price, level.lots, total))
    return tuple(steps)


def _area(steps: Sequence[Step], edge: int, box: tuple[int, int, int]) -> str:
    """Stairs from the best price to an edge of the box, closed along the ground."""
    if not steps:
        return ""
    lowest, highest, most = box
    at = [_scaled(step.price, lowest, highest, DEPTH_WIDTH) for step in steps]
    points, height = [f"{at[0]},{DEPTH_HEIGHT}"], DEPTH_HEIGHT
    for x, step in zip(at, steps, strict=True):
        points.append(f"{x},{height}")
        height = DEPTH_HEIGHT - _scaled(step.total, 0, most, DEPTH_HEIGHT - 8)
        points.append(f"{x},{height}")
    return " ".join([*points, f"{edge},{height}", f"{edge},{DEPTH_HEIGHT}"])


def _scaled(value: int, lowest: int, highest: int, length: int) -> int:
    """Where a value lies on a length; in the middle when there is but one."""
    if highest == lowest:
        return length // 2
    return (value - lowest) * length // (highest - lowest)
