"""Both sides of a day compared by the database: one join over all of it, and a row for each thing that is not alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from settlement.reconciliation import booked
from settlement.reconciliation.differences import Difference
from settlement.reconciliation.documents import BILL_OURS, BILLS, CARRIER_OURS, DOCUMENTED, PREFIXES, PROVIDER_OURS
from settlement.reconciliation.window import MARGIN, Window

_NAMED = """
update theirs set subject_id = payment.id from payment
where theirs.subject_id is null and theirs.kind = 'payment' and payment.provider_id = theirs.name;
update theirs set subject_id = clawback.id from clawback
where theirs.subject_id is null and (theirs.kind like 'dispute%' or theirs.kind like 'refund_outside%')
    and clawback.provider_id = theirs.name;
insert into theirs
select slice, case when fee > 0 then 'dispute_fee' else 'dispute_fee_returned' end, subject_id, name, abs(fee), 0,
    unit, at
from theirs where kind in ('dispute', 'dispute_returned') and fee <> 0;
update break_item set subject_id = clawback.id from clawback
where break_item.counterparty = 'provider' and break_item.status = 'open' and break_item.subject_id is null
    and break_item.subject = clawback.provider_id
"""
"""What carries no name of ours is known by the provider's own, also when we heard of it only after it was listed."""

_UNBUNDLE = """
insert into theirs
select slice, 'deliver', member.delivery_id, '', member.quantity, 0, unit, at
from theirs join bundle_member member on member.bundle_id = theirs.subject_id where theirs.kind = 'bundle';
insert into theirs
select slice, 'reversal', member.delivery_id, '', member.quantity, 0, unit, at
from theirs join bundle on bundle.id = theirs.subject_id and bundle.quantity = theirs.amount
join bundle_member member on member.bundle_id = bundle.id where theirs.kind = 'bundle_reversal';
delete from theirs using bundle
where theirs.kind in ('bundle', 'bundle_reversal') and bundle.id = theirs.subject_id
    and bundle.quantity = theirs.amount
"""
"""One call that moved several trades is as many movements; it is left as it is only when its sum is another."""

_MAKE = """
create temp table if not exists unlike (
    kind text, subject_id bigint, name text, theirs bigint, lines bigint, said_at timestamptz, unit text,
    ours bigint, state text, status text, reason text, owned_at timestamptz, created_at timestamptz
);
truncate unlike
"""
_UNLIKE = """
insert into unlike
with said as (
    select kind, subject_id, case when subject_id is null then name end as name, sum(amount)::bigint as amount,
        count(*) as lines, min(at) as at, min(unit) as unit
    from theirs where kind <> 'fee' group by 1, 2, 3
), owned as (
    select * from ({ours}) documents where lane = $1 and (
        state = 'moved' and at >= $2 and at < $3 or state = 'open' and created_at < $3
    )
)
select coalesce(said.kind, owned.kind) as kind, coalesce(said.subject_id, owned.subject_id) as subject_id, said.name,
    said.amount as theirs, said.lines, said.at as said_at, said.unit, owned.amount as ours, owned.state,
    owned.status, owned.reason, owned.at as owned_at, owned.created_at
from said full join owned on owned.kind = said.kind and owned.subject_id = said.subject_id
where said.kind is null or owned.kind is null or said.amount <> owned.amount or owned.state <> 'moved'
"""
"""What differs between the lines of the window and the documents that should have a line in it."""

_LOOK_UP = """
update unlike set ours = owned.amount, state = owned.state, status = owned.status, reason = owned.reason,
    owned_at = owned.at, created_at = owned.created_at
from ({ours}) owned
where unlike.theirs is not null and unlike.state is null
    and owned.kind = unlike.kind and owned.subject_id = unlike.subject_id
"""
"""A line whose document belongs to another day."""

