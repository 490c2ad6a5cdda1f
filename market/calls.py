"""Auctions as everybody sees them: what one held now would come to, and when orders are next collected for one."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.resting import IS_SEEN
from market.views import InstrumentView
from matching.auction import indicate
from matching.floor import Floor
from matching.orders import Indication, Order, Side
from matching.rules import COLLECTING

SIDES = {1: Side.BUY, 2: Side.SELL}
IS_OURS = 1
"""Every order of the book that is built here belongs to one party: who meets whom changes no price."""


@dataclass(frozen=True, slots=True)
class Call:
    """The auction that comes next. Prices are minor units per lot."""

    kind: str
    """opening or closing."""
    begins_at: datetime
    ends_at: datetime
    """When it is held at the earliest."""


# Icebergs trade in an auction with all that they have, so their whole rest counts.
_LEVELS = text(
    f"""
select side, price_minor, sum(open)::bigint as lots from open_order o
where instrument_id = :instrument_id and {IS_SEEN} group by side, price_minor
"""  # noqa: S608 - the fragments are our own
)
_NEXT = text(
    """
select kind, begins_at, ends_at from session
where instrument_id = :instrument_id and begun_at is null and ends_at > :now order by begins_at limit 1
"""
)


async def indication(session: AsyncSession, view: InstrumentView) -> Indication | None:
    """What an auction held now would come to; nothing while none is due, or nobody could trade in it."""
    if view.state not in COLLECTING:
        return None
    last = view.reference_minor if view.last_minor is None else view.last_minor
    floor = Floor(view.tick_minor, last, view.floor_minor, view.ceiling_minor)
    rows = await session.execute(_LEVELS, {"instrument_id": view.id})
    floor.calling = True
    for number, row in enumerate(rows, start=1):
        floor.rest(Order(number, IS_OURS, IS_OURS, SIDES[row.side], row.price_minor, row.lots, row.lots))
    return indicate(floor)


async def following(session: AsyncSession, view: InstrumentView, now: datetime) -> Call | None:
    """The next planned auction for which orders are not collected yet."""
    row = (await session.execute(_NEXT, {"instrument_id": view.id, "now": now})).one_or_none()
    return None if row is None else Call(*row)
