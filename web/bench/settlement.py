"""How many trades a second are settled through real HTTP, beside the bare calls alone, and what one slow carrier costs.

The bare calls are those of the same port, with as many in the air, to the same simulator, on an equal set of trades,
without any database of ours. Both are measured twice, in the order bare, settled, settled, bare, after a stretch of
each that does not count.
"""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import asyncpg
import httpx
import psutil
from redis.asyncio import Redis

from market.database import connect, sessions
from market.engine.commands import SETTLEMENT_WAKE
from market.installation import mark
from market.vault import Vault
from market.verify import verify
from settlement.carriers.opening import open_carrier
from settlement.carriers.port import CarrierPort
from settlement.carriers.values import CarrierProfile
from settlement.naming import external_id
from web.bench.settlement_stock import FAR, QUANTITY_MB, Stock, Trade
from web.bench.stack import Stack, cpu_seconds, postgres_seconds, stack
from web.embedded import free_port

TRADES = 5_000
WARM_UP_TRADES = 1_500
"""Called and settled before the first stretch that counts: programs that have just started still prepare statements."""
SLOW_TRADES = 2_000
"""Trades of the two quick carriers while the third is slow."""
LATENCY_MS = 20
SLOW_MS = 5_000
CODES = ("CMCC", "CUCC", "CTCC")
AT_ONCE = 32
START_SECONDS = 60
STOP_SECONDS = 30
LONGEST_SECONDS = 300
LOOK_SECONDS = 0.05


async def run(trades: int = TRADES) -> tuple[dict[str, Any], dict[str, float]]:
    """Settle and call by turns, then settle beside a slow carrier; the books are verified afterwards."""
    async with AsyncExitStack() as held:
        place = await held.enter_async_context(_place())
        await place.bare(WARM_UP_TRADES)
        bare = [await place.bare(trades)]
        worker = await held.enter_async_context(_worker(place))
        await place.settled(WARM_UP_TRADES, worker)
        settled = [await place.settled(trades, worker), await place.settled(trades, worker)]
        bare.append(await place.bare(trades))
        alone, beside = await place.beside_a_slow_one(SLOW_TRADES, worker)
        unsound = [finding.id for finding in await verify(place.at.dsn) if finding.breaches]
    bare_rate, rate = _rate(bare), _rate(settled)
    figures = {
        "trades": 2 * trades,
        "carriers": len(CODES),
        "latency_ms": LATENCY_MS,
        "at_once_per_carrier": AT_ONCE,
        "settled_per_second": rate,
        "bare_calls_per_second": bare_rate,
        **{f"settled_per_second_run_{n}": _rate([run]) for n, run in enumerate(settled, start=1)},
        **{f"bare_calls_per_second_run_{n}": _rate([run]) for n, run in enumerate(bare, start=1)},
        **_cpu("settled", settled),
        **_cpu("bare", bare),
        "slow_carrier_ms": SLOW_MS,
        "others_alone_per_second": _rate(alone),
        "others_beside_a_slow_one_per_second": _rate(beside),
        "broken_invariants": len(unsound),
    }
    ratios = {
        "settlement_to_bare_http": round(rate / bare_rate, 3),
        "others_beside_a_slow_carrier": round(_rate(beside) / _rate(alone), 3),
    }
    return figures, ratios


# The soonest of each lane, as the index has it: looked for twenty times a second, it must not cost what is measured.
_LEFT = """
select exists (
    select from unnest($1::text[]) lane where (
        select min(not_before) from instruction
        where instruction.lane = lane.lane and status in ('ready', 'claimed', 'unknown')
    ) < $2
)
"""


@dataclass(frozen=True)
class Run:
    """One stretch of work: what was done, how long it took, and the processor time of each side in seconds."""

    trades: int
    seconds: float
    cpu: Mapping[str, float]


def _rate(runs: Sequence[Run]) -> int:
    return round(sum(run.trades for run in runs) / sum(run.seconds for run in runs))


def _cpu(name: str, runs: Sequence[Run]) -> dict[str, int]:
    """Processor time of a trade on each side, in microseconds."""
    trades = sum(run.trades for run in runs)
    return {
        f"{name}_{side}_cpu_us_per_trade": round(sum(run.cpu[side] for run in runs) * 1_000_000 / trades)
        for side in runs[0].cpu
    }


