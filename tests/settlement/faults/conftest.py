"""A founded market of the module's own, with simulators around it and workers that may be killed."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from market.database import connect, migrate, raw_dsn
from market.database import sessions as sessions_of
from settlement.carriers.client import Carrier
from settlement.payments.port import Payments
from settlement.simulators.payment.desk import Settings
from tests.carrier.simulator import CREDENTIALS, CarrierProcess, free_port
from tests.payment.making import API_KEY, Http, Provider, settings_for
from tests.settlement.faults.estate import Estate
from tests.settlement.faults.mischief import Link, open_link
from tests.settlement.faults.settlers import Settlers, Surroundings, open_settlers

SEED = int(os.environ.get("SURPLUSFLOW_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)


@dataclass
class Site:
    """Where settlement is tried: the estate, the links to the outside, and the workers."""

    estate: Estate
    carriers_link: Link
    provider_link: Link
    settlers: Settlers
    surroundings: Surroundings
    database_url: str

    @property
    def dsn(self) -> str:
        return raw_dsn(self.database_url)


@pytest.fixture(scope="module")
def own_carriers(new_database: Callable[[str], str]) -> Iterator[CarrierProcess]:
    """Carriers of the module's own, whose books hold nothing else."""
    process = CarrierProcess(new_database("fault_carriers"), free_port())
    try:
        process.start()
        yield process
    finally:
        process.stop()


@asynccontextmanager
async def open_site(
    new_database: Callable[[str], str], carriers: CarrierProcess, redis_url: str, log: Path, database_url: str
) -> AsyncIterator[Site]:
    """A founded market between its own simulators; the links are open and clean."""
    await asyncio.to_thread(migrate, database_url)
    async with AsyncExitStack() as stack:
        engine = connect(database_url, pool_size=30)
        stack.push_async_callback(engine.dispose)
        quick = Settings(webhook_retry_seconds=(0, 0, 0), payout_step_seconds=0, refund_step_seconds=0, hang_seconds=3)
        provider = Provider(new_database("fault_provider"), quick)
        await provider.start()
        stack.push_async_callback(provider.stop)
        http = Http(provider)
        stack.push_async_callback(http.close)
        payments = Payments(settings_for(provider))
        stack.push_async_callback(payments.close)
        ports = {
            code: await stack.enter_async_context(Carrier(carriers.profile(code, max_in_flight_seconds=3.0)))
            for code in CREDENTIALS
        }
        estate = Estate(sessions_of(engine), carriers, ports, payments, http, random.Random(SEED))
        await estate.found()
        carriers_link = await stack.enter_async_context(open_link(carriers.port, SEED))
        provider_link = await stack.enter_async_context(open_link(provider.port, SEED))
        surroundings = Surroundings(database_url, redis_url, carriers_link.url, provider_link.url, CREDENTIALS, API_KEY)
        settlers = await stack.enter_async_context(open_settlers(surroundings, log))
        yield Site(estate, carriers_link, provider_link, settlers, surroundings, database_url)


@pytest.fixture(scope="module")
async def site(
    new_database: Callable[[str], str], own_carriers: CarrierProcess, valkey_url: str, server_directory: Path
) -> AsyncIterator[Site]:
    log = server_directory / "settlers.log"
    url = new_database("fault_site")
    async with open_site(new_database, own_carriers, valkey_url, log, url) as site:
        yield site
