"""The provider's events that wait for a person, and having events handled again."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, halting
from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE
from market.parties import Officer
from market.refusals import Conflict, Forbidden, NotFound
from market.settings import Settings
from market.venue import Venue, open_venue
from settlement import inbox
from settlement.tables import ProviderEventRow

OPERATOR = "operator"
"""Whoever has the command line of the machine."""


async def parked(session: AsyncSession) -> Sequence[ProviderEventRow]:
    """The events that wait for a person, oldest first."""
    return await inbox.parked(session)


async def handle_again(venue: Venue, officer: Officer, event_id: str) -> None:
    """Have a parked event handled anew: the provider is asked how the thing stands now.

    Raises:
        NotFound: there is no such event.
        Forbidden: it takes an operations officer of the house.
        Conflict: it is not parked any more.
    """
    async with venue.sessions.begin() as session:
        if await session.get(ProviderEventRow, event_id) is None:
            raise NotFound("There is no such event.")
        if not halting.may_switch(officer):
            raise Forbidden("Only an operations officer of the house may do this.")
        if not await inbox.handle_again(session, event_id=event_id, only_parked=True):
            raise Conflict("Somebody was faster: this is not waiting for a person any more.")
        await audit.append(session, audit.officer(officer.id), "handle_again", f"event:{event_id}", {})
    await announce(venue.redis, SETTLEMENT_WAKE)


def main(settings: Settings, since: datetime | None, only_parked: bool) -> str:
    """Have stored events handled again; says how many in words. A day without a zone is one of the market's."""
    return asyncio.run(_main(settings, since, only_parked=only_parked))


async def _main(settings: Settings, since: datetime | None, *, only_parked: bool) -> str:
    first = None if since is None else since.replace(tzinfo=settings.timezone)
    async with open_venue(settings, pool_size=4) as venue:
        count = await replay(venue, first, only_parked=only_parked)
    return f"{count} events are handled again."


async def replay(venue: Venue, since: datetime | None, *, only_parked: bool) -> int:
    """Have events handled again that were received since then; says how many."""
    async with venue.sessions.begin() as session:
        count = await inbox.handle_again(session, since=since, only_parked=only_parked)
        detail: audit.Detail = {"count": count, "since": since.isoformat() if since else None, "parked": only_parked}
        await audit.append(session, OPERATOR, "replay_events", "events", detail)
    await announce(venue.redis, SETTLEMENT_WAKE)
    return count
