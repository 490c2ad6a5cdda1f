"""Where an order stands in the queue of its book."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.resting import IS_SEEN, SEEN_LOTS


class QueuePlace(NamedTuple):
    """What trades before an order does: better prices, and the same price earlier."""

    orders_ahead: int
    lots_ahead: int


# The book of an instrument is found by its index; priority decides among equals, as it does in the matching.
_AHEAD = text(
    f"""
select own.id, count(o.id) as orders, coalesce(sum({SEEN_LOTS}), 0)::bigint as lots
from (select * from open_order o where o.id = any(:order_ids) and {IS_SEEN}) own
left join open_order o on o.instrument_id = own.instrument_id and o.side = own.side and o.id <> own.id and {IS_SEEN}
    and (case when own.side = 1 then o.price_minor >= own.price_minor else o.price_minor <= own.price_minor end)
    and (o.price_minor <> own.price_minor or (o.priority, o.id) < (own.priority, own.id))
group by own.id
"""  # noqa: S608 - the fragments are our own
)


async def of(session: AsyncSession, order_ids: Sequence[int]) -> dict[int, QueuePlace]:
    """The places of those of the orders that stand in a queue: open ones, neither armed nor conditional."""
    if not order_ids:
        return {}
    rows = await session.execute(_AHEAD, {"order_ids": list(order_ids)})
    return {row.id: QueuePlace(row.orders, row.lots) for row in rows}
