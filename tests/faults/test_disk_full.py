"""The volume under all that `surplusflow up` runs fills up in the middle of trading, and is emptied again (F7)."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import httpx
import pytest

from market.database import connect, sessions
from market.installation import mark
from tests.carrier.simulator import CREDENTIALS, CarrierProcess, free_port
from tests.faults.callers import Callers, open_callers
from tests.faults.conftest import Tally
from tests.faults.history import check
from tests.faults.judging import read_books
from tests.faults.volumes import Volume, small_volume
from tests.faults.waiting import until
from tests.stack import Running, running_market

pytestmark = pytest.mark.timeout(420)  # everything is started, dies of its disk and comes back
VOLUME_MB = 1024
ANSWERS = 40
OUTAGE_ANSWERS = 30
BACK_SECONDS = 60
"""The supervisor's longest pause before it starts a server again, and what that then needs."""
FULL = b"No space left on device"
_SMALL_LOG = ("alter system set max_wal_size = '64MB'", "alter system set min_wal_size = '32MB'")
_PENDING = "select count(*) from delivery where status in ('pending', 'delivered')"
_ALL_ENDED = """
select not exists (select from delivery where status in ('pending', 'delivered'))
    and not exists (select from instruction where status in ('ready', 'claimed', 'unknown'))
"""
_SETTLED = "select id, quantity from delivery where carrier is not null and status = 'settled'"
_MOVED = """
select split_part(external_id, '-', 4)::bigint, amount_mb from movement
where starts_with(external_id, 'sf-{mark}-deliver-')
"""
_WORDY = "select pg_logical_emit_message(false, 'greed', repeat('x', 8000000))"
"""Nothing but log: where its next file finds no room, the server ends."""
_GREED = "insert into greed select repeat(md5(number::text), 60) from generate_series(1, 40000) number"


@pytest.fixture(scope="module")
def volume() -> Iterator[Volume]:
    with small_volume(VOLUME_MB) as volume:
        yield volume


@pytest.fixture(scope="module")
def carriers(new_database: Callable[[str], str]) -> Iterator[CarrierProcess]:
    """The carriers, whose disk is another one."""
    simulator = CarrierProcess(new_database("carriers"), free_port())
    try:
        simulator.start()
        yield simulator
    finally:
        simulator.stop()


@pytest.fixture(scope="module")
def market(volume: Volume, carriers: CarrierProcess, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Everything on the small volume; ``unwatched``, it looks at another one, so that nothing is refused in time."""
    tables = (
        f'[[carrier]]\ncode = "{code}"\nname_zh = "移动"\nname_en = "Mobile"\n'
        f'base_url = "{carriers.url}/{code.lower()}"\ncredential = "{credential}"\n'
        "timeout_seconds = 2\nmax_in_flight_seconds = 4"
        for code, credential in CREDENTIALS.items()
    )
    settings = {"SURPLUSFLOW_CARRIERS": "\n\n".join(tables)}
    if request.param == "unwatched":
        settings["SURPLUSFLOW_VOLUMES"] = str(Path(__file__).parent)
    place = volume.path / request.param
    with running_market(place, "--no-demo", settings=settings) as running:
        yield running
    volume.make_room()
    shutil.rmtree(place)


@pytest.fixture(scope="module")
async def callers(market: Running) -> AsyncIterator[Callers]:
    for statement in (*_SMALL_LOG, "select pg_reload_conf()", "checkpoint"):
        await _fetch(_dsn(market), statement)
    async with open_callers(market.data_dir, market.web, _dsn(market)) as callers:
        yield callers


@pytest.fixture(scope="module", autouse=True)
def alone(callers: Callers) -> httpx.AsyncClient:
    """One of the programs, taken out of the crowd: what it asks is not in the crowd's history."""
    first, *callers.callers = callers.callers
    return first.http


@pytest.mark.parametrize("market", ["watched"], indirect=True)
async def test_the_market_lets_go_then_only_shows_itself_and_opens_again(
    market: Running, volume: Volume, callers: Callers, alone: httpx.AsyncClient
) -> None:
    async with callers.trading():
        await callers.hear(ANSWERS)
    placed = [await _place(alone, f"watermark-{number}") for number in range(2)]
    orders = [answer.json()["order_id"] for answer in placed]
    assert [answer.status_code for answer in placed] == [201, 201]

    volume.leave_percent(8)
    await _hears(market, "orders can only be cancelled")
    refused, cancelled = await _place(alone, "watermark-low"), await _cancel(alone, orders[0])
    banner_low = await _page(market)
    await _look_until(market, _ALL_ENDED)  # what was traded is settled while nothing new comes

    volume.leave_percent(4)
    await _hears(market, "nothing new is taken")
    closed = [await _place(alone, "watermark-full"), await _cancel(alone, orders[1])]
    banner_full = await _page(market)

    volume.make_room()
    await _hears(market, "free")
    opened = [await _place(alone, "watermark-ok"), await _cancel(alone, orders[1])]

    assert (refused.status_code, refused.json()["code"]) == (503, "short_of_storage")
    assert cancelled.status_code == 200
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in closed] == [(503, "60")] * 2
    assert "cancel orders" in banner_low
    assert "can only be looked at" in banner_full
    assert [answer.status_code for answer in opened] == [201, 200]
    said = (market.data_dir / "logs" / "schedule.log").read_text(encoding="utf-8")
    assert all(f'"event": "storage_{level}"' in said for level in ("low", "full", "ok"))
    assert "storage_low" in market.console.read_text(encoding="utf-8", errors="replace")  # the alarm


