"""What a member could sell of what will probably be left, at which price, and what it would bring. Pure decisions.

The amount is the low end of the forecast, so that in nine cases of ten nothing is missed later, within what the
carrier's rules allow. The price is the best bid when waiting would bring little more, else just under the best ask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from market.forecast import DayUsage, Forecast, daily_mb, surplus
from market.headroom import Headroom
from market.parties import Line
from market.pricing import Quote, quote
from market.rules import spare_mb
from market.usage import Seen
from market.usage_days import Kind, Sort, day_of, kind_of, kinds
from market.views import InstrumentView

WORTH_WAITING_PERCENT = 5
"""A bid this near to what one would ask is taken: waiting would bring little more, and data ages."""
MB_PER_GB = 1_000
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A sale that makes sense. Prices are minor units per lot."""

    view: InstrumentView
    lots: int
    price_minor: int
    quote: Quote
    takes_bid: bool
    """Whether somebody already bids as much, so that it sells at once."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Data of one kind on one line: its buckets, what will be left of it, and what could be sold."""

    line: Line
    kind: Kind
    remaining_mb: int
    reserved_mb: int
    transferable_mb: int
    distributable: bool
    forecast: Forecast | None
    is_later: bool
    """Whether other data of its sort is used before it."""
    covered_mb: int
    """Data of its sort that is used after it."""
    short_mb: int
    """What will probably be missing before it expires, when all else of its sort is gone too."""
    daily_mb: int
    view: InstrumentView | None
    most_lots: int
    """What the carrier's rules let go, whatever the forecast says."""
    suggestion: Suggestion | None

    @property
    def whole_mb(self) -> int:
        return self.remaining_mb + self.reserved_mb


def forecasts(
    left: Mapping[Kind, tuple[int, int]], daily: Mapping[Sort, Sequence[DayUsage]], today: date
) -> dict[Kind, Forecast]:
    """What will be left of each kind that is being used now: of one sort of data, what ends first.

    Of what ends later nothing is told: by then the carrier will have added the next month's plan.
    """
    found: dict[Kind, Forecast] = {}
    begun: set[Sort] = set()
    for kind in sorted(left, key=lambda each: each.expires_at):
        if kind.sort in begun or not left[kind][0]:
            continue
        begun.add(kind.sort)
        foreseen = surplus(left[kind][0], daily.get(kind.sort, ()), today, day_of(kind.expires_at))
        if foreseen is not None:
            found[kind] = foreseen
    return found


def covered_mb(kind: Kind, left: Mapping[Kind, tuple[int, int]]) -> int:
    """Data of the same sort that ends later: it is used when this is gone."""
    return sum(
        each for other, (each, _) in left.items() if other.sort == kind.sort and other.expires_at > kind.expires_at
    )


