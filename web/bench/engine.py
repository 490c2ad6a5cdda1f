"""How many commands a second the engine makes durable, beside COPY of the same rows alone, and how soon it answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter_ns
from typing import Any

import asyncpg
import msgspec
from redis.asyncio import Redis

from market.engine.commands import CancelOrder, Command, Envelope, PlaceOrder, encode, stream_of
from market.engine.desk import NUMBERS
from market.engine.engine import Engine
from matching.orders import Order, Side
from web.bench.matching import Crowd, Event
from web.bench.stack import Stack, member, stack

COMMANDS = 30_000
CAP = 64
OPENING_ORDERS = 2_000
PACED_SECONDS = 5
HOT_TABLES = ("journal", "orders", "trade", "delivery", "instruction", "posting", "audit_link")
NANOSECONDS = 1_000_000_000


async def run(commands: int = COMMANDS, cap: int = CAP, seed: int = 1) -> tuple[dict[str, Any], dict[str, float]]:
    """Drain a prepared queue at a batch cap, copy the rows that this made, then pace commands at half that rate."""
    async with stack() as at, Redis.from_url(at.redis_url) as redis:
        stream = _stream(commands, seed)
        opening, measured = stream[:OPENING_ORDERS], stream[OPENING_ORDERS:]
        await _enqueue(redis, opening)
        async with _engine(at, redis, cap) as engine:
            await _drained(engine, len(opening))
        await _enqueue(redis, measured)
        connection = await asyncpg.connect(at.dsn)
        before = await _counts(connection)
        started_at_ns = perf_counter_ns()
        async with _engine(at, redis, cap) as engine:
            await _drained(engine, len(measured))
            elapsed_ns = perf_counter_ns() - started_at_ns
            batches = engine.batches
            rate = len(measured) * NANOSECONDS // elapsed_ns
            waits_ns = sorted(await _paced(redis, rate // 2, seed))
        rows, floor_ns = await _copy_floor(connection, before, batches)
        trades = await connection.fetchval("select count(*) from trade")
        await connection.close()
    floor = len(measured) * NANOSECONDS // floor_ns
    figures = {
        "batch_cap": cap,
        "commands": len(measured),
        "batches": batches,
        "trades": trades,
        "durable_commands_per_second": rate,
        "copy_floor_commands_per_second": floor,
        "copy_floor_rows": rows,
        "paced_commands_per_second": rate // 2,
        "p50_us": waits_ns[len(waits_ns) // 2] // 1000,
        "p99_us": waits_ns[len(waits_ns) * 99 // 100] // 1000,
    }
    return figures, {"engine_to_copy_floor": round(rate / floor, 3)}


def _stream(commands: int, seed: int) -> list[Command]:
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
            made.append(_place(event, at))
        else:
            party, _, _ = member(owners[event])
            made.append(CancelOrder(party, f"k{at}", b"", 1, numbers[event]))
    return made


def _place(order: Order, at: int) -> PlaceOrder:
    party, money, coins = member(order.party_id)
    buying = order.side is Side.BUY
    return PlaceOrder(
        party_id=party,
        key=f"k{at}",
        body_hash=b"",
        instrument_id=1,
        group_id=party,
        side="buy" if buying else "sell",
        price_minor=order.price,
        quantity=order.quantity,
        account_id=money if buying else coins,
        time_in_force=order.time_in_force.value,
        proceeds_account_id=coins if buying else money,
    )


async def _enqueue(redis: Redis, commands: Sequence[Command]) -> None:
    pipe = redis.pipeline(transaction=False)
    for number, command in enumerate(commands):
        pipe.xadd(stream_of(0), {"c": encode(Envelope(command, "bench", number))})
    await pipe.execute()


@asynccontextmanager
async def _engine(at: Stack, redis: Redis, cap: int) -> AsyncIterator[Engine]:
    engine = Engine(at.dsn, redis, 0, 1, batch_cap=cap)
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        engine.stopping.set()
        await task


async def _drained(engine: Engine, commands: int) -> None:
    while engine.commands < commands:  # noqa: ASYNC110 - the engine tells nobody how far it is, and looking costs nothing
        await asyncio.sleep(0.001)


async def _counts(connection: asyncpg.Connection) -> dict[str, int]:
    return {table: await connection.fetchval(f"select count(*) from {table}") for table in HOT_TABLES}  # noqa: S608


async def _copy_floor(connection: asyncpg.Connection, before: dict[str, int], batches: int) -> tuple[int, int]:
    """Copy the rows that the measured commands made into twins of their tables, in as many commits."""
    twins = {}
    for table in HOT_TABLES:
        await connection.execute(f"create table twin_{table} (like {table} including all)")
        rows = await connection.fetch(f"select * from {table} offset $1", before[table])  # noqa: S608
        twins[table] = [tuple(row) for row in rows]
    started_at_ns = perf_counter_ns()
    for batch in range(batches):
        async with connection.transaction():
            for table, rows in twins.items():
                part = rows[batch * len(rows) // batches : (batch + 1) * len(rows) // batches]
                if part:
                    await connection.copy_records_to_table(f"twin_{table}", records=part)
    return sum(map(len, twins.values())), perf_counter_ns() - started_at_ns


async def _paced(redis: Redis, rate: int, seed: int) -> list[int]:
    """Nanoseconds from each command's due time to its answer, sent at an even rate whether or not answers come."""
    draw = random.Random(seed)
    count = rate * PACED_SECONDS
    answered: dict[int, int] = {}
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe("bench-paced")
        await pubsub.get_message(timeout=1)
        listener = asyncio.create_task(_listen(pubsub, answered, count))
        due_ns = []
        started_at_ns = perf_counter_ns()
        sent = 0
        while sent < count:
            now_ns = perf_counter_ns()
            due = min(count, (now_ns - started_at_ns) * rate // NANOSECONDS + 1)
            pipe = redis.pipeline(transaction=False)
            for number in range(sent, due):
                due_ns.append(started_at_ns + number * NANOSECONDS // rate)
                order = Order(number, draw.randrange(1000), 0, Side.BUY, draw.randint(1, 400), 1, 1)
                pipe.xadd(stream_of(0), {"c": encode(Envelope(_place(order, -number - 1), "bench-paced", number))})
            if due > sent:
                await pipe.execute()
            sent = due
            await asyncio.sleep(0.001)
        await asyncio.wait_for(listener, 60)
    return [answered[number] - at_ns for number, at_ns in enumerate(due_ns)]


async def _listen(pubsub: Any, answered: dict[int, int], count: int) -> None:
    decode = msgspec.json.Decoder(list[tuple[int, msgspec.Raw]]).decode
    while len(answered) < count:
        message = await pubsub.get_message(timeout=None)
        if message is not None:
            now_ns = perf_counter_ns()
            answered.update((number, now_ns) for number, _ in decode(message["data"]))
