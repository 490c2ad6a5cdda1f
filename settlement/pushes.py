"""What carriers push to us: stored once, then only a reason to ask sooner.

A push never ends an instruction by itself: twice, late, early or wrong, it leads to
the question that would have been asked anyway. One that comes while the request is
still in the air waits for it. A reversal is taken in from the carrier's journal.
"""

from datetime import timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement.carriers.values import Push
from settlement.naming import subject_of
from settlement.push_tables import CarrierPushRow

log = structlog.get_logger()

FORGOTTEN_AT_ONCE = 5000

_END = text("""
    update carrier_push set handled_at = now(), outcome = case
            when found.status is null then 'quarantined'
            when found.status = 'unknown' then 'asked'
            else 'not_needed'
        end
    from (
        select push.id, instruction.status from carrier_push push left join instruction
            on instruction.kind = push.kind and instruction.subject_id = push.subject_id
            and instruction.lane = push.carrier
        where push.handled_at is null and instruction.status is distinct from 'claimed'
        order by push.id for no key update of push skip locked
    ) as found
    where carrier_push.id = found.id
    returning carrier_push.id, carrier_push.carrier, carrier_push.kind, carrier_push.subject_id, carrier_push.outcome
""")
_HURRY = text("""
    update instruction set not_before = least(not_before, now()) where id in (
        select instruction.id from instruction
        join unnest(cast(:kinds as text[]), cast(:subjects as bigint[])) as asked (kind, subject_id)
            on instruction.kind = asked.kind and instruction.subject_id = asked.subject_id
        where instruction.status = 'unknown'
        order by instruction.id for no key update of instruction
    )
""")

_FORGET = text("""
    delete from carrier_push where id in (
        select id from carrier_push where handled_at < now() - cast(:older as interval) limit :limit
    ) returning id
""")


async def record(session: AsyncSession, carrier: str, push: Push, mark: str) -> bool:
    """Store a verified push; says whether it is new. The caller commits, and answers the carrier only then."""
    kind, subject_id = subject_of(mark, push.external_id) or (None, None)
    values = {
        "carrier": carrier,
        "reference": push.reference,
        "external_id": push.external_id,
        "status": push.status.value,
        "kind": kind,
        "subject_id": subject_id,
    }
    stored = insert(CarrierPushRow).values(values).on_conflict_do_nothing().returning(CarrierPushRow.id)
    return await session.scalar(stored) is not None


async def handle(session: AsyncSession) -> int:
    """Make due what the stored pushes speak of; says how many instructions that were. The caller commits."""
    ended = list(await session.execute(_END))
    asked = [row for row in ended if row.outcome == "asked"]
    if asked:
        named = {"kinds": [row.kind for row in asked], "subjects": [row.subject_id for row in asked]}
        await session.execute(_HURRY, named)
    for row in ended:
        if row.outcome == "quarantined":
            log.error("push_of_a_stranger", carrier=row.carrier, push=row.id)
    return len(asked)


async def forget(session: AsyncSession, older_than: timedelta) -> int:
    """Delete what was read that long ago, some of it at a time; says how much. The caller commits.

    One that is pushed again afterwards is stored again, and leads to nothing but a question.
    """
    return len((await session.scalars(_FORGET, {"older": older_than, "limit": FORGOTTEN_AT_ONCE})).all())


async def handle_pending(sessions: async_sessionmaker[AsyncSession]) -> int:
    """The round: pushes that came before their request was answered."""
    async with sessions.begin() as session:
        return await handle(session)
