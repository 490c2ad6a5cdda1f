"""Markets of carriers that are away or not to be trusted: orders may only go, until it is over.

A carrier that does not answer lets go by itself when it is back. One whose books contradict ours waits for an officer.
"""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import structlog
from sqlalchemy import text

from market import audit, frozen_orders
from market.engine.commands import SetState, State
from market.parties import Officer
from market.refusals import BadInput, Conflict, Forbidden, NotAllowed
from market.rounds import Rounds, beside
from market.venue import Venue
from settlement import carrier_stops, pushes
from settlement.accounts import HOUSE

log = structlog.get_logger()

LOOK_SECONDS = 2.0
FORGET_SECONDS = 3600.0

# The newest stop names the command, so that each carrier's stop does it once, and an officer's own word stands.
_TO_STOP = text("""
    select instrument.id, max(carrier_stop.id) as stop_id from instrument
    join asset on asset.id = asset_id join carrier_stop on carrier_stop.carrier = asset.carrier and ended_at is null
    where instrument.state <> 'closed' and stopped_by is null group by instrument.id order by 1
""")
_TO_OPEN = text("""
    select instrument.id, coalesce(max(carrier_stop.id), 0) as stop_id from instrument
    join asset on asset.id = asset_id left join carrier_stop on carrier_stop.carrier = asset.carrier
    where instrument.state <> 'closed' and stopped_by = 'carrier'
    group by instrument.id having count(*) filter (where carrier_stop.id is not null and ended_at is null) = 0
    order by 1
""")


def watching(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Look after carriers' stops and frozen parties' orders, beside whatever else a program does."""
    return beside(
        venue,
        Rounds("carriers away", look, LOOK_SECONDS),
        Rounds("orders of frozen parties", frozen_orders.take_off, LOOK_SECONDS),
        Rounds("pushes", forget_pushes, FORGET_SECONDS),
    )


async def forget_pushes(venue: Venue) -> int:
    """Delete what carriers pushed and was read long ago; says how much."""
    async with venue.sessions.begin() as session:
        return await pushes.forget(session, timedelta(days=venue.settings.carrier_push_days))


async def look(venue: Venue) -> int:
    """One round; says how many markets were stopped or opened."""
    limit = timedelta(minutes=venue.settings.carrier_away_minutes)
    async with venue.sessions.begin() as session:
        away, back = await carrier_stops.look(session, sorted(venue.carriers), limit)
    for carrier in away:
        log.error("carrier_away", carrier=carrier)
    for carrier in back:
        log.warning("carrier_back", carrier=carrier)
    return await _follow(venue)


async def look_at_breaks(venue: Venue, run_id: int) -> None:
    """Stop the carriers of which a reconciliation has found too much. The markets follow within a round."""
    async with venue.sessions.begin() as session:
        limit = venue.settings.carrier_breaks
        stopped = await carrier_stops.look_at_breaks(session, run_id, sorted(venue.carriers), limit)
    for carrier in stopped:
        log.error("carrier_contradicts_us", carrier=carrier, run=run_id)


async def thaw(venue: Venue, officer: Officer, carrier: str, reason: str) -> None:
    """Trust a carrier again that was stopped for its breaks.

    Raises:
        Forbidden: it takes an operations officer of the house.
        BadInput: there is no reason, or a phone number is in it.
        Conflict: it is not stopped for that.
    """
    if not reason:
        raise BadInput("Please say why. The reason is kept on the record.", field="reason")
    if audit.NUMBER.search(reason):
        raise BadInput("Please leave phone numbers out: the record is kept for good.", field="reason")
    if officer.role != "operations" or officer.carrier is not None:
        raise Forbidden("Only an operations officer of the house may do this.")
    async with venue.sessions.begin() as session:
        if not await carrier_stops.thaw(session, carrier, officer.id):
            raise Conflict("This carrier is not stopped for its breaks any more.")
        who = audit.officer(officer.id)
        await audit.append(session, who, "thaw_carrier", f"carrier:{carrier}", {"reason": reason})


async def _follow(venue: Venue) -> int:
    async with venue.sessions() as session:
        wanted: list[tuple[State, int, int]] = [
            *(("cancel_only", *row) for row in await session.execute(_TO_STOP)),
            *(("open", *row) for row in await session.execute(_TO_OPEN)),
        ]
    for state, instrument_id, stop_id in wanted:
        key = f"carrier-{stop_id}-{instrument_id}-{state}"
        answer = await venue.gateway.submit(SetState(HOUSE, key, b"", instrument_id, state, by="carrier"))
        if not answer.accepted and answer.code != "market_closed":
            raise NotAllowed(f"The market did not follow its carrier: {answer.code}.", code=answer.code or "not_taken")
    return len(wanted)
