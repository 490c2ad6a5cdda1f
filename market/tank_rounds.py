"""The end of what is in the tank: deposits whose date has passed, or that the carrier no longer holds."""

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import structlog
from sqlalchemy import Row, text

from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.installation import mark
from market.rounds import Rounds, beside
from market.tank import lock_custody, place, reference_of
from market.venue import Venue
from settlement import accounts, data_gifts, funding
from settlement.carriers.errors import CarrierError
from settlement.carriers.values import ReservationStatus
from settlement.ledger import Kind
from settlement.naming import external_id
from settlement.notices import tell

log = structlog.get_logger()

LOOK_SECONDS = 60.0
BATCH = 200
LIVE = frozenset({ReservationStatus.HELD, ReservationStatus.PENDING})


_PASSED = text("""
    select deposit.custody_id from tank_deposit deposit join custody on custody.id = deposit.custody_id
    where ended_at is null and custody.expires_at <= :now order by deposit.id limit :limit
""")
_DOUBTED = text("""
    select deposit.custody_id, custody.carrier from tank_deposit deposit join custody on custody.id = deposit.custody_id
    where ended_at is null and exists (
        select from data_gift gift where gift.custody_id = deposit.custody_id and gift.status = 'refused'
            and gift.ended_at > cast(:now as timestamptz) - interval '1 hour'
    )
    order by deposit.id limit :limit
""")
_DEPOSIT = text("""
    select deposit.id, deposit.party_id, deposit.amount_mb - coalesce(given.amount_mb, 0)::bigint as left_mb
    from tank_deposit deposit left join lateral (
        select sum(gift.amount_mb) as amount_mb, bool_or(status = 'requested') as moving from data_gift gift
        where gift.custody_id = deposit.custody_id and gift.purpose = 'tank' and gift.status <> 'refused'
    ) given on true
    where deposit.custody_id = :custody and ended_at is null and given.moving is not true
    for no key update of deposit
""")
_END = text("update tank_deposit set ended_at = :now, returned_mb = :left where id = :id")


def watching(venue: Venue) -> AbstractAsyncContextManager[None]:
    """End deposits beside a program, until the block ends."""
    return beside(venue, Rounds("tank", lambda where: look(where, datetime.now(UTC)), LOOK_SECONDS))


async def look(venue: Venue, now: datetime) -> int:
    """End the deposits whose date has passed, and those that a refusal made the carrier be asked about in vain.

    Gives how many ended. One of which something is on its way ends in a later round.
    """
    async with venue.sessions() as session:
        passed = list(await session.scalars(_PASSED, {"now": now, "limit": BATCH}))
        doubted = list(await session.execute(_DOUBTED, {"now": now, "limit": BATCH}))
        installation = await mark(session)
    gone = [row.custody_id for row in doubted if await _is_gone(venue, row, installation)]
    return sum([await end(venue, custody_id, now) for custody_id in sorted({*passed, *gone})])


async def _is_gone(venue: Venue, row: Row[tuple[int, str]], installation: str) -> bool:
    """Whether the carrier says that it no longer holds a deposit's reservation; not knowing ends nothing."""
    name = external_id(installation, "reserve", row.custody_id)
    try:
        found = await venue.carriers[row.carrier].find_reservation(name)
    except CarrierError as error:
        log.warning("deposit_not_asked_about", custody=row.custody_id, error=type(error).__name__)
        return False
    return found is None or found.status not in LIVE


async def end(venue: Venue, custody_id: int, now: datetime) -> bool:
    """Take what nobody took out of the tank, and give the custody back; false while some of it is on its way."""
    async with venue.sessions.begin() as session:
        row = await lock_custody(session, custody_id)
        tank = place(await funding.asset_of(session, row.account_id))
        tank_id = (await accounts.find_or_create(session, [tank]))[tank]
        # What is left is read under the lock that withdrawals share out under.
        ledger = await accounts.lock(session, [row.account_id, tank_id])
        deposit = (await session.execute(_DEPOSIT, {"custody": custody_id})).one_or_none()
        if deposit is None:
            return False
        reference, left_mb = reference_of(deposit.id), deposit.left_mb
        if left_mb:
            ledger.move(Kind.TANK_EMPTIED, reference, source=tank_id, target=row.account_id, amount=left_mb)
            await accounts.save(session, ledger)
        await session.execute(_END, {"id": deposit.id, "left": left_mb, "now": now})
        await funding.instruct(session, "tank_release", custody_id, row.carrier)
        if left_mb:
            once = f"{reference}_end"
            await tell(session, deposit.party_id, "tank_left", data_gifts.ABOUT, once=once, quantity_mb=left_mb)
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(deposit.party_id))
    return True
