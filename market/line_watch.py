"""The scheduler's watch over lines: events are asked about and acted on, and reservations compared every hour."""

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Select, or_, select
from sqlalchemy.dialects.postgresql import insert

from market import lapsing, line_events
from market.rounds import Rounds, beside
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


def watching(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Watch beside whatever else a program does."""
    return beside(
        venue,
        Rounds("line events", line_events.handle_pending, EVENTS_SECONDS),
        Rounds("line subscriptions", subscribe, SUBSCRIBE_SECONDS),
        Rounds("reservations", lapsing.compare_all, COMPARE_SECONDS),
    )


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
