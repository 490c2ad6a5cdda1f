"""The market with its outside: simulated carriers and payment provider as processes of their own."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from market.database import raw_dsn
from market.settings import Settings
from market.venue import open_venue
from settlement.carriers.values import CarrierProfile
from settlement.payments.values import PaymentSettings
from tests.databases import migrate
from tests.market.town import API_KEY, CREDENTIALS, Town

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
STOP_SECONDS = 10
PAYMENT_SIM = """
import sys
from settlement.simulators.payment.serve import serve
serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
"""

FOUNDING = """
insert into party (kind, name, group_id) values ('operator', 'House', 1);
insert into asset (code, kind) values ('CNY', 'money'), ('COIN', 'coin');
insert into asset (code, kind, carrier, scope, expires_at)
    values ('CMCC-CN-3001', 'data', 'CMCC', 'CN', '2030-01-31T16:00:00Z'),
           ('CTCC-CN-3001', 'data', 'CTCC', 'CN', '2030-01-31T16:00:00Z');
insert into rule_profile (carrier, effective_from, terms)
    values ('CMCC', '2020-01-01', '{}'), ('CTCC', '2020-01-01', '{}');
insert into instrument (symbol, asset_id, currency, lot_units, tick_minor, floor_minor, ceiling_minor, reference_minor,
                        maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at)
    select asset.code, asset.id, 'CNY', 100, 5, 5, 1000, 300, 100000, 500, 1, '2020-01-01', '2030-01-31'
    from asset where kind <> 'money' order by id;
"""
"""The smallest market: the house, money, coins, and data of two carriers."""


@pytest.fixture(scope="session")
def carrier_program(new_database: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """The simulated carriers: their address and their database."""
    url, port = new_database("market_carrier"), a_free_port()
    command = ["-m", "settlement.simulators.carrier", "--database-url", url, "--port", str(port)]
    environment = {"CARRIER_SIM_CREDENTIALS": json.dumps(CREDENTIALS)}
    with a_program(command, port, environment) as address:
        yield address, url


@pytest.fixture(scope="session")
def payment_program(new_database: Callable[[str], str]) -> Iterator[str]:
    """The simulated payment provider's address."""
    port = a_free_port()
    with a_program(["-c", PAYMENT_SIM, new_database("market_payment"), str(port), API_KEY], port, {}) as address:
        yield address


@pytest.fixture(scope="session")
def market_database(new_database: Callable[[str], str]) -> str:
    """A database of the newest schema. Migrating runs a loop of its own, so no loop may be running yet."""
    url = new_database("market")
    migrate(url)
    return url


@pytest.fixture(scope="session")
async def town(
    market_database: str,
    valkey_url: str,
    carrier_program: tuple[str, str],
    payment_program: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Town]:
    """One market for all tests of this room; each test brings its own people."""
    carrier_url, carrier_database = carrier_program
    connection = await asyncpg.connect(raw_dsn(market_database))
    await connection.execute(FOUNDING)
    await connection.close()
    books = await asyncpg.connect(raw_dsn(carrier_database))
    profiles = tuple(
        CarrierProfile(code, code, code, f"{carrier_url}/{code.lower()}", credential)
        for code, credential in CREDENTIALS.items()
    )
    settings = Settings(
        environment="demo",
        database_url=market_database,
        redis_url=valkey_url,
        data_dir=tmp_path_factory.mktemp("market"),
        secret_key=secrets.token_urlsafe(48),
        public_url="http://127.0.0.1:8000",
        bind_host="127.0.0.1",
        carriers=profiles,
        payment=PaymentSettings(API_KEY, payment_program, "whsec_test", 10),
        shards=1,
        currency="CNY",
        timezone=ZoneInfo("Asia/Shanghai"),
    )
    async with open_venue(settings, pool_size=40) as venue:
        yield Town(venue, carrier_url, books, payment_program)
    await books.close()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def a_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def a_program(arguments: list[str], port: int, environment: dict[str, str]) -> Iterator[str]:
    """One of our programs while it serves; it is stopped as an operator would stop it."""
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_healthy(address):
            assert process.poll() is None, "the program stopped by itself"
            assert time.monotonic() < deadline, "the program did not start in time"
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def is_healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
