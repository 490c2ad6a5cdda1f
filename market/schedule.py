"""The scheduler: carries out the plans of sessions, closes instruments in time, and ends orders that are due."""

import asyncio
import signal
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from market import (
    alerts,
    autopilot_rounds,
    candles,
    cases,
    enacting,
    expiries,
    gift_links,
    line_watch,
    logs,
    payout_schedule,
    price_index,
    reconciliation,
    renewing,
    stops,
    tank_rounds,
    telling,
    volume,
)
from market import sessions as plans
from market.engine.commands import Answer, Command, ExpireOrders, SetState, State
from market.refusals import Refusal
from market.settings import Settings
from market.tables import InstrumentRow, OrderRow
from market.venue import Venue, open_venue
from matching.rules import COLLECTING
from settlement.accounts import HOUSE
from settlement.ledger_tables import AssetRow

log = structlog.get_logger()

LOOK_SECONDS = 1.0


def main(settings: Settings, words: telling.Words) -> None:
    """Keep the market's times until told to stop. ``words`` makes the sentences that are texted to phones."""
    logs.configure()
    asyncio.run(_run(settings, words))


async def _run(settings: Settings, words: telling.Words) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with (
        open_venue(settings, pool_size=12) as venue,
        volume.watching(venue),
        reconciliation.daily(venue),
        stops.watching(venue),
        expiries.watching(venue),
        line_watch.watching(venue),
        payout_schedule.paying(venue),
        autopilot_rounds.flying(venue),
        renewing.warning(venue),
        cases.watching(venue),
        alerts.watching(venue),
        telling.watching(venue, words),
        tank_rounds.watching(venue),
        gift_links.watching(venue),
    ):
        while not stopping.is_set():
            try:
                await keep_time(venue, datetime.now(UTC))
                if not venue.gateway.storage.is_short:  # what only adds to the database can be made good later
                    await keep_market_data(venue)
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
        closing = await _closing(session, now)
        steps = await plans.due(session, venue.settings.secret_key, now)
        timely = [*await _expiring(session, now), *await enacting.due(session, now)]

    wanted: list[Sequence[Command]] = [*closing, *((step.command,) for step in steps), *((each,) for each in timely)]
    answers = await asyncio.gather(*(_one_by_one(venue, each) for each in wanted), return_exceptions=True)

    async with venue.sessions.begin() as session:
        for commands, answer in zip(closing, answers, strict=False):
            if isinstance(answer, Answer) and answer.accepted:
                await plans.note_closed(session, commands[-1].instrument_id, answer, now)
        for step, answer in zip(steps, answers[len(closing) :], strict=False):
            if isinstance(answer, Answer):
                await plans.note(session, step, answer, now)
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    if failed:  # an engine that does not answer keeps nobody else waiting
        raise failed[0]
    return sum(map(len, wanted))


async def _one_by_one(venue: Venue, commands: Sequence[Command]) -> Answer:
    """The answer to the last of them."""
    for command in commands[:-1]:
        await venue.gateway.submit(command)
    return await venue.gateway.submit(commands[-1])


async def keep_market_data(venue: Venue) -> None:
    """Bring candles and price index up to the trades; what was missed while no scheduler ran is made good."""
    await candles.keep(venue.sessions)
    await price_index.keep(venue.sessions)


async def _closing(session: AsyncSession, now: datetime) -> list[list[Command]]:
    """What closes: by an auction when orders are collected, unless the data has expired and can't be delivered."""
    statement = (
        select(InstrumentRow.id, InstrumentRow.state, AssetRow.expires_at)
        .join(AssetRow, AssetRow.id == InstrumentRow.asset_id)
        .where(InstrumentRow.closes_at <= now, InstrumentRow.state != "closed")
    )
    closing: list[list[Command]] = []
    for instrument_id, state, expires_at in await session.execute(statement):
        close = _set_state("close", instrument_id, "closed", now)
        too_late = expires_at is not None and expires_at <= now and state in COLLECTING
        closing.append([_set_state("expired", instrument_id, "halted", now), close] if too_late else [close])
    return closing


def _set_state(what: str, instrument_id: int, state: State, now: datetime) -> SetState:
    return SetState(HOUSE, f"{what}-{instrument_id}-{now:%Y%m%dT%H%M%S}", b"", instrument_id, state, by="schedule")


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
