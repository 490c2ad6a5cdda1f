"""A simulated payment provider running as its own program, and clients for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from settlement.payments.port import Payments
from settlement.simulators.payment.desk import Settings
from tests.payment.making import QUICK, CheckedClient, Http, Listener, Provider, Wallet, fresh, onboard, settings_for


@pytest_asyncio.fixture(scope="session")
async def provider(new_database: Callable[[str], str]) -> AsyncIterator[Provider]:
    running = Provider(new_database("payment"))
    await running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture
async def new_provider(new_database: Callable[[str], str]) -> AsyncIterator[Callable[..., Awaitable[Provider]]]:
    """Start a provider that one test has to itself."""
    started: list[Provider] = []

    async def start(settings: Settings = QUICK) -> Provider:
        running = Provider(new_database("payment"), settings)
        await running.start()
        started.append(running)
        return running

    yield start
    for running in started:
        await running.stop()


@pytest_asyncio.fixture(scope="session")
async def http(provider: Provider) -> AsyncIterator[Http]:
    client = Http(provider)
    yield client
    await client.close()


@pytest_asyncio.fixture(scope="session")
async def payments(provider: Provider) -> AsyncIterator[Payments]:
    port = Payments(settings_for(provider), CheckedClient(timeout=10))
    yield port
    await port.close()


@pytest_asyncio.fixture
async def wallet(payments: Payments) -> Wallet:
    return Wallet(payments, await payments.create_customer("wallet", fresh("key")))


@pytest_asyncio.fixture
async def seller(payments: Payments, http: Http) -> str:
    """A seller's account that has been through onboarding."""
    return await onboard(payments, http)


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[Listener]:
    ours = Listener()
    server = await asyncio.start_server(ours.serve, "127.0.0.1", 0)
    ours.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks"
    yield ours
    server.close()
    await server.wait_closed()
