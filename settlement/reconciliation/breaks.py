"""Breaks from one run to the next: kept, seen again, closed by themselves when both sides agree, escalated with age."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from settlement.reconciliation.differences import Difference
from settlement.reconciliation.documents import DOCUMENTED, ours_for
from settlement.reconciliation.window import Window

BOUND = timedelta(days=1)
BOUNDS = {"in_flight": timedelta(hours=1), "not_cleared": timedelta(days=3)}
"""How old a break of a cause may become before it is escalated."""

_KEEP = """
insert into break_item (
    counterparty, kind, subject, subject_id, cause, detail, unit, at, ours, theirs, first_run_id, last_run_id
)
select $1, kind, subject, subject_id, cause, detail, unit, at, ours, theirs, $2, $2 from unnest(
    $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::bigint[],
    $11::bigint[]
) as found (kind, subject, subject_id, cause, detail, unit, at, ours, theirs)
on conflict (counterparty, subject, kind, cause) do update set
    last_run_id = excluded.last_run_id, subject_id = excluded.subject_id, detail = excluded.detail,
    ours = excluded.ours, theirs = excluded.theirs,
    status = case when break_item.status = 'closed' or (break_item.ours, break_item.theirs)
        is distinct from (excluded.ours, excluded.theirs) then 'open' else break_item.status end,
    ended_at = case when break_item.status = 'closed' or (break_item.ours, break_item.theirs)
        is distinct from (excluded.ours, excluded.theirs) then null else break_item.ended_at end
"""
"""A break that was explained or adjusted stays so, unless its amounts have changed since."""

_CLOSE = """
with opened as (
    select * from break_item where counterparty = $1 and status = 'open' and last_run_id <> $2
), wanted as (
    select distinct kind, subject_id from opened where subject_id is not null
), said as (
    select kind, subject_id, sum(amount)::bigint as amount from theirs join wanted using (kind, subject_id)
    group by kind, subject_id
), owned as (
    select kind, subject_id, amount, state from ({ours}) documents join wanted using (kind, subject_id)
    union all
    select kind, subject_id, null, case status when 'done' then 'moved' when 'refused' then 'undone' else 'open' end
    from instruction join wanted using (kind, subject_id) where kind <> all ($6)
), agreed as (
    select opened.id from opened join owned using (kind, subject_id) left join said using (kind, subject_id)
    where owned.state in ('moved', 'idle')
            and coalesce(said.amount, opened.theirs) = coalesce(owned.amount, said.amount, theirs)
        or owned.state = 'undone' and (coalesce(said.amount, opened.theirs, 0) = 0 or exists (
            select from theirs back where back.kind = opened.kind || '_returned'
                and back.subject_id = opened.subject_id and back.amount = opened.theirs
        ))
)
update break_item set status = 'closed', ended_at = now(), last_run_id = $2
from opened where break_item.id = opened.id and (
    opened.cause = any ($5) or opened.at >= $3 and opened.at < $4 or opened.id in (select id from agreed)
)
"""
"""Closed by itself: this run has looked at that time again and does not see it, or both sides now agree on it."""

_ESCALATE = """
update break_item set escalated_at = $1
where status = 'open' and escalated_at is null and at < $1::timestamptz - case cause {bounds} else $2::interval end
returning id
"""


async def keep(connection: asyncpg.Connection, run_id: int, counterparty: str, found: Sequence[Difference]) -> None:
    """Write what a run found; what was there before is seen again."""
    columns = zip(
        *((one.kind, one.subject, one.subject_id, one.cause, one.detail, one.unit, one.at, one.ours, one.theirs)
          for one in found),
        strict=True,
    )  # fmt: skip
    if found:
        await connection.execute(_KEEP, counterparty, run_id, *map(list, columns))


async def close(
    connection: asyncpg.Connection, run_id: int, counterparty: str, window: Window, causes: Sequence[str] = ()
) -> int:
    """End what this run no longer sees; gives how many.

    It needs the counterparty's lines in ``theirs``, so a run that has them. Of the
    ``causes`` this run has seen all that there are, whatever their time.
    """
    values = (counterparty, run_id, window.since, window.until, list(causes), list(DOCUMENTED))
    return int((await connection.execute(_CLOSE.format(ours=ours_for(counterparty)), *values)).split()[-1])


async def escalate(connection: asyncpg.Connection, now: datetime) -> int:
    """Mark what has been open for longer than its cause may be; gives how many."""
    bounds = " ".join(
        f"when '{cause}' then interval '{int(bound.total_seconds())} seconds'" for cause, bound in BOUNDS.items()
    )
    return len(await connection.fetch(_ESCALATE.format(bounds=bounds), now, BOUND))
