"""Halting a market, or all of them at once, and opening again: by an officer, with a reason, on the record."""

import asyncio
import hashlib
from typing import Literal, get_args

from sqlalchemy import select

from market import audit
from market.engine.commands import Answer, SetState
from market.parties import Officer
from market.refusals import BadInput, Forbidden, NotFound, OutcomeUnknown, Unavailable
from market.tables import InstrumentRow
from market.trading import accepted
from market.venue import Venue
from settlement.accounts import HOUSE
from settlement.ledger_tables import AssetRow

State = Literal["open", "cancel_only", "halted"]
STATES: tuple[State, ...] = get_args(State)
"""What an officer may choose. Closing ends all orders for good, so that only time does it."""
INSIST_TIMES = 20
INSIST_SECONDS = 0.2


async def set_state(venue: Venue, officer: Officer, *, symbol: str, state: str, reason: str, key: str) -> Answer:
    """Bring an instrument into a state. The same key does it once.

    The reason is on the record before the market is told, so that nothing is ever halted without one.

    Raises:
        BadInput: the state is none of those, or there is no reason.
        NotFound: there is no such instrument.
        Forbidden: it belongs to a carrier that the officer does not watch.
    """
    wanted = next((known for known in STATES if known == state), None)
    if wanted is None:
        raise BadInput("Choose open, cancel only or halted.", field="state")
    _check_reason(reason)
    async with venue.sessions.begin() as session:
        statement = (
            select(InstrumentRow.id, AssetRow.carrier)
            .join(AssetRow, AssetRow.id == InstrumentRow.asset_id)
            .where(InstrumentRow.symbol == symbol)
        )
        found = (await session.execute(statement)).one_or_none()
        if found is None:
            raise NotFound("There is no such instrument.")
        if officer.carrier not in {None, found.carrier}:
            raise Forbidden("This instrument belongs to another carrier.")
        detail = {"state": state, "reason": reason}
        await audit.append(session, audit.officer(officer.id), "set_state", f"instrument:{symbol}", detail)

    body_hash = hashlib.sha256(f"state {found.id} {state}".encode()).digest()
    return accepted(await venue.gateway.submit(SetState(HOUSE, f"officer-{key}", body_hash, found.id, wanted)))


async def switch(
    venue: Venue, officer: Officer, *, to: Literal["halted", "open"], reason: str, confirmed: bool, key: str
) -> int:
    """Halt every market at once, or let go of what that halted; gives how many were asked. The same key does it once.

    What was collecting holds no auction; its orders stay. Letting go restores each as it was, and leaves alone what
    an officer has halted by hand. The reason is on the record before the first market is told.

    Raises:
        Forbidden: it takes an operations officer of the house.
        BadInput: there is no reason, or it was not confirmed.
        OutcomeUnknown: a market has not answered yet; the same key may be asked again.
    """
    if not may_switch(officer):
        raise Forbidden("Only an operations officer of the house may do this.")
    _check_reason(reason)
    if not confirmed:
        raise BadInput("Please confirm that you mean every market.", field="confirmed")
    async with venue.sessions.begin() as session:
        statement = select(InstrumentRow.id).where(InstrumentRow.state != "closed").order_by(InstrumentRow.id)
        found = list(await session.scalars(statement))
        action = "halt_every_market" if to == "halted" else "open_every_market"
        await audit.append(session, audit.officer(officer.id), action, "market:all", {"reason": reason})

    body_hash = hashlib.sha256(f"switch {to}".encode()).digest()
    commands = [SetState(HOUSE, f"switch-{key}-{each}", body_hash, each, to, by="switch") for each in found]
    answers = await asyncio.gather(*(_insist(venue, command) for command in commands), return_exceptions=True)

    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        if answer.code != "market_closed":  # which it may have become meanwhile
            accepted(answer)
    return len(found)


async def _insist(venue: Venue, command: SetState) -> Answer:
    """A full queue is no reason to leave a market as it is."""
    for _ in range(INSIST_TIMES):
        try:
            return await venue.gateway.submit(command)
        except OutcomeUnknown:
            raise
        except Unavailable:
            await asyncio.sleep(INSIST_SECONDS)
    return await venue.gateway.submit(command)


def may_switch(officer: Officer) -> bool:
    """Whether an officer may halt every market at once."""
    return officer.role == "operations" and officer.carrier is None


def _check_reason(reason: str) -> None:
    if not reason:
        raise BadInput("Please say why. The reason is kept on the record.", field="reason")
    if audit.NUMBER.search(reason):
        raise BadInput("Please leave phone numbers out: the record is kept for good.", field="reason")
