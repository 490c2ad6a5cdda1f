"""Sign-in tickets: what ties a texted code to the browser that asked for it. Kept in Redis, for ten minutes."""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from redis.asyncio import Redis

LIFE_SECONDS = 600
TRIES = 5

TRY = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
if redis.call('HINCRBY', KEYS[1], 'tries', 1) > tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[1])
    return false
end
return redis.call('HMGET', KEYS[1], 'number', 'client', 'carrier', 'authentication')
"""
"""Count the try before it is made, in one step, so that guesses sent together are counted as well."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who is signing in. Without an ``authentication_id`` nothing was texted, and no code is right."""

    sealed_number: bytes
    client: str
    """A keyed hash of the client that asked for the code."""
    carrier: str
    authentication_id: str


async def issue(redis: Redis, ticket: Ticket) -> str:
    """Keep a ticket and give its name, which nobody can guess."""
    name = secrets.token_urlsafe(32)
    fields: dict[Any, Any] = {
        "number": ticket.sealed_number,
        "client": ticket.client,
        "carrier": ticket.carrier,
        "authentication": ticket.authentication_id,
    }
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.hset(_key(name), mapping=fields)
        pipeline.expire(_key(name), LIFE_SECONDS)
        await pipeline.execute()
    return name


async def try_once(redis: Redis, name: str) -> Ticket | None:
    """Spend one try. None when the ticket is unknown, too old, used, or has no tries left."""
    found = await redis.register_script(TRY)(keys=[_key(name)], args=[TRIES])
    if found is None:
        return None
    number, *rest = found
    return Ticket(number, *(each.decode() for each in rest))


async def use_up(redis: Redis, name: str) -> bool:
    """End a ticket; true for the one caller who ended it."""
    return bool(await redis.delete(_key(name)))


def _key(name: str) -> str:
    """The name itself would be a secret in a key, which anyone who lists the keys could read."""
    return f"surplusflow:ticket:{sha256(name.encode()).hexdigest()}"
