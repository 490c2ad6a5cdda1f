"""Both sides of a day compared by the database: one join over all of it, and a row for each thing that is not alike.

``ours`` is what our documents say of each thing that moves something outside: how much,
and whether it has moved (``moved``), may yet (``open``), or never will (``undone``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from settlement.ledger import Kind
from settlement.reconciliation.window import MARGIN, Window

CAUSES = {
    "missing_there": "we have it, they do not",
    "missing_here": "they have it, we do not",
    "amount_differs": "both have it, with different amounts",
    "status_differs": "both have it, and disagree how it ended",
    "done_twice": "they did it more than once",
    "in_flight": "it has not ended yet",
    "not_compared": "they could not be asked",
    "unreadable": "a line of theirs makes no sense",
    "ledger_differs": "our documents and our ledger disagree",
    "not_cleared": "an account that should be empty again is not",
    "custody_lapsed": "the reservation has run out and our books still hold it",
    "balance_differs": "what they hold for us is not what our books and the listed breaks come to",
}

CARRIER_OURS = """
    select 'deliver' as kind, id as subject_id, quantity as amount,
        case when status in ('settled', 'delivered') then 'moved' when status = 'refunded' then 'undone' else 'open'
            end as state,
        coalesce(delivered_at, ended_at) as at, created_at, status, reason, carrier as lane
    from delivery where carrier is not null
    union all
    select 'redeem', id, coins, case status when 'done' then 'moved' when 'refused' then 'undone' else 'open' end,
        ended_at, created_at, status, reason, carrier from redemption
    union all
    select 'handout', id, amount_mb, case status when 'done' then 'moved' when 'refused' then 'undone' else 'open' end,
        ended_at, created_at, status, reason, carrier from handout
"""
_INSTRUCTED = """
    select instruction.kind, instruction.subject_id, {amount} as amount, case instruction.status
            when 'done' then 'moved' when 'refused' then 'undone' else 'open' end as state,
        instruction.ended_at as at, instruction.created_at, instruction.status, instruction.reason,
        instruction.lane as lane
    from instruction {join} where instruction.kind {kinds}
"""
PROVIDER_OURS = f"""
    select 'payment' as kind, payment.id as subject_id,
        case when captured_minor > 0 then captured_minor else amount_minor end as amount,
        case when captured_minor > 0 then 'moved' when payment.status in ('voided', 'declined') then 'undone'
            else 'open' end as state,
        coalesce(capture.ended_at, brought.at, payment.created_at) as at, payment.created_at, payment.status,
        payment.reason, 'provider' as lane
    from payment
    left join instruction capture on capture.kind = 'capture' and capture.subject_id = payment.id
    left join posting brought on brought.kind = {int(Kind.TOPPED_UP)} and brought.reference = 'pay_' || payment.id
        and brought.account_id = payment.account_id
    union all {
    _INSTRUCTED.format(
        amount="payment.refunded_minor",
        join="join payment on payment.id = instruction.subject_id",
        kinds="= 'refund'",
    )
} union all {
    _INSTRUCTED.format(
        amount="payout.amount_minor",
        join="join payout on payout.id = instruction.subject_id",
        kinds="in ('transfer', 'reverse')",
    )
}
"""  # noqa: S608 - the text is our own

DOCUMENTED = ("deliver", "redeem", "handout", "payment", "refund", "transfer", "reverse")
"""The kinds above. Of every other kind the instruction itself is the only document."""

_NAMED = """
update theirs set subject_id = payment.id from payment
where theirs.subject_id is null and theirs.kind in ('payment', 'refund', 'dispute')
    and payment.provider_id = theirs.name
