"""Instructions that need a person: asked again by one officer, or ended by what two of them say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, halting
from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.installation import mark
from market.parties import Officer
from market.refusals import BadInput, Conflict, Forbidden, NotFound
from market.venue import Venue
from settlement import claims, dead_letters
from settlement.escalation_tables import DeadWordRow
from settlement.tables import InstructionRow
from settlement.worker import STEPS

LONGEST = 200

Found = TypeVar("Found", InstructionRow, DeadWordRow)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead instruction, and what an officer has said of it that nobody has confirmed yet."""

    instruction: InstructionRow
    word: DeadWordRow | None


async def letters(session: AsyncSession, carrier: str | None, limit: int = 200) -> Sequence[Letter]:
    """Dead instructions, oldest first, of one carrier or of all."""
    query = (
        select(InstructionRow, DeadWordRow)
        .outerjoin(DeadWordRow, (DeadWordRow.instruction_id == InstructionRow.id) & (DeadWordRow.status == "proposed"))
        .where(InstructionRow.status == "dead")
        .order_by(InstructionRow.id)
        .limit(limit)
    )
    if carrier is not None:
        query = query.where(InstructionRow.lane == carrier)
    return [Letter(row, word) for row, word in await session.execute(query)]


async def ask_again(venue: Venue, officer: Officer, instruction_id: int) -> None:
    """Have the outside asked what became of it; it goes on from there.

    Raises:
        Forbidden: it takes an operations officer of the house.
        Conflict: it is not dead any more.
    """
    async with venue.sessions.begin() as session:
        await _named(session, InstructionRow, instruction_id)
        _check(officer)
        if await claims.reopen(session, instruction_id) is None:
            raise Conflict("Somebody was faster: this is not waiting for a person any more.")
        await audit.append(session, audit.officer(officer.id), "ask_again", f"instruction:{instruction_id}", {})
    await announce(venue.redis, SETTLEMENT_WAKE)


async def say(venue: Venue, officer: Officer, instruction_id: int, *, reference: str, reason: str) -> None:
    """Say what became of it: with the outside's own reference it happened, without one it never did.

    Raises:
        Forbidden: it takes an operations officer of the house.
        BadInput: there is no reason.
        NotFound: it is not dead.
        Conflict: somebody has said something already.
    """
    if not 0 < len(reason) <= LONGEST or len(reference) > LONGEST:
        raise BadInput("Please give a reason.", field="reason")
    _check(officer)
    try:
        async with venue.sessions.begin() as session:
            status = await session.scalar(select(InstructionRow.status).where(InstructionRow.id == instruction_id))
            if status != "dead":
                raise NotFound("There is no such dead letter.")
            word = DeadWordRow(
                instruction_id=instruction_id,
                happened=bool(reference),
                carrier_reference=reference or None,
                reason=reason,
                proposed_by=officer.id,
                ended_by=None,
                ended_at=None,
            )
            session.add(word)
            await session.flush()
            detail: audit.Detail = {"happened": bool(reference), "reason": reason}
            await audit.append(
                session, audit.officer(officer.id), "say_of_dead", f"instruction:{instruction_id}", detail
            )
    except IntegrityError:
        raise Conflict("Somebody has said something of it already.") from None


async def confirm(venue: Venue, officer: Officer, word_id: int) -> None:
    """Confirm what another officer has said: it is booked or undone in the same transaction.

    Raises:
        Forbidden: it takes another operations officer of the house than the one who said it.
        Conflict: it is settled already, or can't be ended in this way.
    """
    async with venue.sessions.begin() as session:
        named = await _named(session, DeadWordRow, word_id)
        _check(officer)
        await session.execute(  # instructions are locked before all else
            select(InstructionRow.id).where(InstructionRow.id == named.instruction_id).with_for_update(key_share=True)
        )
        word = await _open_word(session, word_id)
        if word.proposed_by == officer.id:
            raise Forbidden("Another officer has to confirm this.")
        try:
            told = await dead_letters.end(
                session,
                STEPS,
                await mark(session),
                word.instruction_id,
                reference=word.carrier_reference,
                reason=word.reason,
            )
        except (dead_letters.NotDead, dead_letters.CannotEnd) as error:
            raise Conflict("This can't be ended in this way now.") from error
        await _end(session, word, officer, "confirmed")
    await announce(venue.redis, SETTLEMENT_WAKE, *map(party_channel, sorted(told)))


async def withdraw(venue: Venue, officer: Officer, word_id: int) -> None:
    """Take back what was said, or turn down what another officer said.

    Raises:
        Forbidden: it takes an operations officer of the house.
        Conflict: it is settled already.
    """
    async with venue.sessions.begin() as session:
        await _named(session, DeadWordRow, word_id)
        _check(officer)
        await _end(session, await _open_word(session, word_id), officer, "withdrawn")


async def _named(session: AsyncSession, kind: type[Found], number: int) -> Found:
    row = await session.get(kind, number)
    if row is None:
        raise NotFound("There is no such dead letter.")
    return row


async def _open_word(session: AsyncSession, word_id: int) -> DeadWordRow:
    query = select(DeadWordRow).where(DeadWordRow.id == word_id).with_for_update(key_share=True)
    word = await session.scalar(query.execution_options(populate_existing=True))
    if word is None or word.status != "proposed":
        raise Conflict("Somebody was faster: this is not waiting for a person any more.")
    return word


async def _end(session: AsyncSession, word: DeadWordRow, officer: Officer, status: str) -> None:
    word.status, word.ended_by = status, officer.id
    word.ended_at = (await session.execute(select(func.now()))).scalar_one()
    await session.flush()
    detail = {"word": word.id, "happened": word.happened}
    await audit.append(session, audit.officer(officer.id), status, f"instruction:{word.instruction_id}", detail)


def _check(officer: Officer) -> None:
    if not halting.may_switch(officer):
        raise Forbidden("Only an operations officer of the house may do this.")
