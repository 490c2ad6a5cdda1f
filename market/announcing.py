"""Telling the other programs that something is new. What gets lost is found by them anyway, only later."""

import contextlib

from redis.asyncio import Redis
from redis.exceptions import RedisError

_SAY = "for _, channel in ipairs(ARGV) do redis.call('publish', channel, '') end"


async def announce(redis: Redis, *channels: str) -> None:
    """Say so on each channel, after the commit: by one script, as a reply for each costs more than the message."""
    if channels:
        with contextlib.suppress(RedisError, OSError):
            await redis.eval(_SAY, 0, *channels)
