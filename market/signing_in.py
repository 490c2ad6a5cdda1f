"""Letting a person in who has proved to hold a number, and nobody else into what a former owner of it has here."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import structlog
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, codes, notices
from market.assets import COIN, asset_ids
from market.custody import SHANGHAI
from market.line_events import PAUSE
from market.parties import (
    Member,
    as_member,
    buckets_or_none,
    former_hash,
    learn_plan,
    line_of_number,
    line_or_invitation,
    lock_number,
)
from market.refusals import Forbidden, Unavailable
from market.tables import LineRow, PartyRow
from market.venue import Venue
from settlement.accounts import Place, find_or_create
from settlement.carriers.errors import CarrierError
from settlement.line_event_tables import LineEventRow

logger = structlog.get_logger("surplusflow.signing_in")

LONG_ABSENCE = timedelta(days=60)
"""Carriers give a closed number to somebody else after some three months."""
SHORT_ABSENCE = timedelta(days=1)
"""Who was here since then was asked about their SIM card then."""
SIM_LOOKBACK_HOURS = 2_400
"""As far back as carriers can be asked."""
SOURCE = "sign-in"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the carrier says of the one who holds a number now."""

    former: bool = False
    """The line here is a former owner's: the number was given to somebody else since."""
    swapped: bool = False
    """The SIM card was changed since the member was last here, so no money leaves for a while."""
    doubtful: bool = False
    """The carrier did not say whether it was; it is asked again at the next sign-in, and before each payout."""


async def sign_in(venue: Venue, ticket: str, code: str) -> Member:
    """Let in whoever enters the code that was texted. A new number, or a new owner's, gets a party of its own.

    Raises:
        WrongCode: the code is wrong, or the ticket used up or too old.
        Forbidden: the line is suspended, or the carrier can't say whose a closed one is now.
        Unavailable: the carrier does not answer; ask for another code.
    """
    entered = await codes.enter_code(venue, ticket, code)
    return await _admit(venue, entered.msisdn, entered.carrier)


async def _admit(venue: Venue, msisdn: str, carrier: str) -> Member:
    now = datetime.now(UTC)
    async with venue.sessions() as session:
        known = await line_of_number(session, venue.vault, msisdn)
    standing = Standing() if known is None else await _standing(venue, known, msisdn, carrier, now)
    found = await buckets_or_none(venue, carrier, msisdn)

    async with venue.sessions.begin() as session:
        await lock_number(session, venue.vault, msisdn)
        if standing.former and known is not None:
            await _part(session, venue, known.id, now)
        line = await line_or_invitation(session, venue.vault, msisdn, carrier)
        party = await session.get_one(PartyRow, line.party_id)
        await _open_wallets(session, party.id, venue.settings.currency)
        line.carrier, line.state, party.last_signed_in_at = carrier, "active", now
        if not standing.doubtful:
            line.verified_at = now
        if standing.swapped:
            await _pause(session, line, now)
        if found is not None:
            learn_plan(line, found, now)
        detail: audit.Detail = {"carrier": carrier, "swapped": standing.swapped, "doubtful": standing.doubtful}
        await audit.append(session, audit.party(party.id), "sign_in", f"line:{line.id}", detail)
    return as_member(party)


async def _standing(venue: Venue, line: LineRow, msisdn: str, carrier: str, now: datetime) -> Standing:
    """Keep whoever gets a number that was given up out of its former owner's wallet. Not knowing keeps them out too."""
    if line.state == "suspended":
        raise Forbidden("This line is suspended.", code="line_not_active")
    if line.verified_at is None:
        return Standing()
    absent = now - line.verified_at
    recycled: bool | None = False
    if line.state == "closed" or absent >= LONG_ABSENCE:
        recycled = await _recycled(venue, line, msisdn, carrier)
    if recycled:
        return Standing(former=True)
    if line.state == "closed" and recycled is None:
        raise Forbidden("This line is closed.", code="line_not_active")
    if absent < SHORT_ABSENCE:
        return Standing()
    swapped = await _swapped(venue, msisdn, carrier, absent)
    if recycled is None and swapped is not False:
        raise Forbidden(
            "The SIM card of this number was changed since you were last here. Please ask our staff to let you in.",
            code="sim_changed",
        )
    return Standing(swapped=swapped is True, doubtful=swapped is None)


async def _recycled(venue: Venue, line: LineRow, msisdn: str, carrier: str) -> bool | None:
    """Whether the number was given to somebody else since the member was last here; None when the carrier can't say."""
    port = venue.carriers[carrier]
    if not port.capabilities.recycling or carrier != line.carrier or line.verified_at is None:
        return None
    try:
        return await port.number_recycled(msisdn, line.verified_at.astimezone(SHANGHAI).date())
    except CarrierError as error:
        raise Unavailable("The carrier does not answer just now. Please ask for a new code.") from error


async def _swapped(venue: Venue, msisdn: str, carrier: str, absent: timedelta) -> bool | None:
    """Whether the SIM card was changed since; None when the carrier does not say."""
    port, hours = venue.carriers[carrier], absent // timedelta(hours=1) + 1
    if not port.capabilities.sim_swap:
        return None
    try:
        return await port.sim_swapped(msisdn, min(hours, SIM_LOOKBACK_HOURS))
    except CarrierError as error:
        logger.warning("sim_not_checked", carrier=carrier, error=type(error).__name__)
        return None


async def _part(session: AsyncSession, venue: Venue, line_id: int, now: datetime) -> None:
    """Close a former owner's line and take the number off it; what else follows is the business of line events."""
    line = await session.get_one(LineRow, line_id, with_for_update={"key_share": True})
    line.state, line.number_hash = "closed", former_hash(venue.vault, line.id)
    session.add(_event(line, "recycled", now))
    await session.flush()


async def _pause(session: AsyncSession, line: LineRow, now: datetime) -> None:
    """No money leaves for a while: the phone may be in a stranger's hand, and its owner is told."""
    event = _event(line, "sim_swapped", now)
    event.status, event.asked_at, event.handled_at, event.pause_until = "confirmed", now, now, now + PAUSE
    session.add(event)
    await notices.tell(session, line.party_id, "sim_changed", about="/settings")


def _event(line: LineRow, kind: str, now: datetime) -> LineEventRow:
    return LineEventRow(
        carrier=line.carrier, source=SOURCE, event_id=token_hex(16), line_id=line.id, party_id=line.party_id,
        kind=kind, happened_at=now, look_at=func.now(), status="received",
    )  # fmt: skip


async def _open_wallets(session: AsyncSession, party_id: int, currency: str) -> None:
    assets = await asset_ids(session, [currency, COIN])
    await find_or_create(session, [Place(party_id, asset, "wallet") for asset in assets.values()])
