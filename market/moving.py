"""A unit of instruments is moved to another engine, while it trades."""

import asyncio
import hashlib
import secrets

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.database import connect, sessions
from market.engine.commands import HandOver
from market.gateway import Gateway
from market.refusals import BadInput, OutcomeUnknown, Refusal
from market.settings import Settings
from market.transport import open_redis
from settlement.accounts import HOUSE

TRIES = 5

_UNITS = text(
    """
select distinct on (shard) instrument.id, shard from instrument join asset on asset.id = asset_id
where coalesce(asset.carrier, asset.code) = :unit and shard is distinct from :shard order by shard, instrument.id
"""
)
_EXISTS = text(
    """
select exists (
    select from instrument join asset on asset.id = asset_id where coalesce(asset.carrier, asset.code) = :unit
)
"""
)


class NotMoved(Refusal):
    """The engine that serves the instruments would not give them away."""

    code = "not_moved"


def main(settings: Settings, unit: str, shard: int) -> str:
    """Move a unit; gives a line that says what was done.

    Raises:
        BadInput: there is no such unit, or no such engine.
        NotMoved: the engine that has it refuses; nothing was changed.
        OutcomeUnknown: the engine that has it does not answer; it may still do it.
    """
    return asyncio.run(_main(settings, unit, shard))


async def _main(settings: Settings, unit: str, shard: int) -> str:
    engine = connect(settings.database_url, pool_size=2)
    redis = open_redis(settings.redis_url, socket_connect_timeout=5)
    try:
        async with Gateway(redis, sessions(engine), settings.shards) as gateway:
            moved = await move_unit(gateway, unit, shard)
    finally:
        await redis.aclose()
        await engine.dispose()
    return f"Engine {shard} serves {unit} from now on." if moved else f"Engine {shard} serves {unit} already."


async def move_unit(gateway: Gateway, unit: str, shard: int) -> bool:
    """Have each engine that serves some of a unit hand it over; False when none had to."""
    if not 0 <= shard < gateway.shards:
        raise BadInput(f"There is no engine {shard}: they are counted from 0, and there are {gateway.shards}.")
    found = await _elsewhere(gateway.sessions, unit, shard)
    for instrument_id in found:
        await _hand_over(gateway, unit, shard, instrument_id)
    return bool(found)


async def _elsewhere(maker: async_sessionmaker[AsyncSession], unit: str, shard: int) -> list[int]:
    """One instrument of the unit for each engine that has some and is not to keep them."""
    async with maker() as session:
        if not await session.scalar(_EXISTS, {"unit": unit}):
            raise BadInput(f"There is no unit {unit}: name a carrier that something is listed for, or COIN.")
        rows = await session.execute(_UNITS, {"unit": unit, "shard": shard})
        return [row.id for row in rows]


async def _hand_over(gateway: Gateway, unit: str, shard: int, instrument_id: int) -> None:
    body_hash = hashlib.sha256(f"{unit} {shard}".encode()).digest()
    command = HandOver(HOUSE, f"hand-over-{secrets.token_hex(8)}", body_hash, instrument_id, unit, shard)
    for left in reversed(range(TRIES)):
        try:
            answer = await gateway.submit(command)
            break
        except OutcomeUnknown:
            if not left:
                raise
    if not answer.accepted and answer.code != "already_there":
        raise NotMoved(answer.detail or "The instruments stay where they are.")
