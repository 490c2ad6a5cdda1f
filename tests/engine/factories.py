"""A small market for the engine's tests: coins and one data instrument, and members with money."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import asyncpg
from redis.asyncio import Redis

from market.database import connect, raw_dsn, sessions
from market.engine.commands import Answer, PlaceOrder
from market.engine.engine import Engine
from market.gateway import Gateway
from settlement.ledger import Kind
from tests.databases import migrate

SCHEMA_OF_THE_DAY = """
insert into party (id, kind, name, group_id) overriding system value values (1, 'operator', 'House', 1);
insert into asset (id, code, kind) overriding system value values (1, 'CNY', 'money'), (2, 'COIN', 'coin');
insert into asset (id, code, kind, carrier, scope, expires_at) overriding system value
    values (3, 'CMCC-CN-3001', 'data', 'CMCC', 'CN', '2030-01-31T16:00:00Z');
insert into instrument (id, symbol, asset_id, currency, lot_units, tick_minor, floor_minor, ceiling_minor,
    reference_minor, maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at) overriding system value
values (1, 'COIN', 2, 'CNY', 100, 1, 2, 1000, 100, 100000, 500, 1, '2020-01-01', '2040-01-01'),
       (2, 'CMCC-CN-3001', 3, 'CNY', 100, 5, 5, 1000, 300, 100000, 500, 1, '2020-01-01', '2030-01-31');
insert into account (id, party_id, asset_id, kind, may_go_negative) overriding system value
values (1, 1, 1, 'provider', true), (2, 1, 2, 'coin_issue', true), (3, 1, 3, 'carrier', true);
"""


_OPENING = """
with number as (select nextval('transfer_number') as id)
insert into posting (transfer_id, account_id, kind, reference, available_change, held_change)
    select id, $1::bigint, $3::smallint, $4::text, $5::bigint, 0 from number
union all select id, $2::bigint, $3::smallint, $4::text, -$5::bigint, 0 from number
"""


@dataclass
class Member:
    """A party with a wallet of money, a wallet of coins, and data in custody."""

    id: int
    group_id: int
    money: int
    coins: int
    data: int


@dataclass
class Floor:
    """A running market with direct access to its database, for looking."""

    dsn: str
    redis: Redis
    gateway: Gateway
    connection: asyncpg.Connection
    shards: int = 1
    keys: Any = field(default_factory=lambda: count(1))

    async def member(
        self, *, money: int = 1_000_000, coins: int = 100_000, data: int = 100_000, group: int = 0
    ) -> Member:
        party = await self.connection.fetchval(
            "insert into party (kind, name, group_id) values ('subscriber', 'Somebody', $1) returning id", group
        )
        if not group:
            await self.connection.execute("update party set group_id = id where id = $1", party)
        money_account = await self._account(party, 1, "wallet", money, Kind.TOPPED_UP)
        coin_account = await self._account(party, 2, "wallet", coins, Kind.COIN_FUNDED)
        data_account = await self._account(party, 3, "custody", data, Kind.RESERVED)
        return Member(party, group or party, money_account, coin_account, data_account)

    async def _account(self, party: int, asset: int, kind: str, amount: int, why: Kind) -> int:
        """An account with what came in from the outside world, booked on both sides."""
        account: int = await self.connection.fetchval(
            "insert into account (party_id, asset_id, kind, available) values ($1, $2, $3, $4) returning id",
            party,
            asset,
            kind,
            amount,
        )
        if amount:
            await self.connection.execute("update account set available = available - $1 where id = $2", amount, asset)
            await self.connection.execute(_OPENING, account, asset, int(why), f"open_{account}", amount)
        return account

    def order(self, member: Member, side: Literal["buy", "sell"], price: int, lots: int, **more: Any) -> PlaceOrder:
        """An order on the COIN book, or with ``instrument_id=2`` on the data book."""
        instrument = more.pop("instrument_id", 1)
        goods = member.coins if instrument == 1 else member.data
        defaults: dict[str, Any] = {
            "party_id": member.id,
            "key": f"key-{next(self.keys)}",
            "body_hash": b"body",
            "group_id": member.group_id,
            "account_id": member.money if side == "buy" else goods,
            "proceeds_account_id": member.coins if side == "buy" and instrument == 1 else member.money,
            "line_id": 7 if side == "buy" and instrument == 2 else None,
            "custody_id": member.id if side == "sell" and instrument == 2 else None,
        }
        return PlaceOrder(
            instrument_id=instrument,
            side=side,
            price_minor=price,
            quantity=lots,
            **(defaults | more),
        )

    async def place(self, member: Member, side: Literal["buy", "sell"], price: int, lots: int, **more: Any) -> Answer:
        return await self.gateway.submit(self.order(member, side, price, lots, **more))

    async def balance(self, account_id: int) -> tuple[int, int]:
        row = await self.connection.fetchrow("select available, held from account where id = $1", account_id)
        return row["available"], row["held"]


@asynccontextmanager
async def running_engine(floor_dsn: str, redis: Redis, **more: Any) -> AsyncIterator[Engine]:
    engine = Engine(floor_dsn, redis, more.pop("shard", 0), more.pop("shards", 1), **more)
    task = asyncio.create_task(engine.run())
    ready = asyncio.create_task(engine.ready.wait())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    try:
        yield engine
    finally:
        engine.stopping.set()
        ready.cancel()
        await asyncio.wait_for(task, 10)


async def fresh_database(new_database: Callable[[str], str], prefix: str = "engine") -> str:
    """A migrated database with the factories' instruments."""
    url = new_database(prefix)
    await asyncio.to_thread(migrate, url)
    connection = await asyncpg.connect(raw_dsn(url))
    await connection.execute(SCHEMA_OF_THE_DAY)
    for table in ("party", "asset", "instrument", "account"):
        await connection.execute(f"select setval(pg_get_serial_sequence('{table}', 'id'), 100)")
    await connection.close()
    return url


@asynccontextmanager
async def open_floor(url: str, valkey_url: str) -> AsyncIterator[Floor]:
    engine = connect(url)
    redis = Redis.from_url(valkey_url)
    connection = await asyncpg.connect(raw_dsn(url))
    try:
        async with Gateway(redis, sessions(engine), 1) as gateway:
            yield Floor(raw_dsn(url), redis, gateway, connection)
    finally:
        await connection.close()
        await redis.aclose()
        await engine.dispose()
