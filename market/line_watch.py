"""The scheduler's watch over lines: events are asked about and acted on, and reservations compared every hour."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Select, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from market import lapsing, line_events
from market.refusals import Refusal
from market.tables import LineRow
from market.venue import Venue
from settlement.carriers.errors import CarrierError
from settlement.carriers.line_checks import LineChecks
from settlement.line_event_tables import LineSubscriptionRow
from settlement.tables import CustodyRow

log = structlog.get_logger()

EVENTS_SECONDS = 2.0
SUBSCRIBE_SECONDS = 60.0
COMPARE_SECONDS = 3600.0
LASTS = timedelta(days=30)
"""How long a carrier is given the bearer for its events."""
RENEWED = timedelta(days=3)
"""How long before its end a subscription is made anew."""
BATCH = 100


@asynccontextmanager
async def watching(venue: Venue) -> AsyncIterator[None]:
    """Watch beside whatever else a program does."""
    rounds: tuple[tuple[Callable[[Venue], Awaitable[int]], float], ...] = (
        (line_events.handle_pending, EVENTS_SECONDS),
        (subscribe, SUBSCRIBE_SECONDS),
        (lapsing.compare_all, COMPARE_SECONDS),
    )
    tasks = [asyncio.create_task(_again_and_again(venue, work, seconds)) for work, seconds in rounds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _again_and_again(venue: Venue, work: Callable[[Venue], Awaitable[int]], seconds: float) -> None:
    while True:
        try:
            await work(venue)
        except (SQLAlchemyError, RedisError, OSError, Refusal) as error:
            log.warning("line_watch_interrupted", error=type(error).__name__)
        except Exception:
            log.exception("line_watch_broken")
        await asyncio.sleep(seconds)


async def subscribe(venue: Venue) -> int:
    """Have the carriers tell us of the lines whose data is for sale; says of how many they will from now on."""
    now = datetime.now(UTC)
    async with venue.sessions() as session:
        rows = list(await session.scalars(_unwatched(now, [*venue.carriers])))
    made = 0
    for row in rows:
        port = venue.carriers[row.carrier]
        if not isinstance(port, LineChecks):
            continue
        sink = f"{venue.settings.public_url}/webhooks/lines/{row.carrier}"
        token, until = line_events.token_of(venue.settings.secret_key, row.carrier), now + LASTS
        try:
            subscription = await port.subscribe(venue.vault.open(row.number_sealed), sink, token, until)
        except CarrierError as error:
            log.warning("line_not_subscribed", line=row.id, error=type(error).__name__)
            continue
        values = {"carrier": row.carrier, "subscription_id": subscription, "expires_at": until}
        statement = insert(LineSubscriptionRow).values(line_id=row.id, **values)
        async with venue.sessions.begin() as session:
            await session.execute(statement.on_conflict_do_update(index_elements=["line_id"], set_=values))
        made += 1
    return made


def _unwatched(now: datetime, carriers: list[str]) -> Select[LineRow]:
    ends = or_(LineSubscriptionRow.line_id.is_(None), LineSubscriptionRow.expires_at < now + RENEWED)
    for_sale = select(CustodyRow.line_id).where(CustodyRow.status == "reserved")
    return (
        select(LineRow)
        .outerjoin(LineSubscriptionRow, LineSubscriptionRow.line_id == LineRow.id)
        .where(LineRow.id.in_(for_sale), LineRow.state == "active", LineRow.carrier.in_(carriers), ends)
        .order_by(LineRow.id)
        .limit(BATCH)
    )
