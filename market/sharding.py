"""Which engine serves which instruments: the rule, the table that has the last word, and how both are looked up.

What is assigned is a unit: all instruments of a carrier, which share lines and custody, or the coins. Nothing moves by
itself when the number of engines changes: the rule only speaks for units that no engine has.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.assets import COIN

ASSIGNED = "surplusflow:assigned"
"""A message here means that an instrument has got another engine."""
LOOK_SECONDS = 0.5
"""A table that was read so lately is not read again for an instrument that it does not have."""
LOCK = 0x5F11
"""Key of the advisory lock under which assignments change, one after the other."""

_SEATS = f"""
select instrument.id, coalesce(asset.carrier, '{COIN}') as unit, instrument.shard, latest.shard as former
from instrument join asset on asset.id = asset_id
left join lateral (
    select shard from assignment where unit = coalesce(asset.carrier, '{COIN}') order by epoch desc limit 1
) latest on true
"""  # noqa: S608 - our own word
_ALL_SEATS = text(_SEATS)
_UNSERVED = "instrument.shard is null or instrument.shard >= $1"
_IS_UNSERVED = f"select exists (select from instrument where {_UNSERVED})"  # noqa: S608 - our own words
_FENCE = """
update engine_lease set epoch = epoch + 1, holder = '' where shard = any($1::bigint[]) returning shard, stream_id
"""
_SEAT = "update instrument set shard = $1 where id = any($2::bigint[])"
_SEAT_UNIT = f"""
update instrument set shard = $1 from asset
where asset.id = asset_id and coalesce(asset.carrier, '{COIN}') = $2 and shard = $3
"""  # noqa: S608 - our own word
_ASSIGN = """
insert into assignment (unit, epoch, shard, former, at)
select unit, 1 + coalesce((select max(epoch) from assignment old where old.unit = new.unit), 0), $1, $2,
    clock_timestamp()
from unnest($3::text[]) as new (unit)
"""


class Seated(NamedTuple):
    """An instrument, its unit, the shard that the table names, and the one that its unit was last assigned to."""

    id: int
    unit: str
    shard: int | None
    former: int | None


def unit_of(carrier: str | None) -> str:
    """The unit of an instrument of this carrier; coins have none."""
    return carrier or COIN


def shard_by_rule(unit: str, shards: int) -> int:
    """Rendezvous hashing: the shard whose SHA-256 with the unit is the greatest.

    One shard more takes some units over and leaves all others where they are.
    """
    return max(range(shards), key=lambda shard: hashlib.sha256(f"{unit}:{shard}".encode()).digest())


def shard_of(seated: Seated, shards: int) -> int:
    """Who serves an instrument, or is to: its own shard or its unit's while there is such a one; else by the rule."""
    for shard in (seated.shard, seated.former):
        if shard is not None and shard < shards:
            return shard
    return shard_by_rule(seated.unit, shards)


async def owners(connection: asyncpg.Connection, instrument_ids: Iterable[int], shards: int) -> dict[int, int]:
    """The shards of those of the instruments that exist."""
    rows = await connection.fetch(f"{_SEATS} where instrument.id = any($1::bigint[])", list(instrument_ids))
    return {row["id"]: shard_of(Seated(*row), shards) for row in rows}


async def claim(connection: asyncpg.Connection, shard: int, shards: int) -> dict[int, str]:
    """Within the caller's transaction, seat what nobody serves and the rule gives to this shard.

    An engine of a shard that is none any more is fenced first: taking its epoch waits for the end of a batch whose
    COMMIT is still under way, and no later one commits. Gives how far each of these had read its stream.
    """
    if not await connection.fetchval(_IS_UNSERVED, shards):
        return {}
    await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
    rows = await connection.fetch(f"{_SEATS} where {_UNSERVED}", shards)
    claimed = [seated for seated in (Seated(*row) for row in rows) if shard_of(seated, shards) == shard]
    left = {seated.shard for seated in claimed if seated.shard is not None}
    fenced = {row["shard"]: row["stream_id"] for row in await connection.fetch(_FENCE, list(left))} if left else {}
    await connection.execute(_SEAT, shard, [seated.id for seated in claimed])
    new = {seated.unit: seated.former for seated in claimed if seated.former != shard}
    for unit, former in sorted(new.items()):
        await connection.execute(_ASSIGN, shard, former, [unit])
    return fenced


async def assign(connection: asyncpg.Connection, unit: str, *, former: int, shard: int) -> None:
    """Within the caller's transaction, which must be fenced, give all that a shard has of a unit to another."""
    await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
    await connection.execute(_SEAT_UNIT, shard, unit, former)
    await connection.execute(_ASSIGN, shard, former, [unit])


@dataclass
class Routes:
    """Where commands go, as the table said when it was last read. Read anew when told, and for what it did not have."""

    sessions: async_sessionmaker[AsyncSession]
    shards: int
    _shards_of: Mapping[int, int] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _version: int = 0
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def shard_of(self, instrument_id: int) -> int:
        """The shard of an instrument. What does not exist is any engine's to refuse.

        Raises:
            SQLAlchemyError, OSError: the table had to be read and could not be.
        """
        shard = self._shards_of.get(instrument_id)
        if shard is None:
            await self._read()
            shard = self._shards_of.get(instrument_id)
        return instrument_id % self.shards if shard is None else shard

    def forget(self) -> None:
        """Something has moved, or may have."""
        self._shards_of, self._read_at = {}, float("-inf")
        self._version += 1

    async def _read(self) -> None:
        async with self._reading:
            if time.monotonic() - self._read_at < LOOK_SECONDS:
                return
            version = -1
            while version != self._version:  # what moved while it was read may not be in it
                version = self._version
                async with self.sessions() as session:
                    rows = (await session.execute(_ALL_SEATS)).all()
            self._shards_of = {row.id: shard_of(Seated(*row), self.shards) for row in rows}
            self._read_at = time.monotonic()
