"""Buying some data at the best price that is offered now, beside the carrier's own price.

An offer is good for a short while. What is bought is bought immediate-or-cancel at the offer's worst price, so it can
never cost more than was shown; when the market has moved meanwhile the buyer is asked again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.resting import IS_SEEN, SEEN_LOTS
from market.selling_spare import takes_orders
from market.views import BookView, InstrumentView

GOOD_FOR = timedelta(seconds=60)
AMOUNTS_MB = (500, 1_000, 2_000, 5_000)
LAST_DAY = timedelta(hours=24)
"""Data that ends sooner is offered only when there is nothing else."""
NATIONAL = "CN"
EMPTY: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Offer:
    """What so many lots come to now, in minor units: the buyer pays no fee."""

    view: InstrumentView
    lots: int
    wanted_lots: int
    limit_minor: int
    """The worst price of a lot that it takes."""
    total_minor: int
    top_up_minor: int
    """What the carrier asks for as much."""

    @property
    def saving_minor(self) -> int:
        return self.top_up_minor - self.total_minor

    @property
    def amount_mb(self) -> int:
        return self.lots * self.view.lot_units

    @property
    def is_short(self) -> bool:
        """Whether less is offered than was wanted."""
        return self.lots < self.wanted_lots


def market_for(carrier: str, views: Iterable[InstrumentView], now: datetime) -> list[InstrumentView]:
    """Where a line's subscriber would buy: national data that every app may use, what ends first first."""
    fitting = [
        each
        for each in views
        if (each.carrier, each.scope, each.app_scope) == (carrier, NATIONAL, None)
        and each.expires_at is not None
        and takes_orders(each, now)
    ]
    return sorted(
        fitting, key=lambda each: (each.expires_at is not None and each.expires_at - now < LAST_DAY, each.expires_at)
    )


_OWN_ASKS = text(f"""
    select price_minor, sum({SEEN_LOTS})::bigint as lots from open_order o
    where instrument_id = :instrument_id and side = 2 and group_id = :group_id and {IS_SEEN} group by price_minor
""")  # noqa: S608 - the fragments are our own


async def own_asks(session: AsyncSession, view: InstrumentView, group_id: int) -> dict[int, int]:
    """Lots that the buyer's own people ask for at each price: nobody buys from themselves."""
    rows = await session.execute(_OWN_ASKS, {"instrument_id": view.id, "group_id": group_id})
    return {row.price_minor: row.lots for row in rows}


def offer(view: InstrumentView, book: BookView, amount_mb: int, own: Mapping[int, int] = EMPTY) -> Offer | None:
    """What the asks that rest now come to for an amount, without the buyer's own ones.

    None when nothing rests, or nothing below the carrier's price.
    """
    wanted = -(-amount_mb // view.lot_units)
    lots, total, limit = 0, 0, 0
    for level in book.asks:
        if level.price > view.ceiling_minor or lots == wanted:
            break
        taken = min(level.lots - own.get(level.price, 0), wanted - lots)
        if taken <= 0:
            continue
        lots, total, limit = lots + taken, total + taken * level.price, level.price
    if not lots:
        return None
    return Offer(view, lots, wanted, limit, total, lots * view.ceiling_minor)


def best(offers: Sequence[Offer | None]) -> Offer | None:
    """The first that offers all that was wanted, else the one that offers most."""
    found = [each for each in offers if each is not None]
    whole = next((each for each in found if not each.is_short), None)
    return whole or max(found, key=lambda each: each.lots, default=None)


def is_still(
    shown_total_minor: int, shown_limit_minor: int, shown_until: datetime, offer: Offer, now: datetime
) -> bool:
    """Whether what was shown may still be bought: in time, and no dearer than it was."""
    in_time = now <= shown_until <= now + GOOD_FOR
    return in_time and offer.total_minor <= shown_total_minor and offer.limit_minor <= shown_limit_minor
