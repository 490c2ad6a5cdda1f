"""A market floor with an engine that serves it."""

from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from tests.engine.factories import Floor, fresh_database, open_floor, running_engine


@pytest.fixture
async def floor(new_database: Callable[[str], str], valkey_url: str) -> AsyncIterator[Floor]:
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    url = await fresh_database(new_database)
    async with open_floor(url, valkey_url) as floor, running_engine(floor.dsn, floor.redis):
        yield floor
