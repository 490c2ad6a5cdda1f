"""The scheduler: closes instruments in time, ends orders that are due, and lists the next month in a demonstration."""

import asyncio
import signal
from datetime import UTC, datetime

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from market import logs
from market.engine.commands import Command, ExpireOrders, SetState
from market.refusals import Refusal
from market.settings import Settings
from market.tables import InstrumentRow, OrderRow
from market.venue import Venue, open_venue
from settlement.accounts import HOUSE

log = structlog.get_logger()

LOOK_SECONDS = 1.0


def main(settings: Settings) -> None:
    """Keep the market's times until told to stop."""
    logs.configure()
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with open_venue(settings, pool_size=2) as venue:
        while not stopping.is_set():
            try:
                await keep_time(venue, datetime.now(UTC))
            except (Refusal, SQLAlchemyError, OSError) as error:
                log.warning("schedule_interrupted", error=type(error).__name__)
            try:
                await asyncio.wait_for(stopping.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue


async def keep_time(venue: Venue, now: datetime) -> int:
    """Ask the engine for everything that is due; gives the number of commands.

    The key of a command names what it does, so that doing it twice, or by two
    schedulers at once, does it once. The engine's own checks refuse what comes late.
    """
    async with venue.sessions() as session:
        due = [*await _closing(session, now), *await _expiring(session, now)]
    for command in due:
        await venue.gateway.submit(command)
    return len(due)


async def _closing(session: AsyncSession, now: datetime) -> list[Command]:
    statement = select(InstrumentRow.id).where(InstrumentRow.closes_at <= now, InstrumentRow.state != "closed")
    return [
        SetState(HOUSE, f"close-{instrument_id}-{now:%Y%m%dT%H%M%S}", b"", instrument_id, "closed")
        for instrument_id in await session.scalars(statement)
    ]


async def _expiring(session: AsyncSession, now: datetime) -> list[Command]:
    statement = (
        select(OrderRow.instrument_id)
        .where(OrderRow.state == "open", OrderRow.expires_at <= now)
        .group_by(OrderRow.instrument_id)
    )
    return [
        ExpireOrders(HOUSE, f"expire-{instrument_id}-{now:%Y%m%dT%H%M%S}", b"", instrument_id)
        for instrument_id in await session.scalars(statement)
    ]