@dataclass(frozen=True)
class _Place:
    """Our servers, the simulated carriers with a database of their own, and trades to be settled between them."""

    at: Stack
    redis: Redis
    connection: asyncpg.Connection
    stock: Stock
    mark: str
    profiles: Sequence[CarrierProfile]
    environment: Mapping[str, str]
    simulator: psutil.Process

    async def bare(self, trades: int) -> Run:
        """The calls alone, each carrier's with as many in the air as its lane has."""
        sets = await self._sets(trades, self.profiles)
        before, started = self._cpu(psutil.Process()), perf_counter()
        async with AsyncExitStack() as held, asyncio.TaskGroup() as group:
            for profile, mine in zip(self.profiles, sets, strict=True):
                carrier, left = await held.enter_async_context(open_carrier(profile)), iter(mine)
                for _ in range(profile.at_once):
                    group.create_task(self._call(carrier, left))
        return self._run(sum(map(len, sets)), started, before, self._cpu(psutil.Process()))

    async def _call(self, carrier: CarrierPort, left: Iterator[Trade]) -> None:
        for trade in left:
            name = external_id(self.mark, "deliver", trade.id)
            await carrier.settle(trade.reservation_id, trade.receiver, QUANTITY_MB, name)

    async def settled(self, trades: int, worker: psutil.Process) -> Run:
        """The same by the settlement program, from the moment that the trades are due."""
        sets = await self._sets(trades, self.profiles)
        before, started = self._cpu(worker), perf_counter()
        await self._begin([trade for mine in sets for trade in mine])
        await self._until_settled(self.profiles)
        return self._run(sum(map(len, sets)), started, before, self._cpu(worker))

    async def beside_a_slow_one(self, trades: int, worker: psutil.Process) -> tuple[list[Run], list[Run]]:
        """Two carriers' trades without the third, and while the third takes its time; by turns, as the others."""
        *quick, slow = self.profiles
        alone = [await self._quick(trades, quick, [], worker)]
        beside = []
        for _ in range(2):
            await self.latency(SLOW_MS, slow)
            beside.append(await self._quick(trades, quick, await self.stock.trades(slow, trades // len(quick)), worker))
            await self.latency(LATENCY_MS, slow)
            await self._until_settled([slow])
        alone.append(await self._quick(trades, quick, [], worker))
        return alone, beside

    async def _quick(
        self, trades: int, quick: Sequence[CarrierProfile], others: Sequence[Trade], worker: psutil.Process
    ) -> Run:
        sets = await self._sets(trades, quick)
        before, started = self._cpu(worker), perf_counter()
        await self._begin([*others, *(trade for mine in sets for trade in mine)])
        await self._until_settled(quick)
        return self._run(sum(map(len, sets)), started, before, self._cpu(worker))

    async def latency(self, milliseconds: int, *profiles: CarrierProfile) -> None:
        """Choose how long these carriers take for an answer."""
        async with httpx.AsyncClient(trust_env=False) as client:
            for profile in profiles:
                headers = {"Authorization": f"Bearer {profile.credential}"}
                wanted = {"latency_ms": milliseconds}
                answer = await client.put(f"{profile.base_url}/admin/faults", json=wanted, headers=headers)
                answer.raise_for_status()

    async def _sets(self, trades: int, profiles: Sequence[CarrierProfile]) -> list[list[Trade]]:
        return [await self.stock.trades(profile, trades // len(profiles)) for profile in profiles]

    async def _begin(self, trades: Sequence[Trade]) -> None:
        await self.connection.execute(
            "update instruction set not_before = now() where kind = 'deliver' and subject_id = any($1::bigint[])",
            [trade.id for trade in trades],
        )
        await self.redis.publish(SETTLEMENT_WAKE, b"")

    async def _until_settled(self, profiles: Sequence[CarrierProfile]) -> None:
        """Wait until nothing is due on these lanes; what was prepared for later is not."""
        async with asyncio.timeout(LONGEST_SECONDS):
            while await self.connection.fetchval(_LEFT, [profile.code for profile in profiles], FAR):  # noqa: ASYNC110 - it shows only in the database
                await asyncio.sleep(LOOK_SECONDS)

    def _cpu(self, client: psutil.Process) -> dict[str, float]:
        """Processor time until now: of whoever calls, of the simulated carriers, and of PostgreSQL for both."""
        return {
            "client": cpu_seconds(client),
            "simulator": cpu_seconds(self.simulator),
            "postgres": postgres_seconds(self.connection),
        }

    @staticmethod
    def _run(trades: int, started: float, before: Mapping[str, float], after: Mapping[str, float]) -> Run:
        return Run(trades, perf_counter() - started, {side: after[side] - before[side] for side in before})


@asynccontextmanager
async def _place() -> AsyncIterator[_Place]:
    async with stack() as at, Redis.from_url(at.redis_url) as redis:
        connection = await asyncpg.connect(at.dsn)
        await connection.execute("create database carriers")
        port, secret = free_port(), f"demo_{secrets.token_urlsafe(48)}"
        profiles = [_profile(code, port) for code in CODES]
        environment = _environment(at, profiles, secret)
        with _program(["carrier-sim", "--port", str(port)], environment) as simulator:
            await _until_healthy(port)
            ours = await _mark(at)
            stock = Stock(connection, Vault(secret), ours)
            await stock.found(profiles)
            place = _Place(at, redis, connection, stock, ours, profiles, environment, simulator)
            await place.latency(LATENCY_MS, *profiles)
            yield place
        await connection.close()


async def _mark(at: Stack) -> str:
    engine = connect(at.database_url)
    async with sessions(engine)() as session:
        found = await mark(session)
    await engine.dispose()
    return found


@asynccontextmanager
async def _worker(place: _Place) -> AsyncIterator[psutil.Process]:
    """The settlement program as it is run in earnest, once it listens."""
    with _program(["settle"], place.environment) as process:
        async with asyncio.timeout(START_SECONDS):
            while not (await place.redis.pubsub_numsub(SETTLEMENT_WAKE))[0][1]:  # noqa: ASYNC110 - Redis tells nobody who listens
                await asyncio.sleep(LOOK_SECONDS)
        yield process


def _profile(code: str, port: int) -> CarrierProfile:
    return CarrierProfile(
        code=code,
        name_zh=code,
        name_en=code,
        base_url=f"http://127.0.0.1:{port}/{code.lower()}",
        credential=f"demo_{code}",
        at_once=AT_ONCE,
    )


def _environment(at: Stack, profiles: Sequence[CarrierProfile], secret: str) -> dict[str, str]:
    ours = {
        "ENVIRONMENT": "demo",
        "DATABASE_URL": at.database_url,
        "REDIS_URL": at.redis_url,
        "SECRET_KEY": secret,
        "PUBLIC_URL": "http://127.0.0.1:9",
        "CARRIERS": "".join(_table(profile) for profile in profiles),
        "STRIPE_API_KEY": "sk_test_sim",
        "STRIPE_API_BASE": "http://127.0.0.1:9",
        "STRIPE_WEBHOOK_SECRET": "whsec_bench",
        "CARRIER_SIM_DATABASE_URL": at.database_url.replace("/bench?", "/carriers?"),
    }
    return {**os.environ, **{f"SURPLUSFLOW_{name}": value for name, value in ours.items()}}


def _table(profile: CarrierProfile) -> str:
    """The profile as a table of the configuration's TOML."""
    values = {name: value for name, value in asdict(profile).items() if value not in {None, ""}}
    return "[[carrier]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@contextmanager
def _program(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[psutil.Process]:
    """One of our programs as a process of its own; what it says goes where the environment wants it, or nowhere."""
    program = subprocess.Popen(  # noqa: S603 - our own programs
        [sys.executable, "-m", "web.cli", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(program.pid)
    finally:
        program.terminate()
        try:
            program.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


async def _until_healthy(port: int) -> None:
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False) as client:
        while True:
            with suppress(httpx.TransportError):
                if (await client.get(f"http://127.0.0.1:{port}/health")).is_success:
                    return
            await asyncio.sleep(LOOK_SECONDS)
