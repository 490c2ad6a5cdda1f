"""A dead instruction ended by what persons know: booked or undone by its own step, as if the outside had said so."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.claims import Steps
from settlement.instructions import Done, Event, State, move
from settlement.steps import Ended, Postponed
from settlement.tables import InstructionRow


class NotDead(Exception):
    """There is no such instruction, or it is not dead any more."""


class CannotEnd(Exception):
    """The step can't be ended in this way."""


async def end(
    session: AsyncSession, steps: Steps, mark: str, instruction_id: int, *, reference: str | None, reason: str
) -> set[int]:
    """End a dead instruction: with their ``reference`` it happened, without one it never did and never will.

    Says who should hear of it. The caller has made sure that two persons say so, and
    commits.

    Raises:
        NotDead: it is none, or somebody was faster.
        CannotEnd: its kind can't be undone, or something else has to happen first.
    """
    query = select(InstructionRow).where(InstructionRow.id == instruction_id).with_for_update(key_share=True)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None or row.status != State.DEAD:
        raise NotDead(f"Instruction {instruction_id} is not dead.")
    step = steps.get(row.kind)
    if step is None or (reference is None and step.undo is None):
        raise CannotEnd(f"A {row.kind} can't be undone.")
    loaded = (await step.load(session, [row.subject_id], mark)).get(row.subject_id)
    if loaded is None or isinstance(loaded, Postponed):
        raise CannotEnd(loaded.reason if loaded else "There is nothing to end.")
    now = (await session.execute(select(func.now()))).scalar_one()

    row.status = move(State.DEAD, Event.SAID_HAPPENED if reference else Event.SAID_NEVER).value
    row.ended_at, row.external_reference = now, reference or row.external_reference
    request = None if isinstance(loaded, Done) else loaded
    if reference is not None:
        return await step.book(session, [Ended(row.subject_id, request, now, Done(reference))])
    assert step.undo is not None
    return await step.undo(session, [Ended(row.subject_id, request, now, reason=reason)])
