"""A market and a provider of the test's own, whose books hold nothing but what the test has done."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from market.database import connect
from market.database import sessions as sessions_of
from settlement.carriers.billing import Billing
from settlement.carriers.client import Carrier
from settlement.payments.port import Payments
from settlement.simulators.payment.desk import Settings
from tests.carrier.simulator import CarrierProcess
from tests.databases import migrate
from tests.payment.making import Http, Provider, settings_for
from tests.settlement.test_phone_bill import Billed


@pytest.fixture
async def own_provider(new_database: Callable[[str], str]) -> AsyncIterator[Provider]:
    quick = Settings(
        webhook_retry_seconds=(0, 0, 0), payout_step_seconds=0, refund_step_seconds=1, hang_seconds=3,
        fee_basis_points=60,
    )  # fmt: skip
    running = Provider(new_database("reconciled_payment"), quick)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def own_http(own_provider: Provider) -> AsyncIterator[Http]:
    client = Http(own_provider)
    yield client
    await client.close()


@pytest.fixture
async def market_url(new_database: Callable[[str], str]) -> str:
    url = new_database("reconciled")
    await asyncio.to_thread(migrate, url)
    return url


@pytest.fixture
async def market(
    carrier_simulator: CarrierProcess, carrier_port: Carrier, own_provider: Provider, market_url: str
) -> AsyncIterator[Billed]:
    """A carrier with phone bills and a provider, both well behaved."""
    carrier_simulator.faults()
    engine = connect(market_url, pool_size=20)
    sessions, mark = sessions_of(engine), market_url.partition("?")[0].rpartition("/")[2]
    payments = Payments(settings_for(own_provider, timeout_seconds=2))
    profile = carrier_simulator.profile(timeout_seconds=0.6, max_in_flight_seconds=1.2, phone_bill=True)
    async with Billing(profile) as billing:
        yield Billed(sessions, carrier_simulator, carrier_port, payments, mark=mark, billing=billing)
    await payments.close()
    await engine.dispose()
