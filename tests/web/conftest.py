"""The web application on a real market: PostgreSQL, Valkey, an engine, and people with keys."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from httpx import ASGITransport, AsyncClient
from litestar import Litestar
from redis.asyncio import Redis

from market.database import raw_dsn
from market.settings import Settings
from tests.engine.factories import fresh_database, running_engine
from tests.web.making import Market, Visitor, a_visitor, settings_of
from tests.web.pages_for_tests import pages
from web.app import create_app, page_router
from web.edge.hosts import Hosts


@pytest.fixture(scope="session")
async def settings(new_database: Callable[[str], str], valkey_url: str) -> Settings:
    url = await fresh_database(new_database, "web")
    return settings_of(database_url=url, redis_url=valkey_url)


@pytest.fixture(scope="session")
async def engine(settings: Settings) -> AsyncIterator[None]:
    async with Redis.from_url(settings.redis_url) as redis, running_engine(raw_dsn(settings.database_url), redis):
        yield


@pytest.fixture(scope="session")
def app(settings: Settings) -> Litestar:
    built = create_app(settings)
    built.register(page_router(settings, Hosts(settings), pages))
    return built


@pytest.fixture(scope="session")
async def opened(app: Litestar) -> AsyncIterator[Litestar]:
    """The application in the tests' own loop, which shares its connections.

    One task holds it open: a fixture is begun and ended by two.
    """
    ready, over = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with app.lifespan():
            ready.set()
            await over.wait()

    holder = asyncio.create_task(hold())
    await asyncio.wait({holder, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    yield app
    over.set()
    await holder


@pytest.fixture
async def client(opened: Litestar) -> AsyncIterator[AsyncClient]:
    """A browser, or a program, that nobody has seen before."""
    transport = ASGITransport(app=opened)  # type: ignore[arg-type]
    async with AsyncClient(transport=transport, base_url=settings_of().public_url) as client:
        yield client


@pytest.fixture
def market(engine: None, client: AsyncClient, app: Litestar) -> Market:
    return Market(client, app.state.venue)


@pytest.fixture
async def visitor(market: Market) -> Visitor:
    """Somebody with a browser who has opened a page."""
    return await a_visitor(market)
