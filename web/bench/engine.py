"""How many commands a second the engine makes durable, and how soon it answers, beside three other ways to write them.

The copy floor is the same rows by COPY alone, in as many commits. One by one is a transaction
for each order, by sixteen clients (`web.bench.baselines`).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter_ns
from typing import Any

import asyncpg
from redis.asyncio import Redis

from market.engine.commands import CancelOrder, Command, Envelope, encode, stream_of
from market.engine.desk import NUMBERS
from market.engine.engine import Engine
from matching.orders import Order
from web.bench import baselines
from web.bench.matching import Crowd, Event
from web.bench.orders import placed
from web.bench.pacing import waits_of
from web.bench.stack import Stack, member, stack

SUSTAINED = 200_000
CAP = 256
BURSTS = {1: 2_000, 16: 10_000, 64: 20_000, 256: 30_000, 1024: 30_000}
"""Batch caps, and how many commands are drained at each."""
OPENING_ORDERS = 2_000
PACED_SECONDS = 5
SLOW_RATE = 2_000
BASELINE_SECONDS = 8
HOT_TABLES = ("journal", "open_order", "ended_order", "trade", "delivery", "instruction", "audit_link")
NANOSECONDS = 1_000_000_000


async def run(commands: int = SUSTAINED, seed: int = 1) -> tuple[dict[str, Any], dict[str, float]]:
    """Drain a long queue at one cap, and short ones at all; pace commands at even rates; then the other ways."""
    sustained, ratios = await _sustained(commands, seed)
    bursts: dict[str, Any] = {}
    for cap, number in BURSTS.items():
        bursts |= await _burst(cap, number, seed)
    one, one_again, orm, orm_again = await _baselines(seed)
    rate = sustained["durable_commands_per_second"]
    figures = (
        sustained
        | bursts
        | {
            "one_by_one_per_second": one,
            "one_by_one_tried_again": one_again,
            "orm_design_per_second": orm,
            "orm_design_tried_again": orm_again,
        }
    )
    ratios |= {
        "engine_to_one_by_one": round(rate / max(one, 1), 2),
        "engine_to_orm_design": round(rate / max(orm, 1), 2),
    }
    return figures, ratios


async def _sustained(commands: int, seed: int) -> tuple[dict[str, Any], dict[str, float]]:
    """The long run: its rate, how soon answers come at two even rates after it, and the copy floor of its rows."""
    async with stack() as at, Redis.from_url(at.redis_url) as redis:
        stream = a_stream(commands, seed)
        opening, measured = stream[:OPENING_ORDERS], stream[OPENING_ORDERS:]
        await _drain(at, redis, CAP, opening)
        connection = await asyncpg.connect(at.dsn)
        before = await _counts(connection)
        elapsed_ns, batches = await _drain(at, redis, CAP, measured)
        rate = len(measured) * NANOSECONDS // elapsed_ns
        after = await _counts(connection)
        slow_ns, half_ns = await _paced(at, redis, CAP, (SLOW_RATE, rate // 2), seed)
        rows, floor_ns = await _copy_floor(connection, before, after, len(stream), batches)
        await connection.close()
    floor = len(measured) * NANOSECONDS // floor_ns
    figures = {
        "commands": len(measured),
        "batch_cap": CAP,
        "batches": batches,
        "trades": after["trade"],
        "durable_commands_per_second": rate,
        "copy_floor_commands_per_second": floor,
        "copy_floor_rows": rows,
        f"at_{SLOW_RATE}_per_second_p50_us": _part(slow_ns, 50),
        f"at_{SLOW_RATE}_per_second_p99_us": _part(slow_ns, 99),
        "half_rate_per_second": rate // 2,
        "at_half_rate_p50_us": _part(half_ns, 50),
        "at_half_rate_p99_us": _part(half_ns, 99),
    }
    return figures, {"engine_to_copy_floor": round(rate / floor, 3)}


async def _burst(cap: int, commands: int, seed: int) -> dict[str, Any]:
    """A short run at a batch cap, on fresh tables: its rate, and how soon answers come at half of it."""
    async with stack() as at, Redis.from_url(at.redis_url) as redis:
        stream = a_stream(commands, seed)
        await _drain(at, redis, CAP, stream[:OPENING_ORDERS])
        elapsed_ns, _ = await _drain(at, redis, cap, stream[OPENING_ORDERS:])
        rate = commands * NANOSECONDS // elapsed_ns
        (waits_ns,) = await _paced(at, redis, cap, (rate // 2,), seed)
    return {
        f"burst_at_cap_{cap}_per_second": rate,
        f"burst_at_cap_{cap}_p50_us": _part(waits_ns, 50),
        f"burst_at_cap_{cap}_p99_us": _part(waits_ns, 99),
    }


async def _baselines(seed: int) -> tuple[int, int, int, int]:
    async with stack() as at:
        stream = a_stream(100_000, seed)
        one, one_again = await baselines.one_by_one(at, stream, BASELINE_SECONDS)
    async with stack() as at:
        orm, orm_again = await baselines.through_the_orm(at, stream, BASELINE_SECONDS)
    return one, one_again, orm, orm_again


async def _drain(at: Stack, redis: Redis, cap: int, commands: Sequence[Command]) -> tuple[int, int]:
    """Nanoseconds from the engine's start to the last commit of a prepared queue, and the batches that it took."""
    await enqueue(redis, commands)
    started_at_ns = perf_counter_ns()
    async with running_engine(at, redis, cap) as engine:
        await drained(engine, len(commands))
        return perf_counter_ns() - started_at_ns, engine.batches


