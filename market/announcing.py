"""Telling the other programs that something is new. What gets lost is found by them anyway, only later."""

import contextlib

from redis.asyncio import Redis
from redis.exceptions import RedisError


async def announce(redis: Redis, *channels: str) -> None:
    """Say so on each channel, after the commit."""
    with contextlib.suppress(RedisError, OSError):
        async with redis.pipeline(transaction=False) as all_at_once:
            for channel in channels:
                all_at_once.publish(channel, b"")
            await all_at_once.execute()
