"""Fixtures of the settlement tests: a migrated database, and a world of simulators around it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.database import connect
from market.database import sessions as sessions_of
from settlement.carriers.client import Carrier
from settlement.payments.port import Payments
from settlement.simulators.payment.desk import Settings
from tests.carrier.simulator import CarrierProcess, free_port
from tests.databases import migrate
from tests.payment.making import Http, Provider, settings_for
from tests.settlement.world import World

HANG_MS = 1200


@pytest.fixture(scope="module")
async def database_url(new_database: Callable[[str], str]) -> str:
    url = new_database("settlement")
    await asyncio.to_thread(migrate, url)
    return url


@pytest.fixture(scope="module")
async def sessions(database_url: str) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    engine = connect(database_url, pool_size=20)
    yield sessions_of(engine)
    await engine.dispose()


@pytest.fixture(scope="session")
def carrier_simulator(new_database: Callable[[str], str]) -> Iterator[CarrierProcess]:
    process = CarrierProcess(new_database("settlement_carrier"), free_port())
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
async def payment_simulator(new_database: Callable[[str], str]) -> AsyncIterator[Provider]:
    quick = Settings(webhook_retry_seconds=(0, 0, 0), payout_step_seconds=0, refund_step_seconds=0, hang_seconds=3)
    running = Provider(new_database("settlement_payment"), quick)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="session")
async def provider_http(payment_simulator: Provider) -> AsyncIterator[Http]:
    client = Http(payment_simulator)
    yield client
    await client.close()


@pytest.fixture(scope="session")
async def carrier_port(carrier_simulator: CarrierProcess) -> AsyncIterator[Carrier]:
    async with Carrier(carrier_simulator.profile(timeout_seconds=0.6, max_in_flight_seconds=1.2)) as port:
        yield port


@pytest.fixture(scope="session")
async def payments_port(payment_simulator: Provider) -> AsyncIterator[Payments]:
    port = Payments(settings_for(payment_simulator, timeout_seconds=2))
    yield port
    await port.close()


@pytest.fixture
async def world(
    sessions: async_sessionmaker[AsyncSession],
    carrier_simulator: CarrierProcess,
    carrier_port: Carrier,
    payments_port: Payments,
    database_url: str,
) -> World:
    """Everybody well behaved until a test says otherwise; our patience is short."""
    carrier_simulator.faults(hang_ms=HANG_MS, late_ms=HANG_MS)
    mark = database_url.partition("?")[0].rpartition("_")[2]
    return World(sessions, carrier_simulator, carrier_port, payments_port, mark=mark)
