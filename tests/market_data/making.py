"""A market's history, written directly: instruments, trades and open orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

import asyncpg

NUMBERS = count(1)


@dataclass(frozen=True)
class Sale:
    """A trade as the tests think of it: prices are minor units per lot."""

    at: datetime
    price: int
    lots: int
    id: int = 0


async def an_instrument(connection: asyncpg.Connection, carrier: str | None = None, **changes: Any) -> int:
    """An instrument that nobody has traded yet: coins, or data of a carrier."""
    number = next(NUMBERS)
    kind = "coin" if carrier is None else "data"
    scope, expires_at = (None, None) if carrier is None else ("CN", datetime.fromisoformat("2040-01-31T16:00:00Z"))
    asset_id = await connection.fetchval(
        "insert into asset (code, kind, carrier, scope, expires_at) values ($1, $2, $3, $4, $5) returning id",
        f"ASSET-{number}",
        kind,
        carrier,
        scope,
        expires_at,
    )
    terms: dict[str, Any] = {
        "symbol": f"TEST-{number}",
        "asset_id": asset_id,
        "currency": "CNY",
        "lot_units": 100,
        "tick_minor": 1,
        "floor_minor": 2,
        "ceiling_minor": 100_000,
        "reference_minor": 100,
        "maximum_lots": 100_000,
        "fee_basis_points": 500,
        "fee_minimum_minor": 1,
        "opens_at": datetime.fromisoformat("2020-01-01T00:00:00Z"),
        "closes_at": datetime.fromisoformat("2039-01-01T00:00:00Z"),
        "state": "open",
    } | changes
    names, values = ", ".join(terms), ", ".join(f"${at}" for at in range(1, len(terms) + 1))
    made: int = await connection.fetchval(
        f"insert into instrument ({names}) values ({values}) returning id",  # noqa: S608 - the names are our own
        *terms.values(),
    )
    return made


async def trade(
    connection: asyncpg.Connection, instrument_id: int, sales: Sequence[Sale], taker_side: int = 1
) -> list[Sale]:
    """Let trades have happened; gives them with their numbers, in their order."""
    numbered = [Sale(sale.at, sale.price, sale.lots, next(NUMBERS) * 1024) for sale in sales]
    await connection.executemany(
        "insert into trade (id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id, buyer_id, "
        "seller_id, taker_side, fee_minor, at) values ($1, $2, $3, $4, 1, 2, 3, 4, $5, 1, $6)",
        [(sale.id, instrument_id, sale.price, sale.lots, taker_side, sale.at) for sale in numbered],
    )
    return numbered


async def rest(
    connection: asyncpg.Connection,
    instrument_id: int,
    side: int,
    price: int,
    lots: int,
    *,
    priority: int = 0,
    traits: str | None = None,
) -> int:
    """Let an order rest; side 1 buys, 2 sells. Gives its id."""
    order_id = next(NUMBERS) * 1024
    await connection.execute(
        "insert into open_order (id, instrument_id, party_id, group_id, side, price_minor, quantity, open, "
        "time_in_force, market, post_only, self_trade, traits, fee_basis_points, fee_minimum_minor, account_id, "
        "version, priority, created_at, updated_at) values ($1, $2, 9, 9, $3, $4, $5, $5, 'gtc', false, false, "
        "'cancel_newest', $6::jsonb, 500, 1, 1, 1, $7, now(), now())",
        order_id,
        instrument_id,
        side,
        price,
        lots,
        traits,
        priority or order_id,
    )
    return order_id