_LOOK_UP_BUNDLE = """
update unlike set ours = bundle.quantity, state = 'moved', status = bundle.status, owned_at = bundle.ended_at,
    created_at = bundle.created_at
from bundle where unlike.kind = 'bundle' and unlike.subject_id = bundle.id
"""
_LOOK_UP_INSTRUCTION = """
update unlike set ours = theirs, state = case instruction.status
        when 'done' then 'moved' when 'refused' then 'undone' else 'open' end,
    status = instruction.status, reason = instruction.reason, owned_at = ended_at, created_at = instruction.created_at
from instruction
where unlike.theirs is not null and unlike.state is null and unlike.kind <> all ($1)
    and instruction.kind = unlike.kind and instruction.subject_id = unlike.subject_id
"""
"""A kind without a document of its own: what is known is whether it was to be done, not how much."""

_UNDONE_THERE = """
delete from unlike one using theirs other
where one.theirs = other.amount and one.subject_id = other.subject_id
    and (one.kind || '_returned' = other.kind and one.state = 'undone'
        or one.kind in ('dispute_fee', 'dispute_fee_returned') and one.state is null
            and other.kind in ('dispute_fee', 'dispute_fee_returned') and one.kind <> other.kind)
"""
"""What they did and took back before we had booked it."""

_NAME = """
update unlike set name = clawback.provider_id from clawback
where clawback.id = unlike.subject_id and (unlike.kind like 'dispute%' or unlike.kind like 'refund_outside%')
"""
"""A clawback is listed under the provider's name, as it is when we have not heard of it yet."""

_REMEMBER = """
insert into early_line (counterparty, kind, subject_id, amount, at)
select $1, kind, subject_id, theirs, said_at from unlike
where state = 'moved' and theirs = ours and subject_id is not null and said_at >= $2 and said_at < $3
    and (owned_at >= $3 and said_at < $3 - $4::interval or owned_at < $2 and said_at >= $2 + $4::interval)
on conflict (counterparty, kind, subject_id) do update set amount = excluded.amount, at = excluded.at
"""
"""Lines that a run of their document's own day will not read again."""

_FORGET = """
delete from unlike using early_line line
where unlike.theirs is null and unlike.state = 'moved' and line.counterparty = $1 and line.kind = unlike.kind
    and line.subject_id = unlike.subject_id and line.amount = unlike.ours
"""
_FORGET_LISTED = """
delete from unlike using break_item line
where unlike.theirs is null and unlike.state = 'moved' and line.counterparty = $1 and line.kind = unlike.kind
    and line.subject_id = unlike.subject_id and line.theirs = unlike.ours and (line.at < $2 or line.at >= $3)
"""
"""What a run of another day has seen on the other side before our books had it, or knew how it ended."""

_FOUND = """
select kind, subject_id, name, ours, theirs, coalesce(unit, $3) as unit, coalesce(said_at, owned_at, created_at) as at,
    status, reason, case
        when theirs is null and state = 'moved' then 'missing_there'
        when theirs is null then 'in_flight'
        when state is null then 'missing_here'
        when state = 'undone' then 'status_differs'
        when state = 'open' then 'in_flight'
        when lines > 1 and theirs > ours then 'done_twice'
        when theirs <> ours then 'amount_differs'
    end as cause
from unlike
where (theirs is null and coalesce(owned_at, created_at) < $2)
    or (theirs is not null and said_at >= $1 and said_at < $2
        and (state in ('moved', 'idle') and theirs = ours) is not true
        and not (theirs = 0 and coalesce(state, 'undone') = 'undone'))
order by kind, subject_id, name
"""

_TOTALS = """
select count(*) as lines, coalesce(sum(amount), 0)::bigint as theirs, coalesce(sum(fee), 0)::bigint as fees
from theirs where at >= $1 and at < $2
"""
_OWN_TOTALS = """
select count(*) as documents, coalesce(sum(amount), 0)::bigint as ours from ({ours}) documents
where lane = $1 and state = 'moved' and at >= $2 and at < $3
"""

_LAPSED = """
select custody.id as subject_id, available + held as ours, expires_at as at, status
from custody join account on account.id = account_id
where custody.carrier = $1 and status in ('reserved', 'releasing') and expires_at < $2 and available + held > 0
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of one counterparty: the differences, and what both sides come to in the window."""

    differences: Sequence[Difference]
    lines: int
    theirs: int
    fees: int
    documents: int
    ours: int


