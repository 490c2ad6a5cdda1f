"""What has not ended after a quarter of an hour is escalated: with a reason that everybody concerned can read.

Causes are classes, put into words by the pages: `waiting` (its turn has not come),
`trying` (sent, and sent again), `unconfirmed` (sent, the answer is not known),
`person` (nobody tries any more), `bank` (a bank is at work), `buyer` (the buyer has
to confirm), `ending` (something else has to end first).
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.escalation_tables import EscalationRow

AFTER = timedelta(minutes=15)
"""How long a thing may take before its delay is said aloud."""

_OPEN = """
    select 'delivery' as subject, delivery.id as subject_id, delivery.created_at as since,
        case when step.status = 'dead' then 'person' when step.status in ('unknown', 'claimed') then 'unconfirmed'
            when step.attempt > 0 then 'trying' when step.status = 'ready' then 'waiting' else 'ending' end as cause,
        array[buyer.party_id, seller.party_id] as parties
    from delivery
    join account buyer on buyer.id = money_account_id join account seller on seller.id = proceeds_account_id
    left join lateral (
        select status, attempt from instruction
        where (kind = 'deliver' and subject_id = delivery.id and delivery.status = 'pending')
            or (kind in ('finish_payment', 'capture') and subject_id = payment_id and delivery.status = 'delivered')
        order by status in ('done', 'refused'), id desc limit 1
    ) step on true
    where delivery.status in ('pending', 'delivered') and delivery.created_at < now() - cast(:after as interval)
    union all
    select 'payout', payout.id, payout.created_at,
        case when exists (
            select from instruction where status = 'dead' and subject_id = payout.id
                and kind in ('transfer', 'payout', 'reverse')
        ) then 'person' when payout_reference is not null then 'bank' else 'unconfirmed' end, array[party_id]
    from payout where status in ('requested', 'transferred') and created_at < now() - cast(:after as interval)
    union all
    select 'custody', custody.id, coalesce(release.created_at, custody.created_at),
        case when coalesce(release.status, reserve.status) = 'dead' then 'person' else 'unconfirmed' end,
        array[party_id]
    from custody left join instruction release on release.kind = 'release' and release.subject_id = custody.id
    left join instruction reserve on reserve.kind = 'reserve' and reserve.subject_id = custody.id
    where custody.status in ('requested', 'releasing')
        and coalesce(release.created_at, custody.created_at) < now() - cast(:after as interval)
    union all
    select 'payment', id, created_at, case when status = 'requires_action' then 'buyer' else 'unconfirmed' end,
        array[party_id]
    from payment where status in ('requested', 'requires_action', 'unknown')
        and created_at < now() - cast(:after as interval)
    union all
    select 'redemption', redemption.id, redemption.created_at,
        case when step.status = 'dead' then 'person' when step.attempt > 0 then 'unconfirmed' else 'waiting' end,
        array[party_id]
    from redemption left join instruction step on kind = 'redeem' and subject_id = redemption.id
    where redemption.status = 'requested' and redemption.created_at < now() - cast(:after as interval)
    union all
    select 'handout', handout.id, handout.created_at,
        case when step.status = 'dead' then 'person' when step.attempt > 0 then 'unconfirmed' else 'waiting' end,
        array[party_id]
    from handout left join instruction step on kind = 'handout' and subject_id = handout.id
    where handout.status = 'requested' and handout.created_at < now() - cast(:after as interval)
    union all
    select 'data_gift', gift.id, gift.created_at,
        case when step.status = 'dead' then 'person' when step.attempt > 0 then 'unconfirmed' else 'waiting' end,
        array[giver_id, receiver_id]
    from data_gift gift left join instruction step on kind = 'give' and subject_id = gift.id
    where gift.status = 'requested' and gift.created_at < now() - cast(:after as interval)
    union all
    select 'reopening', reopening.id, opened_at,
        case when reopening.status = 'open' then 'ending' else 'person' end, array[buyer.party_id, seller.party_id]
    from reopening join delivery on delivery.id = trade_id
    join account buyer on buyer.id = money_account_id join account seller on seller.id = proceeds_account_id
    where reopening.status in ('open', 'for_a_person') and opened_at < now() - cast(:after as interval)
"""
_RAISE = text(f"""
    with slow as ({_OPEN}), raised as (
        insert into escalation (subject, subject_id, cause, since)
        select subject, subject_id, cause, since from slow
        on conflict (subject, subject_id) do update set cause = excluded.cause, ended_at = null,
            opened_at = case when escalation.ended_at is null then escalation.opened_at else now() end
        where escalation.ended_at is not null or escalation.cause <> excluded.cause
        returning subject, subject_id
    )
    select distinct unnest(slow.parties) from raised join slow using (subject, subject_id)
""")  # noqa: S608 - our own text
_END = text(f"""
    with slow as ({_OPEN})
    update escalation set ended_at = now() where ended_at is null and not exists (
        select from slow where slow.subject = escalation.subject and slow.subject_id = escalation.subject_id
    )
""")  # noqa: S608 - the same


async def look(session: AsyncSession, after: timedelta = AFTER) -> set[int]:
    """Say of everything whether it takes too long and why, and end what has ended; gives who should hear of it.

    Changes nothing while nothing changes. The caller commits.
    """
    told = set(await session.scalars(_RAISE, {"after": after}))
    await session.execute(_END, {"after": after})
    return told


async def of_subjects(session: AsyncSession, subject: str, ids: Sequence[int]) -> dict[int, EscalationRow]:
    """What is escalated at present of these, by their ids."""
    query = select(EscalationRow).where(
        EscalationRow.subject == subject, EscalationRow.subject_id.in_(ids), EscalationRow.ended_at.is_(None)
    )
    return {row.subject_id: row for row in await session.scalars(query)}
