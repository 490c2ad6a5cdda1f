"""Reads what the database has of a crowd, and holds it against the crowd's history."""

from collections.abc import Sequence

import asyncpg

from market.verify import verify
from tests.faults.crowd import Crowd
from tests.faults.history import Books, Breach, Fill, Kept, OrderKept, Terms, check, told_by_the_engine

_JOURNAL = "select party_id, key, answer from journal where party_id = any($1::bigint[])"
_ORDERS = """
select id, party_id, instrument_id, side, price_minor, quantity from orders where party_id = any($1::bigint[])
"""
_TRADES = "select id, price_minor, quantity from trade where buyer_id = any($1::bigint[])"
SIDES = {1: "buy", 2: "sell"}


async def read_books(dsn: str, party_ids: list[int]) -> Books:
    """Every row of these parties, who trade with nobody else."""
    connection = await asyncpg.connect(dsn)
    try:
        journal = await connection.fetch(_JOURNAL, party_ids)
        orders = await connection.fetch(_ORDERS, party_ids)
        trades = await connection.fetch(_TRADES, party_ids)
    finally:
        await connection.close()
    return Books(
        [Kept((row["party_id"], row["key"]), told_by_the_engine(row["answer"])) for row in journal],
        [
            OrderKept(
                row["id"],
                row["party_id"],
                Terms(row["instrument_id"], SIDES[row["side"]], row["price_minor"], row["quantity"]),  # type: ignore[arg-type]
            )
            for row in orders
        ],
        [Fill(*row) for row in trades],
    )


async def judge(crowd: Crowd) -> list[Breach]:
    """Ask every key once more, then compare history, journal, orders and trades."""
    again = await crowd.ask_again()
    books = await read_books(crowd.floor.dsn, [member.id for member in crowd.members])
    return check(crowd.history, books, again)


async def broken_invariants(dsn: str, *, durable: bool = False) -> dict[str, Sequence[str]]:
    """What `surplusflow verify` finds broken. The common test server is not durable, which D1 has to say."""
    broken = {finding.id: finding.breaches for finding in await verify(dsn) if finding.breaches}
    if not durable:
        assert broken.pop("D1", None)
    return broken