async def with_carrier(connection: asyncpg.Connection, code: str, window: Window) -> Compared:
    """The carrier's journal, which lies in ``theirs``, beside our deliveries, redemptions, handouts and reversals."""
    await connection.execute(_UNBUNDLE)
    compared = await _compare(connection, CARRIER_OURS, code, window, "MB")
    lapsed = await connection.fetch(_LAPSED, code, window.now)
    not_booked = await booked.with_carrier(connection, code, window)
    return _with(compared, [*not_booked, *(_lapsed(row) for row in lapsed)])


async def with_provider(connection: asyncpg.Connection, window: Window, currency: str) -> Compared:
    """The provider's books, which lie in ``theirs``, beside our payments, refunds, clawbacks and withdrawals."""
    await connection.execute(_NAMED)
    compared = await _compare(connection, PROVIDER_OURS, "provider", window, currency)
    return _with(compared, await booked.with_provider(connection, window, currency))


async def with_bills(connection: asyncpg.Connection, code: str, window: Window, currency: str) -> Compared:
    """A carrier's phone bills, which lie in ``theirs``, beside what our members paid on them."""
    compared = await _compare(connection, BILL_OURS, code + BILLS, window, currency)
    return _with(compared, await booked.with_bills(connection, code, window, currency))


async def _compare(connection: asyncpg.Connection, ours: str, lane: str, window: Window, unit: str) -> Compared:
    since, until = window.since, window.until
    await connection.execute(_MAKE)
    await connection.execute(_UNLIKE.format(ours=ours), lane, since, until)
    await connection.execute(_LOOK_UP.format(ours=ours))
    await connection.execute(_LOOK_UP_BUNDLE)
    await connection.execute(_LOOK_UP_INSTRUCTION, list(DOCUMENTED))
    await connection.execute(_UNDONE_THERE)
    await connection.execute(_NAME)
    await connection.execute(_REMEMBER, lane, since, until, MARGIN)
    await connection.execute(_FORGET, lane)
    await connection.execute(_FORGET_LISTED, lane, since, until)
    found = await connection.fetch(_FOUND, since, until, unit)
    totals = await connection.fetchrow(_TOTALS, since, until)
    own = await connection.fetchrow(_OWN_TOTALS.format(ours=ours), lane, since, until)
    assert totals is not None
    assert own is not None
    return Compared([_difference(row, window) for row in found], *totals.values(), *own.values())


def _with(compared: Compared, more: Sequence[Difference]) -> Compared:
    totals = (compared.lines, compared.theirs, compared.fees, compared.documents, compared.ours)
    return Compared([*compared.differences, *more], *totals)


def _difference(row: Any, window: Window) -> Difference:
    return Difference(
        kind=row["kind"],
        subject=_subject(row),
        subject_id=row["subject_id"],
        cause=row["cause"],
        detail=_detail(row, window),
        unit=row["unit"],
        at=row["at"],
        ours=None if row["status"] is None else row["ours"],
        theirs=row["theirs"],
    )


def _subject(row: Any) -> str:
    if row["name"] is not None:
        return str(row["name"])
    return f"{PREFIXES.get(row['kind'], row['kind'])}_{row['subject_id']}"


def _detail(row: Any, window: Window) -> str:
    if row["cause"] == "in_flight":
        seconds = int((window.now - row["at"]).total_seconds())
        words = f"{row['status']} for {seconds} s" + ("" if row["theirs"] is None else ", and done there")
    elif row["cause"] == "missing_here":
        words = "nothing of that name is known here"
    else:
        words = f"{row['status']} here"
    return f"{words}: {row['reason']}" if row["reason"] else words


def _lapsed(row: Any) -> Difference:
    detail = f"{row['status']} here, and past the end of its reservation"
    subject = f"cus_{row['subject_id']}"
    return Difference("custody", subject, row["subject_id"], "custody_lapsed", detail, "MB", row["at"], row["ours"])
