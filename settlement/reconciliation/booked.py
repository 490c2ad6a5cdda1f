"""The third way: what our documents say was done beside what the ledger says, for each day and counterparty."""

from typing import Any

import asyncpg

from settlement.accounts import HOUSE
from settlement.ledger import Kind
from settlement.reconciliation.differences import Difference
from settlement.reconciliation.window import MARGIN, Window

_SETTLED = """
with booked as (
    select substr(reference, 5)::bigint as id, available_change as amount from posting
    where kind = $4 and at >= $2::timestamptz - $5::interval and at < $3::timestamptz + $5::interval
        and reference ~ '^trd_[0-9]{1,18}$' and account_id in (
            select account.id from account join asset on asset.id = asset_id
            where account.kind = 'carrier' and asset.carrier = $1
        )
)
select 'settled' as kind, 'trd_' || delivery.id as subject, delivery.id as subject_id, 'MB' as unit, quantity as ours,
    booked.amount as booked, ended_at as at
from (select * from delivery where carrier = $1 and status = 'settled' and ended_at >= $2 and ended_at < $3) delivery
left join booked using (id) where booked.amount is distinct from quantity
"""
_PAID_BACK = f"""
select 'paid_back' as kind, 'rop_' || reopening.id as subject, reopening.id as subject_id,
    given.code as unit, reopening.amount_minor as ours, given.available_change as booked, reopening.ended_at as at
from reopening join delivery on delivery.id = trade_id
left join lateral (
    select code, available_change from account join asset on asset.id = account.asset_id
    left join posting on account_id in (
        select owned.id from account owned where owned.party_id = account.party_id
            and owned.asset_id = account.asset_id and owned.kind = 'wallet'
    ) and posting.kind = {int(Kind.CARRIER_REVERSED)} and posting.reference = 'rop_' || reopening.id
    where account.id = money_account_id
) given on true
where cause = 'carrier_reversed' and reopening.status = 'settled' and delivery.status = 'settled'
    and delivery.carrier = $1 and reopening.ended_at >= $2 and reopening.ended_at < $3
    and given.available_change is distinct from reopening.amount_minor
    and reopening.amount_minor = delivery.amount_minor
"""  # noqa: S608 - the text is our own
"""A trade that the carrier took back: its buyer has the money again. Another amount is settled by hand."""

_PROVIDER = f"""
with documents as (
    select 'booked_payment' as kind, 'pay_' || id as subject, id as subject_id, captured_minor as ours,
        'pay_' || id as named, {int(Kind.TOPPED_UP)} as booked_as, -1 as sign, created_at as at
    from payment where kind = 'top_up' and captured_minor > 0
    union all
    select 'booked_refund_part', 'rfd_' || id, id, amount_minor, 'rfd_' || id, {int(Kind.TOP_UP_REFUNDED)}, 1, ended_at
    from top_up_refund where status in ('refunded', 'returned')
    union all
    select 'booked_clawback', 'clb_' || id, id, own_minor, 'clb_' || id,
        {int(Kind.TAKEN_BACK)}, 1, opened_at
    from clawback where own_minor > 0
    union all
    select 'booked_reopening', 'rop_' || id, id, amount_minor,
        'rop_' || id, {int(Kind.PAID_BACK_OUTSIDE)}, 1, ended_at
    from reopening where cause in ('disputed', 'refunded_outside') and status = 'settled'
)
select documents.kind, subject, subject_id, ours, said.amount as booked, documents.at
from documents left join lateral (
    select sum(sign * (available_change + held_change))::bigint as amount from posting
    join account on account.id = account_id and account.kind = 'provider' and account.party_id = {HOUSE}
    where posting.kind = booked_as and posting.kind >= 20 and posting.reference = named
) said on true
where documents.at >= $1 and documents.at < $2 and said.amount is distinct from ours
    and (said.amount is not null or kind <> 'booked_reopening')
"""  # noqa: S608 - the text is our own
_BILLS = f"""
select 'booked_bill' as kind, 'bill_' || id as subject, id as subject_id, amount_minor as ours,
    said.amount as booked, created_at as at
from bill_payment left join lateral (
    select sum(case posting.kind when {int(Kind.BILLED)} then available_change end)::bigint as amount,
        coalesce(sum(case posting.kind when {int(Kind.BILL_REFUNDED)} then held_change end), 0)::bigint as back
    from posting where account_id = bill_payment.account_id and reference = 'bill_' || bill_payment.id
        and posting.kind in ({int(Kind.BILLED)}, {int(Kind.BILL_REFUNDED)})
) said on true
where carrier = $1 and created_at >= $2 and created_at < $3 and (
    said.amount is distinct from case when status in ('charged', 'refunding', 'refunded') then amount_minor end
    or said.back <> case status when 'refunded' then -amount_minor else 0 end
)
"""  # noqa: S608 - the text is our own


async def with_carrier(connection: asyncpg.Connection, code: str, window: Window) -> list[Difference]:
    """What was settled or taken back that day, and is not, or otherwise, in the ledger."""
    settled = await connection.fetch(_SETTLED, code, window.since, window.until, int(Kind.SETTLED), MARGIN)
    paid_back = await connection.fetch(_PAID_BACK, code, window.since, window.until)
    return [_not_booked(row, row["unit"]) for row in (*settled, *paid_back)]


async def with_provider(connection: asyncpg.Connection, window: Window, currency: str) -> list[Difference]:
    """Top-ups, refunds in part and clawbacks of that day that the ledger has otherwise."""
    rows = await connection.fetch(_PROVIDER, window.since, window.until)
    return [_not_booked(row, currency) for row in rows]


async def with_bills(connection: asyncpg.Connection, code: str, window: Window, currency: str) -> list[Difference]:
    """Payments on the phone bill of that day that the ledger has otherwise."""
    rows = await connection.fetch(_BILLS, code, window.since, window.until)
    return [_not_booked(row, currency) for row in rows]


def _not_booked(row: Any, unit: str) -> Difference:
    detail = "done, and not in the ledger" if row["booked"] is None else f"the ledger says {row['booked']}"
    return Difference(
        row["kind"], row["subject"], row["subject_id"], "ledger_differs", detail, unit, row["at"], row["ours"]
    )
