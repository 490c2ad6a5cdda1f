"""A market floor for several engines."""

from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from market import gateway
from tests.engine.factories import Floor, fresh_database
from tests.shards.making import open_wide_floor


@pytest.fixture(autouse=True)
def _impatient_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that asks the journal sooner."""
    monkeypatch.setattr(gateway, "ASK_SECONDS", 0.2)


@pytest.fixture
async def url(new_database: Callable[[str], str]) -> str:
    return await fresh_database(new_database, "shards")


@pytest.fixture
async def floor(url: str, valkey_url: str) -> AsyncIterator[Floor]:
    """A floor for two engines, which nobody serves yet."""
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    async with open_wide_floor(url, valkey_url, shards=2) as floor:
        yield floor
