"""A migrated database for history that the tests write themselves."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.database import connect, raw_dsn
from market.database import sessions as sessions_of
from tests.engine.factories import fresh_database


@pytest.fixture(scope="session")
async def database_url(new_database: Callable[[str], str]) -> str:
    return await fresh_database(new_database, "market_data")


@pytest.fixture(scope="session")
async def sessions(database_url: str) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    engine = connect(database_url)
    yield sessions_of(engine)
    await engine.dispose()


@pytest.fixture(scope="session")
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """For writing history, and for looking."""
    connection = await asyncpg.connect(raw_dsn(database_url))
    yield connection
    await connection.close()