@pytest.mark.parametrize("market", ["unwatched"], indirect=True)
async def test_without_the_watch_a_volume_that_is_nearly_full_is_noticed_by_nobody(
    market: Running, volume: Volume, alone: httpx.AsyncClient
) -> None:
    await _look_until(market, "select true")
    volume.leave_percent(4)
    placed = await _place(alone, "unwatched")
    volume.make_room()

    assert placed.status_code == 201


@pytest.mark.parametrize("market", ["watched", "unwatched"], indirect=True)
async def test_a_disk_that_runs_full_at_once_loses_and_doubles_nothing(
    market: Running, volume: Volume, carriers: CarrierProcess, callers: Callers, tally: Tally
) -> None:
    await _fetch(_dsn(market), "create table greed (words text)")
    before = callers.statuses.copy()
    async with callers.trading():
        await callers.hear(ANSWERS)
        pending = (await _fetch(_dsn(market), _PENDING))[0][0]

        await _until_it_fails(market, volume)
        refused = callers.statuses[503]
        await until(lambda: _more_than(callers, refused + OUTAGE_ANSWERS), BACK_SECONDS)
        volume.make_room()
        await callers.hear(ANSWERS)

    again = await callers.ask_again()
    books = await read_books(_dsn(market), [caller.party_id for caller in callers.callers])
    assert check(callers.history, books, again) == []
    assert books.trades
    await _look_until(market, _ALL_ENDED, BACK_SECONDS)
    done = await asyncio.to_thread(market.command, "verify", "--json")
    assert done.returncode == 0, done.stdout
    settled = await _fetch(_dsn(market), _SETTLED)
    assert settled
    assert sorted(settled) == sorted(await _fetch(_raw(carriers.database_url), await _moved(market)))

    log = await asyncio.to_thread((market.data_dir / "logs" / "postgres.log").read_bytes)
    answers = {str(status or "no answer"): times for status, times in (callers.statuses - before).items()}
    tally(deliveries_open=pending, statements_failed=log.count(FULL), panics=log.count(b"PANIC:"), **answers)
    assert FULL in log
    web = await asyncio.to_thread((market.data_dir / "logs" / "web.log").read_text, encoding="utf-8")
    assert not callers.statuses[500], [line for line in web.splitlines() if '"status": 500' in line and "error" in line]


async def _until_it_fails(market: Running, volume: Volume) -> None:
    """Take what room there is, and have somebody write until the server first refuses that, and then dies of it."""
    for statement in (_GREED, _WORDY):
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            for _ in range(40):
                volume.leave_nothing()
                await _fetch(_dsn(market), statement)


async def _moved(market: Running) -> str:
    """Asks for what the carriers moved for this market: others before it had the same carriers."""
    engine = connect(f"postgresql+asyncpg{_dsn(market).removeprefix('postgresql')}", pool_size=2)
    try:
        async with sessions(engine)() as session:
            return _MOVED.format(mark=await mark(session))
    finally:
        await engine.dispose()


async def _more_than(callers: Callers, times: int) -> bool:
    return callers.statuses[503] > times


async def _place(http: httpx.AsyncClient, key: str) -> httpx.Response:
    order = {"symbol": "COIN", "side": "buy", "lots": 1, "price_minor": 60}
    return await http.post("/orders", json=order, headers={"Idempotency-Key": f'"{key}"'})


async def _cancel(http: httpx.AsyncClient, order_id: str) -> httpx.Response:
    return await http.delete(f"/orders/{order_id}", headers={"Idempotency-Key": f'"let-go-{order_id}"'})


async def _page(market: Running) -> str:
    headers = {"Accept": "text/html", "Accept-Language": "en"}
    async with httpx.AsyncClient(base_url=market.web, headers=headers, trust_env=False) as browser:
        return (await browser.get("/market")).text


async def _hears(market: Running, words: str, seconds: float = 20) -> None:
    """Wait until the web itself says so."""

    async def says_so() -> bool:
        with suppress(httpx.HTTPError):
            told = (await browser.get("/health/ready")).json()["information"].get("storage", {"note": ""})
            return bool(told["note"].endswith(words))
        return False

    async with httpx.AsyncClient(base_url=market.web, trust_env=False) as browser:
        await until(says_so, seconds)


async def _look_until(market: Running, question: str, seconds: float = 30) -> None:
    async def is_so() -> bool:
        return bool((await _fetch(_dsn(market), question))[0][0])

    await until(is_so, seconds)


async def _fetch(dsn: str, query: str) -> list[tuple[int, ...]]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        connection.terminate()


def _dsn(market: Running) -> str:
    environment = json.loads((market.data_dir / "environment.json").read_text(encoding="utf-8"))
    return _raw(environment["SURPLUSFLOW_DATABASE_URL"])


def _raw(url: str) -> str:
    return url.replace("+asyncpg", "")
