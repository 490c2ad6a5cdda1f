"""What our documents say of each thing that moves something outside: how much, and whether it has moved.

``state`` is ``moved``, ``open`` when it may move yet, ``undone`` when it never will, or ``idle`` when our books do
not need it: what was undone there before we had booked it may be there, and be gone again.
"""

from settlement.ledger import Kind

BILLS = "-bill"
"""Ends the name under which a carrier's phone bills are compared: amounts of money, where its journal has MB."""

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
    union all
    select 'give', id, amount_mb, case status when 'done' then 'moved' when 'refused' then 'undone' else 'open' end,
        ended_at, created_at, status, reason, carrier from data_gift
    union all
    select 'give', id, amount_mb, case status when 'done' then 'moved' when 'refused' then 'undone' else 'open' end,
        ended_at, created_at, status, reason, carrier from data_gift
    union all
    select 'reversal', trade_id, coalesce(taken_mb, delivery.quantity), 'moved', opened_at, opened_at,
        reopening.status, null, carrier
    from reopening join delivery on delivery.id = trade_id
    where cause = 'carrier_reversed' and carrier is not null
"""
"""In MB. What a carrier took back again is a movement of its own: its trade stays as it ended."""

_INSTRUCTED = """
    select instruction.kind, instruction.subject_id, {amount} as amount, case instruction.status
            when 'done' then 'moved' when 'refused' then 'undone' else 'open' end as state,
        instruction.ended_at as at, instruction.created_at, instruction.status, instruction.reason,
        instruction.lane as lane
    from instruction {join} where instruction.kind {kinds}
"""
_IN_PARTS = """
    coalesce((select sum(amount_minor) from top_up_refund where payment_id = payment.id and status = 'refunded'), 0)
"""
_WHOLE_REFUND = f"""
    (case when payment.status = 'refunded' then payment.refunded_minor else payment.captured_minor end - {_IN_PARTS})
        ::bigint
"""
_TAKEN = "(own_minor > 0 or trade_ids <> '{}')"
"""Of a clawback: that the money has left. Of a dispute that only asked nothing ever did."""
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
        amount=_WHOLE_REFUND,
        join="join payment on payment.id = instruction.subject_id",
        kinds="= 'refund'",
    )
} union all {
    _INSTRUCTED.format(
        amount="payout.amount_minor",
        join="join payout on payout.id = instruction.subject_id",
        kinds="in ('transfer', 'reverse')",
    )
} union all
    select 'refund_part', id, amount_minor, case status when 'requested' then 'open' when 'refused' then 'undone'
        else 'moved' end, ended_at, created_at, status, reason, 'provider'
    from top_up_refund
    union all
    select 'refund_part_returned', top_up_refund.id, amount_minor, 'moved', posting.at, posting.at, status, reason,
        'provider'
    from top_up_refund join posting on posting.kind = {int(Kind.REFUND_RETURNED)}
        and posting.reference = 'rfd_' || top_up_refund.id and posting.available_change > 0
    where status = 'returned'
    union all
    select 'refund_part_returned', id, amount_minor, 'idle', ended_at, created_at, status, reason, 'provider'
    from top_up_refund where status = 'refused'
    union all
    select case kind when 'dispute' then 'dispute' else 'refund_outside' end, id, amount_minor,
        case when {_TAKEN} then 'moved' else 'undone' end, opened_at, opened_at, status, null, 'provider'
    from clawback
    union all
    select case kind when 'dispute' then 'dispute_returned' else 'refund_outside_returned' end, id, amount_minor,
        case when {_TAKEN} then 'moved' else 'idle' end, ended_at, opened_at, status, null, 'provider'
    from clawback where status = 'back'
    union all
    select case posting.kind when {int(Kind.DISPUTE_FEE)} then 'dispute_fee' else 'dispute_fee_returned' end,
        clawback.id, available_change, 'moved', posting.at, posting.at, status, null, 'provider'
    from clawback join posting on posting.kind in ({int(Kind.DISPUTE_FEE)}, {int(Kind.DISPUTE_FEE_RETURNED)})
        and posting.reference = 'clb_' || clawback.id and available_change > 0
"""  # noqa: S608 - the text is our own
"""In minor units. What goes the other way again is a thing of its own: it may come on another day."""

BILL_OURS = f"""
    select 'bill_prepare' as kind, id as subject_id, amount_minor as amount,
        case when status in ('charged', 'refunding', 'refunded') then 'moved'
            when status in ('cancelled', 'refused') then 'undone' else 'open' end as state,
        created_at as at, created_at, status, reason, carrier || '{BILLS}' as lane
    from bill_payment
    union all
    select 'bill_refund', bill_payment.id, amount_minor, case instruction.status
            when 'done' then 'moved' when 'refused' then 'undone' else 'open' end,
        instruction.ended_at, instruction.created_at, bill_payment.status, bill_payment.reason, carrier || '{BILLS}'
    from bill_payment join instruction on instruction.kind = 'bill_refund' and subject_id = bill_payment.id
"""  # noqa: S608 - the text is our own
"""In minor units, dated by the day on which the carrier was first asked, as its list is."""

DOCUMENTED = (
    "deliver", "redeem", "handout", "give", "reversal", "payment", "refund", "transfer", "reverse", "refund_part",
    "refund_part_returned", "dispute", "dispute_returned", "dispute_fee", "dispute_fee_returned", "refund_outside",
    "refund_outside_returned", "bill_prepare", "bill_refund",
)  # fmt: skip
"""The kinds above. Of every other kind the instruction itself is the only document."""

OUTWARD = ("transfer", "refund", "refund_part", "refund_outside", "dispute", "bill_refund")
"""The kinds whose amounts leave us."""

PREFIXES = {
    "deliver": "trd",
    "reversal": "trd",
    "bundle": "bundle",
    "redeem": "red",
    "handout": "han",
    "give": "giv",
    "payment": "pay",
    "refund": "pay",
    "refund_part": "rfd",
    "refund_part_returned": "rfd",
    "dispute": "clb",
    "dispute_returned": "clb",
    "dispute_fee": "clb",
    "dispute_fee_returned": "clb",
    "refund_outside": "clb",
    "refund_outside_returned": "clb",
    "transfer": "wdr",
    "reverse": "wdr",
    "bill_prepare": "bill",
    "bill_refund": "bill",
    "custody": "cus",
    "settled": "trd",
}


def ours_for(counterparty: str) -> str:
    """The documents to be compared with a counterparty's lines."""
    if counterparty == "provider":
        return PROVIDER_OURS
    return BILL_OURS if counterparty.endswith(BILLS) else CARRIER_OURS
