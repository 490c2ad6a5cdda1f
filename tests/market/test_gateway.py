"""The way of a command to its engine and back, as far as it is the program's own."""

import asyncio
import random

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import async_sessionmaker

from market.gateway import Gateway


async def test_a_gateway_that_is_closed_as_soon_as_it_is_opened_ends(valkey_url: str) -> None:
    """The Redis client may lose a cancellation that comes while it connects."""
    draw = random.Random(20261127)
    async with Redis.from_url(valkey_url) as redis:
        for _ in range(100):
            async with asyncio.timeout(10), Gateway(redis, async_sessionmaker(), 1):
                await asyncio.sleep(draw.random() * draw.choice([0, 0.001, 0.004]))