def _part(waits_ns: Sequence[int], percent: int) -> int:
    return sorted(waits_ns)[len(waits_ns) * percent // 100] // 1000


def a_stream(commands: int, seed: int) -> list[Command]:
    """Half adds, two in five cancels, the rest marketable: numbered as the engine will number them."""
    crowd = Crowd(seed)
    events: list[Event] = [crowd.add() for _ in range(OPENING_ORDERS)]
    events += [crowd.event() for _ in range(commands)]
    numbers: dict[int, int] = {}
    owners: dict[int, int] = {}
    made: list[Command] = []
    for at, event in enumerate(events, start=1):
        if isinstance(event, Order):
            numbers[event.id], owners[event.id] = at * NUMBERS, event.party_id
            made.append(placed(event, at))
        else:
            party, _, _ = member(owners[event])
            made.append(CancelOrder(party, f"k{at}", b"", 1, numbers[event]))
    return made


async def enqueue(redis: Redis, commands: Sequence[Command]) -> None:
    for first in range(0, len(commands), 10_000):
        pipe = redis.pipeline(transaction=False)
        for number, command in enumerate(commands[first : first + 10_000]):
            pipe.xadd(stream_of(0), {"c": encode(Envelope(command, "bench", number))})
        await pipe.execute()


@asynccontextmanager
async def running_engine(at: Stack, redis: Redis, cap: int) -> AsyncIterator[Engine]:
    engine = Engine(at.dsn, redis, 0, 1, batch_cap=cap, owns_process=True)
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        engine.stopping.set()
        await task


async def drained(engine: Engine, commands: int) -> None:
    while engine.commands < commands:  # noqa: ASYNC110 - the engine tells nobody how far it is, and looking costs nothing
        await asyncio.sleep(0.001)


async def _counts(connection: asyncpg.Connection) -> dict[str, int]:
    return {table: await connection.fetchval(f"select count(*) from {table}") for table in HOT_TABLES}  # noqa: S608


async def _copy_floor(
    connection: asyncpg.Connection, before: dict[str, int], after: dict[str, int], commands: int, batches: int
) -> tuple[int, int]:
    """Copy the rows that the measured commands left into twins of their tables, in as many commits.

    An order counts once, as it ended or waits; that it was moved from one table to the other is the engine's own work.
    """
    twins = {}
    for table in HOT_TABLES:
        await connection.execute(f"create table twin_{table} (like {table} including all)")
        if table in {"open_order", "ended_order"}:
            ids = OPENING_ORDERS * NUMBERS + 1, (commands + 1) * NUMBERS - 1
            query = f"select * from {table} where id between $1 and $2 order by id"  # noqa: S608 - ours
            rows = await connection.fetch(query, *ids)
        else:
            query = f"select * from {table} offset $1 limit $2"  # noqa: S608 - ours
            rows = await connection.fetch(query, before[table], after[table] - before[table])
        twins[table] = [tuple(row) for row in rows]
    started_at_ns = perf_counter_ns()
    for batch in range(batches):
        async with connection.transaction():
            for table, rows in twins.items():
                part = rows[batch * len(rows) // batches : (batch + 1) * len(rows) // batches]
                if part:
                    await connection.copy_records_to_table(f"twin_{table}", records=part)
    return sum(map(len, twins.values())), perf_counter_ns() - started_at_ns


async def _paced(at: Stack, redis: Redis, cap: int, rates: Sequence[int], seed: int) -> list[list[int]]:
    """How soon answers come at each of these even rates."""
    waits = []
    async with running_engine(at, redis, cap) as engine:
        await engine.ready.wait()
        for number, rate in enumerate(rates):
            waits.append(await waits_of(at.redis_url, rate, PACED_SECONDS, seed, number * 10**9))
    return waits