"""

_UNBUNDLE = """
insert into theirs
select slice, 'deliver', member.delivery_id, '', member.quantity, 0, unit, at
from theirs join bundle_member member on member.bundle_id = theirs.subject_id where theirs.kind = 'bundle';
delete from theirs using bundle
where theirs.kind = 'bundle' and bundle.id = theirs.subject_id and bundle.quantity = theirs.amount
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
    or (theirs is not null and said_at >= $1 and said_at < $2 and (state = 'moved' and theirs = ours) is not true
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

_LEDGER = """
with booked as (
    select substr(reference, 5)::bigint as id, available_change as amount from posting
    where kind = $4 and at >= $2::timestamptz - $5::interval and at < $3::timestamptz + $5::interval
        and reference ~ '^trd_[0-9]{1,18}$' and account_id in (
            select account.id from account join asset on asset.id = asset_id
            where account.kind = 'carrier' and asset.carrier = $1
        )
)
select delivery.id as subject_id, quantity as ours, booked.amount as booked, ended_at as at, delivery.status
from (select * from delivery where carrier = $1 and status = 'settled' and ended_at >= $2 and ended_at < $3) delivery
left join booked using (id) where booked.amount is distinct from quantity
"""
"""The third way: what was settled that day beside what the ledger says left for that carrier."""

_LAPSED = """
select custody.id as subject_id, available + held as ours, expires_at as at, status
from custody join account on account.id = account_id
where custody.carrier = $1 and status in ('reserved', 'releasing') and expires_at < $2 and available + held > 0
"""

PREFIXES = {
    "deliver": "trd",
    "bundle": "bundle",
    "redeem": "red",
    "handout": "han",
    "payment": "pay",
    "refund": "pay",
    "dispute": "pay",
    "transfer": "wdr",
    "reverse": "wdr",
    "custody": "cus",
    "settled": "trd",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not alike. ``ours`` and ``theirs`` are MB or minor units, as ``unit`` says."""

    kind: str
    subject: str
    subject_id: int | None
    cause: str
    detail: str
    unit: str
    at: datetime
    ours: int | None = None
    theirs: int | None = None


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
    """The carrier's journal, which lies in ``theirs``, beside our deliveries, redemptions and handouts."""
    await connection.execute(_UNBUNDLE)
    compared = await _compare(connection, CARRIER_OURS, code, window, "MB")
    booked = await connection.fetch(_LEDGER, code, window.since, window.until, int(Kind.SETTLED), MARGIN)
    lapsed = await connection.fetch(_LAPSED, code, window.now)
    more = [*(_not_booked(row) for row in booked), *(_lapsed(row) for row in lapsed)]
    return _with(compared, more)


async def with_provider(connection: asyncpg.Connection, window: Window, currency: str) -> Compared:
    """The provider's books, which lie in ``theirs``, beside our payments, refunds and withdrawals."""
    await connection.execute(_NAMED)
    return await _compare(connection, PROVIDER_OURS, "provider", window, currency)


async def _compare(connection: asyncpg.Connection, ours: str, lane: str, window: Window, unit: str) -> Compared:
    since, until = window.since, window.until
    await connection.execute(_MAKE)
    await connection.execute(_UNLIKE.format(ours=ours), lane, since, until)
    await connection.execute(_LOOK_UP.format(ours=ours))
    await connection.execute(_LOOK_UP_BUNDLE)
    await connection.execute(_LOOK_UP_INSTRUCTION, list(DOCUMENTED))
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
    if row["subject_id"] is None:
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


def _not_booked(row: Any) -> Difference:
    detail = "settled, and not in the ledger" if row["booked"] is None else f"the ledger says {row['booked']}"
    subject = f"trd_{row['subject_id']}"
    return Difference("settled", subject, row["subject_id"], "ledger_differs", detail, "MB", row["at"], row["ours"])


def _lapsed(row: Any) -> Difference:
    detail = f"{row['status']} here, and past the end of its reservation"
    subject = f"cus_{row['subject_id']}"
    return Difference("custody", subject, row["subject_id"], "custody_lapsed", detail, "MB", row["at"], row["ours"])
