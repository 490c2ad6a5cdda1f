"""The resting orders of parties that are frozen: off the market by the engine's mass cancel, and their owner told."""

import structlog
from sqlalchemy import text

from market.engine.commands import CancelAll
from market.refusals import Unavailable
from market.venue import Venue
from settlement.accounts import HOUSE
from settlement.notices import tell

log = structlog.get_logger()

REASON = "frozen"
AT_ONCE = 200

_RESTING = text("""
    select frozen.party_id, open_order.instrument_id, max(open_order.id) as newest,
        count(distinct open_order.id) as orders
    from party_freeze frozen join open_order on open_order.party_id = frozen.party_id
    where frozen.ended_at is null and (frozen.cause <> 'debt' or exists (
        select from account where account.party_id = frozen.party_id and kind = 'debt' and available < 0
    ))
    group by frozen.party_id, open_order.instrument_id order by 1, 2 limit :limit
""")


async def take_off(venue: Venue) -> int:
    """Cancel what frozen parties have open; says how many orders that were.

    A trade that was made before stands: only what has not traded is taken away.

    Raises:
        Unavailable: the engine did not do it; the next round asks again.
    """
    async with venue.sessions() as session:
        resting = list(await session.execute(_RESTING, {"limit": AT_ONCE}))
    for party_id, instrument_id, newest, orders in resting:
        command = CancelAll(HOUSE, _key(party_id, instrument_id, newest), b"", instrument_id, party_id, reason=REASON)
        answer = await venue.gateway.submit(command)
        if not answer.accepted:
            raise Unavailable(f"The orders of a frozen party were not cancelled: {answer.code}.")
        log.warning("orders_of_a_frozen_party", party=party_id, instrument=instrument_id, orders=orders)
        async with venue.sessions.begin() as session:
            await tell(session, party_id, "orders_frozen", "/orders", once=command.key, orders=orders)
    return sum(orders for *_, orders in resting)


def _key(party_id: int, instrument_id: int, newest: int) -> str:
    """However many schedulers see it, it is done once; what came to rest since then has another newest order."""
    return f"frozen-{party_id}-{instrument_id}-{newest}"
