"""The right to write a shard: one holder at a time, and an epoch that makes a former holder's late batch harmless."""

import asyncio
from dataclasses import dataclass

import asyncpg

GENESIS = bytes(32)
LEASE_SECONDS = 3
"""A holder that has not renewed for so long may be replaced; one whose connection is gone, at once."""
PATIENCE_SECONDS = 5
"""How long an old batch may block a takeover before its connection is ended."""

_ENSURE = """
insert into engine_lease
    (shard, epoch, holder, backend_pid, stream_id, last_seq, last_trade, last_link, last_hash, renewed_at)
values ($1, 0, '', 0, '0-0', 0, 0, 0, $2, 'epoch') on conflict do nothing
"""
_TAKE = """
update engine_lease set epoch = epoch + 1, holder = $2, backend_pid = pg_backend_pid(), renewed_at = clock_timestamp()
where shard = $1 and (
    holder in ('', $2) or renewed_at < clock_timestamp() - make_interval(secs => $3)
    or not exists (select from pg_stat_activity where application_name = left($4 || holder, 63))
)
returning epoch, stream_id, last_seq, last_trade, last_link, last_hash
"""
_END = """
select pg_terminate_backend(old.pid) from engine_lease
join pg_stat_activity old on old.application_name = left($3 || holder, 63)
join pg_stat_activity own on own.pid = pg_backend_pid() and old.backend_start < own.backend_start
where shard = $1 and renewed_at < clock_timestamp() - make_interval(secs => $2)
"""
"""Ends what an earlier engine left behind, also one of our own name: only what began before this connection."""


class Fenced(Exception):
    """Another engine has taken the shard; whatever this one has in memory is void."""


@dataclass(slots=True)
class Lease:
    """A held lease, with the numbers that the shard's next batch goes on from."""

    shard: int
    epoch: int
    stream_id: str
    last_seq: int
    last_trade: int
    last_link: int
    last_hash: bytes


def application_name(holder: str) -> str:
    """How an engine's connections are known in the database, so that all of a dead holder's can be ended."""
    return f"engine {holder}"[:63]  # PostgreSQL keeps no more


async def take(connection: asyncpg.Connection, shard: int, holder: str) -> Lease | None:
    """Take the lease under a new epoch, or give None while another holder is alive.

    Blocks on the row that an unfinished batch has locked: only when that batch
    has ended, one way or the other, is its outcome readable. A batch that does not
    end is ended by closing its connection.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await connection.execute(_ENSURE, shard, GENESIS)
            row = await connection.fetchrow(_TAKE, shard, holder, float(LEASE_SECONDS), application_name(""))
    except (TimeoutError, asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError):
        await connection.execute(
            _END,
            shard,
            float(LEASE_SECONDS),
            application_name(""),
        )
        return None
    return None if row is None else Lease(shard, *row)


async def renew(connection: asyncpg.Connection, lease: Lease) -> None:
    """Say that the holder is alive. Raises Fenced when the lease is lost."""
    done = await connection.execute(
        "update engine_lease set renewed_at = clock_timestamp() where shard = $1 and epoch = $2",
        lease.shard,
        lease.epoch,
    )
    if done != "UPDATE 1":
        raise Fenced(f"Shard {lease.shard} was taken from epoch {lease.epoch}.")


async def give_up(connection: asyncpg.Connection, lease: Lease) -> None:
    """Leave the shard to whoever comes next, without making it wait."""
    await connection.execute(
        "update engine_lease set holder = '' where shard = $1 and epoch = $2", lease.shard, lease.epoch
    )
