"""What a growing book costs: time a command, time to start, and memory, with a thousand to a million open orders."""

import gc
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any

import asyncpg
import psutil
from redis.asyncio import Redis

from market.engine.commands import Command
from market.engine.desk import NUMBERS
from web.bench.engine import CAP, a_stream, drained, enqueue, running_engine
from web.bench.stack import MEMBERS, Stack, stack

SIZES = (1_000, 10_000, 100_000, 1_000_000)
COMMANDS = 20_000
ROUNDS = 2
NANOSECONDS = 1_000_000_000

# They wait on both sides, away from where the measured commands trade, as most of a deep book does.
_FILL = f"""
insert into open_order (id, instrument_id, party_id, group_id, side, price_minor, quantity, open, time_in_force, market,
    post_only, self_trade, fee_basis_points, fee_minimum_minor, account_id, proceeds_account_id, version, priority,
    created_at, updated_at)
select -n * {NUMBERS}, 1, party, party, side, case side when 1 then 1 + n % 400 else 600 + n % 400 end, 5, 5, 'gtc',
    false, false, 'cancel_newest', 500, 1, party * 2 + side - 1, party * 2 + 2 - side, 1, -n * {NUMBERS}, now(), now()
from (
    select n, 101 + n % {MEMBERS} as party, 1 + n / {MEMBERS} % 2 as side from generate_series(1, $1::bigint) n
) filled
"""  # noqa: S608 - our own figures
_HOLD = """
update account set held = needed.amount, available = available - needed.amount
from (select account_id, sum(case side when 1 then price_minor * open else open * 100 end) as amount
    from open_order group by account_id) needed
where account.id = account_id
"""


async def run() -> tuple[dict[str, Any], dict[str, float]]:
    """Each size in a market of its own; the same commands, the quickest of some rounds."""
    figures: dict[str, Any] = {}
    for size in SIZES:
        figures |= await _at(size)
    smallest, largest = (figures[f"ns_per_command_at_{size}"] for size in (SIZES[0], SIZES[-1]))
    figures["recovery_1m_seconds"] = round(figures[f"recovery_ms_at_{SIZES[-1]}"] / 1000, 2)
    return figures, {"cost_1m_to_1k": round(largest / smallest, 3)}


async def _at(size: int) -> dict[str, Any]:
    async with stack() as at, Redis.from_url(at.redis_url) as redis:
        connection = await asyncpg.connect(at.dsn)
        await connection.execute(_FILL, size)
        await connection.execute(_HOLD)
        await connection.execute("vacuum analyze open_order")
        await connection.execute("vacuum analyze account")
        await connection.close()
        commands = a_stream(COMMANDS * ROUNDS, seed=1)
        rounds = [
            await _round(at, redis, commands[number * COMMANDS : (number + 1) * COMMANDS]) for number in range(ROUNDS)
        ]
    return {
        f"ns_per_command_at_{size}": min(elapsed_ns for elapsed_ns, _, _ in rounds) // COMMANDS,
        f"recovery_ms_at_{size}": min(recovery_ns for _, recovery_ns, _ in rounds) // 1_000_000,
        f"bytes_per_open_order_at_{size}": rounds[0][2] // size,
    }


async def _round(at: Stack, redis: Redis, commands: Sequence[Command]) -> tuple[int, int, int]:
    """Nanoseconds for the commands, nanoseconds from an engine's start until it serves, and bytes that it grew by."""
    await enqueue(redis, commands)
    gc.collect()
    before = psutil.Process().memory_info().rss
    started_at_ns = perf_counter_ns()
    async with running_engine(at, redis, CAP) as engine:
        await engine.ready.wait()
        ready_at_ns = perf_counter_ns()
        grown = psutil.Process().memory_info().rss - before
        await drained(engine, len(commands))
        return perf_counter_ns() - ready_at_ns, ready_at_ns - started_at_ns, grown
