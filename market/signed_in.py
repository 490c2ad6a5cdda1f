"""Where Redis lists the sessions of those who are signed in, so that they can be shown, and ended from anywhere."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from redis.asyncio import Redis

KEY = "surplusflow:session:"
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Sitting:
    """One session of an owner: on what it runs, from where about, since when, and when it was used last.

    ``name`` says which it is; it opens nothing.
    """

    name: str
    device: str
    network: str
    began_at: datetime | None
    used_at: datetime


def listed_under(owner: str) -> str:
    """The set of the session keys of an owner, who is named like ``party:12`` or ``officer:3``."""
    return f"surplusflow:sessions-of:{owner}"


async def sittings(redis: Redis, owner: str, idle_seconds: int) -> list[Sitting]:
    """The sessions of an owner, the one used last first; each visit gives a session ``idle_seconds`` to stay."""
    keys: list[Any] = sorted(await redis.smembers(listed_under(owner)))[:SHOWN]
    async with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.get(key)
            pipeline.ttl(key)
        answers: list[Any] = await pipeline.execute() if keys else []
    now = datetime.now(UTC)
    found = [
        _sitting(key, held, now - timedelta(seconds=max(0, idle_seconds - left)))
        for key, held, left in zip(keys, answers[::2], answers[1::2], strict=True)
        if held is not None
    ]
    return sorted(found, key=lambda each: each.used_at, reverse=True)


def _sitting(key: bytes, held: bytes, used_at: datetime) -> Sitting:
    data = msgspec.json.decode(held)
    began = data.get("began")
    return Sitting(
        key.decode().removeprefix(KEY),
        str(data.get("device", "")),
        str(data.get("network", "")),
        datetime.fromtimestamp(began, UTC) if isinstance(began, int) else None,
        used_at,
    )


async def end_sitting(redis: Redis, owner: str, name: str) -> bool:
    """End one session of an owner; says whether there was one."""
    key = KEY + name
    if not await redis.srem(listed_under(owner), key):
        return False
    return bool(await redis.delete(key))


async def sign_out_everywhere(redis: Redis, owner: str) -> int:
    """End all sessions of an owner; says how many there were."""
    keys = await redis.smembers(listed_under(owner))
    if not keys:
        return 0
    ended = await redis.delete(*keys)
    await redis.srem(listed_under(owner), *keys)
    return int(ended)
