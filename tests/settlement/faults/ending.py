"""The end that trades must come to, whatever happened on the way."""

from collections import Counter

import asyncpg

from settlement.naming import external_id
from tests.faults.judging import broken_invariants
from tests.faults.waiting import until
from tests.settlement.faults.conftest import Site

END_SECONDS = 80


async def settle_once(site: Site, trades: list[int]) -> None:
    """Wait for the end of everything; each of these trades must have moved its data exactly once."""

    async def nothing_is_open() -> bool:
        return not await site.estate.scalar("select count(*) from delivery where status in ('pending', 'delivered')")

    await until(nothing_is_open, END_SECONDS)
    assert await moved(site, trades) == dict.fromkeys(trades, 1)
    assert await broken_invariants(site.dsn) == {}


async def moved(site: Site, trades: list[int]) -> dict[int, int]:
    """How often the carriers have moved the data of each trade, as their own books say."""
    connection = await asyncpg.connect(site.estate.sim.database_url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch(
            "select external_id from movement where starts_with(external_id, $1)",
            external_id(site.estate.mark, "deliver", 0).removesuffix("0"),
        )
    finally:
        await connection.close()
    times = Counter(int(row[0].rpartition("-")[2]) for row in rows)
    return {trade: times[trade] for trade in trades}
