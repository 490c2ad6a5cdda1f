"""A shard whose legs of a basket are prepared: what is stored of that, and how the engine learns what becomes of it.

From the commit that prepares legs to the one that resolves them the engine decides nothing
else, so its books are as they were promised, also when another engine takes over in between.
The decision is one row that several may want to change; whoever changes it first is right.
"""

import asyncio

import asyncpg

from market.engine import lease
from market.engine.baskets import Prepared, decode_leg
from market.engine.lease import Lease
from market.engine.records import Changes

LOOK_SECONDS = 0.003
RENEW_SECONDS = 0.5

_PREPARED = """
select basket_id, held, asked, promised_us from basket_leg
where shard = $1 and state = 'prepared' order by basket_id, number
"""
_WRITE = """
insert into basket_leg (shard, basket_id, number, account_id, held, asked, promised_us, state)
select $1, new.*, 'prepared'
from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bigint[]) as new
"""
_RESOLVE = "update basket_leg set state = $3 where basket_id = $1 and shard = $2"
_STATE = "select state from basket where id = $1"
_ABORT = """
update basket set state = 'aborted', reason = 'too_slow', decided_at = clock_timestamp()
where id = $1 and state = 'deciding' and deadline <= clock_timestamp()
"""


async def load(connection: asyncpg.Connection, shard: int) -> Prepared | None:
    """The legs that an engine of this shard has promised and not resolved; None when there are none."""
    rows = await connection.fetch(_PREPARED, shard)
    if not rows:
        return None
    assert len({row["basket_id"] for row in rows}) == 1, "one basket at a time is prepared"
    legs, needs = tuple(decode_leg(row["asked"]) for row in rows), tuple(row["held"] for row in rows)
    return Prepared(rows[0]["basket_id"], legs, needs, rows[0]["promised_us"])


async def write(connection: asyncpg.Connection, shard: int, changes: Changes) -> None:
    """Store what a batch has promised or resolved, within its transaction."""
    if changes.legs:
        await connection.execute(_WRITE, shard, *map(list, zip(*changes.legs, strict=True)))
    for basket_id, state in changes.resolved:
        await connection.execute(_RESOLVE, basket_id, shard, state)


async def decision(connection: asyncpg.Connection, held: Lease, basket_id: int) -> bool:
    """Wait until a basket is decided: whether it is committed. At its deadline it is aborted, unless it is decided.

    Raises:
        Fenced: another engine has taken the shard, and will ask instead.
    """
    loop = asyncio.get_running_loop()
    renewed_at = 0.0
    while (state := await connection.fetchval(_STATE, basket_id)) == "deciding":
        if loop.time() - renewed_at > RENEW_SECONDS:
            await lease.renew(connection, held)
            renewed_at = loop.time()
        if await connection.execute(_ABORT, basket_id) == "UPDATE 0":
            await asyncio.sleep(LOOK_SECONDS)
    return bool(state == "committed")
