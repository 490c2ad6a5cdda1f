"""Fixtures of the settlement tests: a migrated database, and sessions on it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.database import connect, migrate
from market.database import sessions as sessions_of


@pytest.fixture(scope="module")
async def database_url(new_database: Callable[[str], str]) -> str:
    url = new_database("settlement")
    await asyncio.to_thread(migrate, url)
    return url


@pytest.fixture(scope="module")
async def sessions(database_url: str) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    engine = connect(database_url, pool_size=10)
    yield sessions_of(engine)
    await engine.dispose()
