"""Reservations that lapsed at the carrier behind our back: noticed, taken off the market, written off, recorded."""

from datetime import timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.installation import mark
from market.line_events import cancel_for
from market.refusals import Refusal
from market.tables import OpenOrderRow
from market.venue import Venue
from settlement import custody
from settlement.carriers.errors import CarrierError
from settlement.carriers.line_checks import LineChecks
from settlement.carriers.values import Reservation, ReservationStatus
from settlement.naming import external_id
from settlement.tables import CustodyRow

log = structlog.get_logger()

SETTLED_IN = timedelta(minutes=1)
"""What was reserved later than this may not be on the carrier's list yet."""
ASKED_AT_ONCE = 200
"""Suspects that are asked about in one round; when there are more, something larger is wrong than these."""
LIVE = frozenset({ReservationStatus.HELD, ReservationStatus.PENDING})


async def compare(venue: Venue, carrier: str) -> int:
    """Compare what our books have reserved at a carrier with what it holds; says how many reservations lapsed.

    Its list moves while it is read, so what is missing on it is only suspected, and asked for by its own name
    before anything is done.

    Raises:
        CarrierError: it does not answer.
    """
    port = venue.carriers[carrier]
    async with venue.sessions() as session:
        ours = await _reserved(session, carrier)
        installation = await mark(session)
    if not ours or not isinstance(port, LineChecks):
        return 0
    held = await _held(port)
    suspects = sorted(custody_id for reservation_id, custody_id in ours.items() if reservation_id not in held)
    if len(suspects) > ASKED_AT_ONCE:
        log.error("many_reservations_missing", carrier=carrier, missing=len(suspects))
    lapsed = 0
    for custody_id in suspects[:ASKED_AT_ONCE]:
        found = await port.find_reservation(external_id(installation, "reserve", custody_id))
        if found is None or found.status not in LIVE:
            lapsed += await _lapse(venue, custody_id, found)
    return lapsed


async def compare_all(venue: Venue) -> int:
    """Compare with every carrier; one that does not answer keeps no other waiting."""
    lapsed = 0
    for carrier in sorted(venue.carriers):
        try:
            lapsed += await compare(venue, carrier)
        except (CarrierError, Refusal, LookupError) as error:
            log.warning("reservations_not_compared", carrier=carrier, error=type(error).__name__)
    return lapsed


async def _reserved(session: AsyncSession, carrier: str) -> dict[str, int]:
    """Our custodies by the carrier's name for the reservation."""
    query = select(CustodyRow.reservation_id, CustodyRow.id).where(
        CustodyRow.carrier == carrier, CustodyRow.status == "reserved", CustodyRow.created_at < func.now() - SETTLED_IN
    )
    rows = await session.execute(query)
    return {reservation_id: custody_id for reservation_id, custody_id in rows if reservation_id is not None}


async def _held(port: LineChecks) -> set[str]:
    held: set[str] = set()
    offset = 0
    while True:
        page = await port.reservation_page(offset=offset)
        held |= {each.id for each in page.reservations if each.status in LIVE}
        offset += len(page.reservations)
        if not page.reservations or offset >= page.total_count:
            return held


async def _lapse(venue: Venue, custody_id: int, found: Reservation | None) -> bool:
    """Record it, take its order off the market, and let the ordinary release empty the books."""
    async with venue.sessions.begin() as session:
        row = await custody.lapse(session, custody_id, "unknown" if found is None else found.status.value)
    if row is None:
        return False
    log.error("reservation_lapsed", carrier=row.carrier, custody=row.id)
    orders = select(OpenOrderRow.id, OpenOrderRow.instrument_id, OpenOrderRow.party_id)
    if not await cancel_for(venue, orders.where(OpenOrderRow.custody_id == custody_id), "reservation_lapsed"):
        async with venue.sessions.begin() as session:
            await custody.give_back(session, custody_id)
    await announce(venue.redis, party_channel(row.party_id), SETTLEMENT_WAKE)
    return True
