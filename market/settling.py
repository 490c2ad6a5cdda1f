"""The settlement program: the workers of `settlement`, given the market's numbers, channels and signals."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import structlog
import uvloop
from redis.exceptions import RedisError
from sqlalchemy import ARRAY, BigInteger, bindparam, func, select

from market import logs
from market.announcing import announce
from market.buying_in import buying_in
from market.destinies_step import carrying_out
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.installation import mark
from market.memory import settle_memory
from market.settings import Settings
from market.tables import LineRow
from market.vault import Vault, VaultBroken
from market.venue import Venue, open_venue
from settlement.steps import Outside
from settlement.waiting import end, first
from settlement.worker import STEPS, run

log = structlog.get_logger()

POOL = 24
_NUMBERS = select(LineRow.id, LineRow.number_sealed).where(
    LineRow.id == func.any(bindparam("ids", type_=ARRAY(BigInteger))), LineRow.state != "closed"
)
RECONNECT_SECONDS = 1.0
FOUNDING_SECONDS = 1.0


def main(settings: Settings) -> None:
    """Carry out settlement instructions until told to stop; then finish what was begun."""
    logs.configure()
    settle_memory()
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_venue(settings, pool_size=POOL) as venue:
        await _check_vault(venue)
        outside = await _outside(venue, stop)
        if outside is not None:
            await settle(venue, outside, stop)


async def settle(venue: Venue, outside: Outside, stop: asyncio.Event) -> None:
    """Run one worker on this venue until ``stop`` is set."""
    worker = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"

    async def tell(parties: Iterable[int]) -> None:
        await announce(venue.redis, *map(party_channel, sorted(parties)))

    steps = {
        **STEPS,
        "buy_in": buying_in(venue.gateway),
        "release": carrying_out(STEPS["release"]),
    }
    wake = asyncio.Event()
    async with _listening(venue, wake):
        log.info("settlement_started", worker=worker, carriers=sorted(outside.carriers))
        await run(outside, venue.sessions, tell, wake=wake, stop=stop, worker=worker, steps=steps)
        log.info("settlement_stopped", worker=worker)


def outside_of(venue: Venue, installation: str, provider_patience: timedelta = timedelta(seconds=60)) -> Outside:
    """Everybody that settlement talks to, with the numbers of our lines behind one question."""

    async def numbers_of(line_ids: Sequence[int]) -> dict[int, str]:
        async with venue.reads() as session:
            rows = await session.execute(_NUMBERS, {"ids": line_ids})
        return dict(_opened(venue.vault, ((row.id, row.number_sealed) for row in rows)))

    return Outside(venue.carriers, venue.payments, numbers_of, installation, provider_patience, billing=venue.billing)


def _opened(vault: Vault, sealed: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, str]]:
    """The numbers that open; one that does not keeps its own line's instructions back, and no other's."""
    for line_id, box in sealed:
        try:
            yield line_id, vault.open(box)
        except VaultBroken:
            log.error("number_does_not_open", line=line_id)  # noqa: TRY400 - the trace says no more


async def _check_vault(venue: Venue) -> None:
    """Under a wrong secret no number opens and every trade would be refunded: better not to start.

    Raises:
        VaultBroken: not even the newest number opens.
    """
    async with venue.sessions() as session:
        sealed = await session.scalar(select(LineRow.number_sealed).order_by(LineRow.id.desc()).limit(1))
    if sealed is not None:
        venue.vault.open(sealed)


async def _outside(venue: Venue, stop: asyncio.Event) -> Outside | None:
    """Wait for the house to be founded: before that there is nothing to settle, and no name to settle it under."""
    while not stop.is_set():
        try:
            async with venue.sessions() as session:
                return outside_of(venue, await mark(session))
        except LookupError:
            await first(stop.wait(), timeout_seconds=FOUNDING_SECONDS)
    return None


@asynccontextmanager
async def _listening(venue: Venue, wake: asyncio.Event) -> AsyncIterator[None]:
    """Set ``wake`` whenever somebody says that instructions are due. Without Redis the worker looks by itself."""
    task = asyncio.create_task(_listen(venue, wake))
    try:
        yield
    finally:
        await end([task])


async def _listen(venue: Venue, wake: asyncio.Event) -> None:
    while True:
        try:
            async with venue.redis.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(SETTLEMENT_WAKE)
                wake.set()
                async for _ in channel.listen():
                    wake.set()
        except (RedisError, OSError) as error:
            log.warning("settlement_not_listening", error=type(error).__name__)
        await asyncio.sleep(RECONNECT_SECONDS)
