"""What an engine has to do with instruments that it does not know: its own it loads, another's commands it sends on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
from redis.asyncio import Redis

from market import sharding
from market.engine import store
from market.engine.commands import Envelope, encode, instruments_of, stream_of
from market.engine.desk import NUMBERS, Desk
from market.engine.lease import Fenced, Lease
from market.engine.times import microseconds

DRAINED_AT_ONCE = 1_000

_NEWS = """
select exists (
    select from instrument where shard is null or shard >= $2 or (shard = $1 and not id = any($3::bigint[]))
)
"""
_LATEST = """
select max(lease.last_seq) as seq, max(link.at) as at from engine_lease lease
left join audit_link link on link.chain = 'engine-' || lease.shard and link.number = lease.last_link
"""
_RAISE = """
update engine_lease set epoch = greatest(epoch, (select max(epoch) + 1 from engine_lease where shard <> $1))
where shard = $1 and epoch = $2 returning epoch
"""


async def is_due(connection: asyncpg.Connection, desk: Desk, shards: int) -> bool:
    """Whether the shard has been given something that the desk does not know, or nobody has something."""
    return bool(await connection.fetchval(_NEWS, desk.shard, shards, list(desk.instruments)))


async def meet(connection: asyncpg.Connection, redis: Redis, lease: Lease, desk: Desk, shards: int) -> None:
    """Load what the shard has been given and the desk does not know yet.

    Whoever had it before has committed its last batch, or it would not be seen here.
    Numbers, time and epoch go on from there: a later order gets a later place and a
    later time, and a later update of a book a later number, whichever engine takes it.
    """
    async with connection.transaction():
        left = await sharding.claim(connection, desk.shard, shards)
        known = len(desk.instruments)
        await store.add_instruments(connection, desk)
        if len(desk.instruments) > known:
            latest = await connection.fetchrow(_LATEST)
            desk.seq = max(desk.seq, latest["seq"] // NUMBERS * NUMBERS + desk.shard)
            if latest["at"] is not None:
                desk.now_us = max(desk.now_us, microseconds(latest["at"]))
            epoch = await connection.fetchval(_RAISE, lease.shard, lease.epoch)
            if epoch is None:
                msg = f"Shard {lease.shard} was taken from epoch {lease.epoch}."
                raise Fenced(msg)
            lease.epoch = epoch
    await _drain(redis, left, desk.shard)
    if left:
        await redis.publish(sharding.ASSIGNED, b"")


def is_strange(desk: Desk, envelopes: Iterable[Envelope]) -> bool:
    """Whether a command is about an instrument that the desk does not know."""
    return not desk.instruments.keys() >= {about for envelope in envelopes for about in _about(envelope)}


async def apart(
    connection: asyncpg.Connection, desk: Desk, envelopes: Sequence[Envelope], shards: int
) -> tuple[list[Envelope], list[tuple[int, Envelope]]]:
    """Which commands are decided here, and which by another shard's engine. What does not exist is refused here."""
    unknown = {envelope.command.instrument_id for envelope in envelopes} - desk.instruments.keys()
    owners = await sharding.owners(connection, unknown, shards) if unknown else {}
    ours, others = [], []
    for envelope in envelopes:
        if (shard := owners.get(envelope.command.instrument_id)) is None:
            ours.append(envelope)
        else:
            others.append((shard, envelope))
    return ours, others


async def send_on(redis: Redis, others: Sequence[tuple[int, Envelope]]) -> None:
    """Put commands into the streams of those who decide them; their answers go straight to who waits for them.

    This comes before our position in our own stream moves past them, so what is
    read again is sent on again, and its key makes it once.
    """
    for shard, envelope in others:
        as_it_came = Envelope(envelope.command, envelope.reply_to, envelope.number)
        await redis.xadd(stream_of(shard), {"c": encode(as_it_came)})


async def _drain(redis: Redis, left: Mapping[int, str], shard: int) -> None:
    """Take over what waits in the streams of engines that are none any more, from where each of them had come to."""
    for former, position in left.items():
        stream, after = stream_of(former), position
        while entries := await _behind(redis, stream, after):
            for _, fields in entries:
                await redis.xadd(stream_of(shard), fields)
            await redis.xdel(stream, *(number for number, _ in entries))
            after = entries[-1][0].decode()


async def _behind(redis: Redis, stream: str, after: str) -> list[tuple[bytes, Any]]:
    found: Any = await redis.xrange(stream, min=f"({after}", count=DRAINED_AT_ONCE)
    return list(found)


def _about(envelope: Envelope) -> tuple[int, ...]:
    return instruments_of(envelope.command) or (envelope.command.instrument_id,)
