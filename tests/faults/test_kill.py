"""Everything that `surplusflow up` runs, killed in the middle of a stream of orders over the public API."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager

import asyncpg
import pytest

from tests.carrier.simulator import CREDENTIALS, CarrierProcess, free_port
from tests.faults.callers import Callers, open_callers
from tests.faults.conftest import Tally
from tests.faults.history import check
from tests.faults.judging import read_books
from tests.faults.waiting import until
from tests.stack import Running, running_market
from tests.supervisor.running import at_work, is_gone, short_folder

pytestmark = pytest.mark.timeout(300)  # everything is started twice, perhaps on a busy machine
PROGRAMS = ("settle", "engine-0", "web", "postgres", "valkey")
SERVERS = {"postgres": "postgres", "valkey": "valkey-server"}
ANSWERS = 60
TERMINAL_SECONDS = 60
CARRIER_PATIENCE = "timeout_seconds = 2\nmax_in_flight_seconds = 4"
"""A carrier of the real world may keep a request for a minute; a test cannot wait for that."""
_PENDING = "select exists (select from delivery where status = 'pending')"
_ALL_ENDED = """
select not exists (select from delivery where status in ('pending', 'delivered'))
    and not exists (select from instruction where status in ('ready', 'claimed', 'unknown'))
"""
_SETTLED = "select id, quantity from delivery where carrier is not null and status = 'settled'"
_MOVED = """
select split_part(external_id, '-', 4)::bigint, amount_mb from movement where external_id like '%-deliver-%'
"""


@pytest.fixture(scope="module")
def carriers(new_database: Callable[[str], str]) -> Iterator[CarrierProcess]:
    """The carriers, who live in the outside world and are not killed here."""
    simulator = CarrierProcess(new_database("carriers"), free_port())
    try:
        simulator.start()
        yield simulator
    finally:
        simulator.stop()


@pytest.fixture(scope="module")
def settings(carriers: CarrierProcess) -> dict[str, str]:
    tables = (
        f'[[carrier]]\ncode = "{code}"\nname_zh = "移动"\nname_en = "Mobile"\n'
        f'base_url = "{carriers.url}/{code.lower()}"\ncredential = "{credential}"\n{CARRIER_PATIENCE}'
        for code, credential in CREDENTIALS.items()
    )
    return {"SURPLUSFLOW_CARRIERS": "\n\n".join(tables)}


@pytest.fixture(scope="module")
def market(settings: dict[str, str]) -> Iterator[Running]:
    """Everything on this machine, without traders of its own."""
    with short_folder() as folder, running_market(folder / "data", "--no-demo", settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
async def callers(market: Running) -> AsyncIterator[Callers]:
    async with open_callers(market.data_dir, market.web, _dsn(market)) as callers:
        yield callers


async def test_killing_each_program_and_server_loses_and_doubles_nothing(
    market: Running, carriers: CarrierProcess, callers: Callers, tally: Tally
) -> None:
    in_flight: dict[str, int] = {}
    async with callers.trading():
        for name in PROGRAMS:
            await callers.hear(ANSWERS)
            if name == "settle":
                await _look_until(market, _PENDING)
            in_flight[f"waiting_when_{name}_died"] = callers.in_flight
            await _kill(market, name)
            await callers.hear(ANSWERS)

    await _judge(market, carriers, callers)
    tally(kills=len(PROGRAMS), **in_flight, **_work(callers), **_mistakes(market))
    assert all(in_flight.values())
    assert callers.history.unknown
    assert not callers.statuses[500], callers.statuses


async def test_after_the_death_of_the_supervisor_a_new_start_finds_everything(
    market: Running, settings: dict[str, str], carriers: CarrierProcess, callers: Callers, tally: Tally
) -> None:
    port = market.web.rpartition(":")[2]
    before = market.run["pids"]
    with ExitStack() as stack:
        async with callers.trading():
            await callers.hear(ANSWERS)
            in_flight = callers.in_flight
            market.process.kill()
            await asyncio.to_thread(market.process.wait)
            again = running_market(market.data_dir, "--no-demo", "--port", port, settings=settings)
            running = await asyncio.to_thread(stack.enter_context, again)
            await callers.hear(ANSWERS)

        assert all(is_gone(process_id) for process_id in before.values())
        for name, program in SERVERS.items():
            assert at_work(market.data_dir / name, program) == [running.run["pids"][name]]
        await _judge(running, carriers, callers)
    tally(kills=1, requests_waiting=in_flight, **_work(callers), **_mistakes(market))
    assert in_flight
    assert not callers.statuses[500], callers.statuses


def _work(callers: Callers) -> dict[str, int]:
    answers = {f"answers_{status}" if status else "no_answer": times for status, times in callers.statuses.items()}
    return {"commands": len(callers.calls), "unknown": callers.history.unknown, **answers}


def _mistakes(market: Running) -> Counter[str]:
    """What was behind the answers of 500, as the web's log tells it."""
    lines = (market.data_dir / "logs" / "web.log").read_text().splitlines()
    failed = [json.loads(line) for line in lines if '"event": "failed"' in line]
    return Counter(f"500_by_{'; '.join(each['where'])}" for each in failed if each["status"] == 500)


async def _kill(market: Running, name: str) -> None:
    """Kill a program, and wait until the supervisor has started it again."""
    process_id = market.run["pids"][name]

    async def is_back() -> bool:
        return bool(market.run["pids"].get(name, process_id) != process_id)

    os.kill(process_id, signal.SIGKILL)
    await until(is_back, seconds=30)


async def _judge(market: Running, carriers: CarrierProcess, callers: Callers) -> None:
    """Every promise kept, every trade settled, every invariant held, and the carriers' own books agreed."""
    again = await callers.ask_again()
    books = await read_books(_dsn(market), [caller.party_id for caller in callers.callers])
    assert check(callers.history, books, again) == []
    assert books.trades

    await _look_until(market, _ALL_ENDED, seconds=TERMINAL_SECONDS)
    done = await asyncio.to_thread(market.command, "verify", "--json")
    assert done.returncode == 0, done.stdout
    settled, moved = await _fetch(_dsn(market), _SETTLED), await _fetch(_raw(carriers.database_url), _MOVED)
    assert settled
    assert sorted(settled) == sorted(moved)


async def _look_until(market: Running, question: str, seconds: float = 20) -> None:
    async with _connected(_dsn(market)) as connection:
        await until(lambda: connection.fetchval(question), seconds)


async def _fetch(dsn: str, query: str) -> list[tuple[int, int]]:
    async with _connected(dsn) as connection:
        return [tuple(row) for row in await connection.fetch(query)]


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def _dsn(market: Running) -> str:
    environment = json.loads((market.data_dir / "environment.json").read_text(encoding="utf-8"))
    return _raw(environment["SURPLUSFLOW_DATABASE_URL"])


def _raw(url: str) -> str:
    return url.replace("+asyncpg", "")
