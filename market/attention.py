"""What waits for a person: things that take too long, and reopened trades that no rule settles; seen by an officer."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.attention_tables import SeenByOfficerRow
from market.parties import Officer
from market.refusals import BadInput, NotFound

_ESCALATIONS = text("""
    select escalation.id, escalation.subject, escalation.subject_id, escalation.cause, escalation.since,
        coalesce(delivery.carrier, custody.carrier, redemption.carrier, handout.carrier, data_gift.carrier) as carrier,
        delivery.id as trade_id, seen.officer_id, seen.note, seen.at as seen_at
    from escalation
    left join delivery on escalation.subject = 'delivery' and delivery.id = escalation.subject_id
    left join custody on escalation.subject = 'custody' and custody.id = escalation.subject_id
    left join redemption on escalation.subject = 'redemption' and redemption.id = escalation.subject_id
    left join handout on escalation.subject = 'handout' and handout.id = escalation.subject_id
    left join data_gift on escalation.subject = 'data_gift' and data_gift.id = escalation.subject_id
    left join seen_by_officer seen on seen.subject = 'escalation' and seen.subject_id = escalation.id
    where escalation.ended_at is null and escalation.subject <> 'reopening'
        and (cast(:before as bigint) is null or escalation.id < :before)
        and (cast(:only as bigint) is null or escalation.id = :only)
        and (cast(:carrier as text) is null or :carrier
            = coalesce(delivery.carrier, custody.carrier, redemption.carrier, handout.carrier, data_gift.carrier))
    order by escalation.id desc limit :limit
""")
_REOPENED = text("""
    select reopening.id, 'reopening' as subject, reopening.id as subject_id, reopening.cause,
        reopening.opened_at as since, carrier, trade_id, reopening.amount_minor, reopening.detail, seen.officer_id,
        seen.note, seen.at as seen_at
    from reopening join delivery on delivery.id = trade_id
    left join seen_by_officer seen on seen.subject = 'reopening' and seen.subject_id = reopening.id
    where reopening.status = 'for_a_person'
        and (cast(:before as bigint) is null or reopening.id < :before)
        and (cast(:only as bigint) is null or reopening.id = :only)
        and (cast(:carrier as text) is null or :carrier = carrier)
    order by reopening.id desc limit :limit
""")
_OF = {"escalation": _ESCALATIONS, "reopening": _REOPENED}


async def waiting(
    session: AsyncSession, officer: Officer, what: str, limit: int, before: int | None = None
) -> Sequence[Row[Any]]:
    """Escalations, or reopened trades, newest first; an officer of a carrier sees that carrier's alone.

    ``before`` is the last id of the page before.
    """
    values = {"before": before, "only": None, "carrier": officer.carrier, "limit": limit}
    return list(await session.execute(_OF[what], values))


async def see(session: AsyncSession, officer: Officer, what: str, subject_id: int, note: str) -> None:
    """Note that an officer is at it. The first one's words stay. The caller commits.

    Raises:
        NotFound: it does not wait any more, or is another carrier's.
        BadInput: there are no words, or a phone number is among them.
    """
    if what not in _OF:
        raise NotFound("There is no such thing.")
    if not note:
        raise BadInput("Please say what you do about it. It is kept on the record.", field="note")
    if audit.NUMBER.search(note):
        raise BadInput("Please leave phone numbers out: the record is kept for good.", field="note")
    values = {"before": None, "only": subject_id, "carrier": officer.carrier, "limit": 1}
    if (await session.execute(_OF[what], values)).one_or_none() is None:
        raise NotFound("This does not wait any more.")
    row = {"subject": what, "subject_id": subject_id, "officer_id": officer.id, "note": note}
    added = insert(SeenByOfficerRow).values(row).on_conflict_do_nothing().returning(SeenByOfficerRow.subject_id)
    if await session.scalar(added) is not None:
        who = audit.officer(officer.id)
        await audit.append(session, who, f"see_{what}", f"{what}:{subject_id}", {"note": note})
