"""Halting a market and opening it again: by an officer, with a reason, on the record."""

import hashlib
from typing import Literal, get_args

from sqlalchemy import select

from market import audit
from market.engine.commands import Answer, SetState
from market.parties import Officer
from market.refusals import BadInput, Forbidden, NotFound
from market.tables import InstrumentRow
from market.trading import accepted
from market.venue import Venue
from settlement.accounts import HOUSE
from settlement.ledger_tables import AssetRow

State = Literal["open", "cancel_only", "halted"]
STATES: tuple[State, ...] = get_args(State)
"""What an officer may choose. Closing ends all orders for good, so that only time does it."""


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
    if not reason:
        raise BadInput("Please say why. The reason is kept on the record.", field="reason")
    if audit.NUMBER.search(reason):
        raise BadInput("Please leave phone numbers out: the record is kept for good.", field="reason")
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