def most_lots(view: InstrumentView, line: Line, transferable_mb: int, room: Headroom) -> int:
    """How many lots the carrier's rules let a line part with in one order."""
    profile = room.profile
    if profile.resale != "allowed" or 0 in {room.sends_today, room.sends_month}:
        return 0
    if view.app_scope and not profile.app_directed:
        return 0
    amount = spare_mb(profile, remaining_mb=transferable_mb, base_mb=line.base_mb)
    sends = [each for each in (room.sends_today, room.sends_month) if each is not None]
    if profile.largest_transfer_mb is not None and sends:
        amount = min(amount, min(sends) * profile.largest_transfer_mb)
    amount = min(amount, amount if profile.largest_sale_mb is None else profile.largest_sale_mb)
    lots = min(amount // view.lot_units, view.maximum_lots)
    while lots and lots * view.lot_units % profile.step_mb:
        lots -= 1
    return lots


def price_to_sell(view: InstrumentView) -> tuple[int, bool]:
    """A good price for a lot, and whether a bid is there for it; within the band and on the tick."""
    lowest = -(-view.floor_minor // view.tick_minor) * view.tick_minor
    highest = view.ceiling_minor // view.tick_minor * view.tick_minor
    bid = view.best_bid if view.best_bid is not None and view.best_bid >= lowest else None
    if view.best_ask is not None:
        wanted = view.best_ask - view.tick_minor
    else:
        wanted = view.reference_minor if view.last_minor is None else view.last_minor
    wanted = max(lowest, min(highest, wanted // view.tick_minor * view.tick_minor))
    if bid is not None and bid * 100 >= wanted * (100 - WORTH_WAITING_PERCENT):
        return bid, True
    return wanted, False


def suggest(view: InstrumentView, forecast: Forecast | None, most: int) -> Suggestion | None:
    """What to sell of one kind of data; nothing when nothing is known or nothing is spare.

    ``view`` carries the fee that the member's own sale would pay.
    """
    if forecast is None:
        return None
    lots = min(forecast.low_mb // view.lot_units, most)
    if lots <= 0:
        return None
    price, takes_bid = price_to_sell(view)
    comes_to = quote(
        lots=lots,
        price_minor=price,
        ceiling_minor=view.ceiling_minor,
        fee_basis_points=view.fee_basis_points,
        fee_minimum_minor=view.fee_minimum_minor,
        charges=view.charges,
        lot_units=view.lot_units,
    )
    return Suggestion(view, lots, price, comes_to, takes_bid) if comes_to.net_minor > 0 else None


def per_gb(price_minor: int, view: InstrumentView) -> int:
    """What 1,000 MB cost at a price per lot, in minor units."""
    return price_minor * MB_PER_GB // view.lot_units


def days_left(expires_at: datetime, now: datetime) -> int:
    """Days that data can still be used, the begun one counted whole."""
    return max(1, -((now - expires_at) // DAY))


def takes_orders(view: InstrumentView, now: datetime) -> bool:
    """Whether a market takes any order now."""
    return view.state == "open" and view.opens_at <= now < view.closes_at


def is_of(view: InstrumentView, carrier: str, kind: Kind) -> bool:
    """Whether an instrument trades this kind of data."""
    return (view.carrier, view.scope, view.app_scope or "", view.expires_at) == (carrier, *kind)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a line's data is looked at with: the markets, and what the carrier's rules leave the line to do."""

    views: Sequence[InstrumentView]
    room: Headroom | None
    now: datetime


def shelves(seen: Seen, desk: Desk) -> list[Shelf]:
    """A line's data, kind by kind, what ends first first."""
    left = kinds(seen.buckets or ())
    foreseen = forecasts(left, seen.daily, day_of(desk.now))
    return [
        _shelf(seen, kind, foreseen.get(kind), desk)
        for kind in sorted(left, key=lambda each: (each.expires_at, bool(each.app_scope), each.scope != "CN"))
    ]


def _shelf(seen: Seen, kind: Kind, forecast: Forecast | None, desk: Desk) -> Shelf:
    line, left = seen.line, kinds(seen.buckets or ())
    own = [each for each in seen.buckets or () if kind_of(each) == kind]
    transferable = sum(each.remaining_mb for each in own if each.transferable)
    fitting = (each for each in desk.views if is_of(each, line.carrier, kind) and takes_orders(each, desk.now))
    view = next(fitting, None)
    most = 0 if view is None or desk.room is None else most_lots(view, line, transferable, desk.room)
    return Shelf(
        line=line,
        kind=kind,
        remaining_mb=left[kind][0],
        reserved_mb=left[kind][1],
        transferable_mb=transferable,
        distributable=any(each.distributable for each in own),
        forecast=forecast,
        is_later=any(each.sort == kind.sort and each.expires_at < kind.expires_at for each in left),
        covered_mb=covered_mb(kind, left),
        short_mb=0 if forecast is None else max(0, forecast.likely_short_mb - covered_mb(kind, left)),
        daily_mb=daily_mb(seen.daily.get(kind.sort, ())),
        view=view,
        most_lots=most,
        suggestion=None if view is None else suggest(view, forecast, most),
    )
