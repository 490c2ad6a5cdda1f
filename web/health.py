"""Whether this process lives, and whether the parts that it needs answer."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response, get
from sqlalchemy import text

from market import expiries
from market.engine.commands import stream_of
from market.venue import Venue

PART_SECONDS = 2

_HELD = text(
    """
select lease.shard from engine_lease lease
join pg_stat_activity activity on activity.pid = lease.backend_pid
where activity.datname = current_database()
"""
)


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part: whether it answers, and in a word what it says. Never an address, a version or an error's text."""

    ok: bool
    note: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """Ready when every part of `parts` is; what `information` tells does not count."""

    status: str
    parts: dict[str, Part]
    information: dict[str, Part]


@get("/health/live", include_in_schema=False, sync_to_thread=False)
def live() -> dict[str, str]:
    return {"status": "live"}


@get("/health/ready", include_in_schema=False)
async def ready(request: Request[Any, Any, Any]) -> Response[Readiness]:
    venue: Venue = request.app.state.venue
    if request.app.state.drain.is_set():
        return Response(Readiness("stopping", {}, {}), status_code=503)
    names = ("database", "valkey", "engine")
    found = await asyncio.gather(*(_in_time(check) for check in (_database(venue), _valkey(venue), _engine(venue))))
    parts = dict(zip(names, found, strict=True))
    status = "ready" if all(part.ok for part in found) else "not_ready"
    information = _carriers(venue) | _expiries(venue) | _storage(venue)
    return Response(Readiness(status, parts, information), status_code=200 if status == "ready" else 503)


async def _in_time(check: Awaitable[Part]) -> Part:
    try:
        async with asyncio.timeout(PART_SECONDS):
            return await check
    except Exception as error:  # noqa: BLE001 - whatever stops a part from answering, that it does not is the answer
        return Part(False, "does not answer in time" if isinstance(error, TimeoutError) else "does not answer")


async def _database(venue: Venue) -> Part:
    async with venue.reads() as session:
        await session.execute(text("select 1"))
    return Part(True)


async def _valkey(venue: Venue) -> Part:
    await venue.redis.ping()
    return Part(True)


async def _engine(venue: Venue) -> Part:
    """Each shard's lease must be held by a connection that lives, and its commands must not pile up."""
    async with venue.reads() as session:
        held = set((await session.execute(_HELD)).scalars())
    shards = range(venue.settings.shards)
    waiting = [await venue.redis.xlen(stream_of(shard)) for shard in shards]
    if missing := [str(shard) for shard in shards if shard not in held]:
        return Part(False, f"nobody writes shard {', '.join(missing)}")
    return Part(True, f"{sum(waiting)} in the stream")


def _carriers(venue: Venue) -> dict[str, Part]:
    return {code: Part(True, "configured") for code in sorted(venue.carriers)}


def _expiries(venue: Venue) -> dict[str, Part]:
    """What runs out within a month. It is a warning: nothing has stopped yet."""
    now = datetime.now(UTC)
    return {
        each.name: Part(False, f"runs out in {each.days_left(now)} days" if each.at > now else "has run out")
        for each in expiries.known(venue.settings)
        if each.runs_out(now)
    }


def _storage(venue: Venue) -> dict[str, Part]:
    """How much room the database has. It does not count: who only reads is still served."""
    storage = venue.gateway.storage
    if storage.free_percent is None:
        return {}
    words = {"ok": "", "low": ", orders can only be cancelled", "full": ", nothing new is taken"}[storage.level]
    return {"storage": Part(not storage.is_short, f"{storage.free_percent:g} % free{words}")}


routes = [live, ready]
