"""Where Redis lists the sessions of those who are signed in, so that they can be ended from anywhere."""

from redis.asyncio import Redis


def listed_under(owner: str) -> str:
    """The set of the session keys of an owner, who is named like ``party:12`` or ``officer:3``."""
    return f"surplusflow:sessions-of:{owner}"


async def sign_out_everywhere(redis: Redis, owner: str) -> int:
    """End all sessions of an owner; says how many there were."""
    keys = await redis.smembers(listed_under(owner))
    if not keys:
        return 0
    ended = await redis.delete(*keys)
    await redis.srem(listed_under(owner), *keys)
    return int(ended)
