"""Data set aside at the carrier for a seller who waits: an instruction that is taken at once, and outlives us."""

from collections.abc import Iterable, Sequence
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.installation import mark
from market.refusals import NotAllowed, OutcomeUnknown
from market.tables import LineRow
from market.venue import Venue
from settlement.claims import Claim, take_this
from settlement.failpoints import failpoint
from settlement.funding import instruct
from settlement.instructions import Outcome, Refused
from settlement.lane import Lane
from settlement.reserving import RESERVE
from settlement.steps import Outside
from settlement.tables import CustodyRow

STEPS = {RESERVE.kind: RESERVE}


async def take(session: AsyncSession, venue: Venue, row: CustodyRow) -> Claim | None:
    """Write down what will be asked of the carrier, and take it; none when somebody else has it in hands.

    The caller commits, and only then carries it out.
    """
    outside = await _outside(session, venue)
    await instruct(session, RESERVE.kind, row.id, row.carrier)
    return await take_this(
        session, STEPS, RESERVE.kind, row.id,
        holder=f"at-once/{uuid4().hex}", budget=outside.longest_step(row.carrier), mark=outside.mark,
    )  # fmt: skip


async def carry_out(venue: Venue, row: CustodyRow, claim: Claim | None) -> CustodyRow:
    """Do what was taken, as a worker would; gives the custody as it stands then.

    Raises:
        NotAllowed: the carrier refused it.
        OutcomeUnknown: the carrier gave no definite answer, or somebody else is just asking it.
    """
    outcome: Outcome | None = None
    if claim is not None:
        failpoint("settle.after_claim")
        outcome = await _do(venue, row, claim)
    async with venue.sessions() as session:
        row = await session.get_one(CustodyRow, row.id)
    if isinstance(outcome, Refused) and row.status == "refused":
        raise NotAllowed(
            "The carrier refused to set this data aside. Look at what your line has left.", code="custody_refused"
        )
    if row.status == "requested":
        await announce(venue.redis, SETTLEMENT_WAKE)
        raise OutcomeUnknown(
            "The carrier has not answered yet. Ask again with the same key; it will not be done twice."
        )
    return row


async def _do(venue: Venue, row: CustodyRow, claim: Claim) -> Outcome:
    async def tell(parties: Iterable[int]) -> None:
        await announce(venue.redis, *map(party_channel, sorted(parties)))

    async with venue.sessions() as session:
        line = await session.get_one(LineRow, row.line_id)
        outside = await _outside(session, venue)
    lane = Lane(row.carrier, outside, STEPS, venue.sessions, tell, claim.holder, changed=lambda: None)
    return await lane.do(claim, {line.id: venue.vault.open(line.number_sealed)})


async def _outside(session: AsyncSession, venue: Venue) -> Outside:
    return Outside(venue.carriers, venue.payments, _no_numbers, await mark(session))


async def _no_numbers(line_ids: Sequence[int]) -> dict[int, str]:  # noqa: ARG001 - the one that is needed is at hand
    return {}
