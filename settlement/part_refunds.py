"""A part of a top-up given back to the card it came from: as often as its owner asks, up to what came in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts, refunding
from settlement.card_tables import TopUpRefundRow
from settlement.funding import UnknownPayment, asset_of, instruct
from settlement.ledger import Kind, Posting
from settlement.naming import external_id
from settlement.payments.errors import PaymentMismatch
from settlement.payments.values import Refund as Receipt
from settlement.payments.values import RefundStatus
from settlement.refunding import Refund
from settlement.steps import PROVIDER_LANE, Ended, Loaded, Step
from settlement.tables import PaymentRow

# What is left of top-ups: less what went back or is on its way, here and outside.
_LEFT = """
    select payment.id, payment.created_at, payment.amount_minor, captured_minor - refunded_minor
        - coalesce(asked.amount_minor, 0) - coalesce(outside.amount_minor, 0) as left_minor
    from payment
    left join lateral (
        select sum(top_up_refund.amount_minor) as amount_minor from top_up_refund
        where payment_id = payment.id and top_up_refund.status = 'requested'
    ) asked on true
    left join lateral (
        select sum(clawback.amount_minor) as amount_minor from clawback
        where payment_id = payment.id and clawback.status in ('gone', 'lost')
    ) outside on true
    where kind = 'top_up' and payment.status = 'succeeded'
        and {whose} = :whose
        and captured_minor - refunded_minor > coalesce(asked.amount_minor, 0) + coalesce(outside.amount_minor, 0)
        and not exists (
            select from instruction where instruction.kind = 'refund' and subject_id = payment.id
                and instruction.status not in ('done', 'refused')
        )
    order by payment.id desc limit :limit
"""
_LEFT_OF_PAYMENT, _LEFT_OF_PARTY = (text(_LEFT.format(whose=column)) for column in ("payment.id", "payment.party_id"))


@dataclass(frozen=True, slots=True)
class Refundable:
    """A top-up, and how much of it can still be given back, in minor units."""

    payment_id: int
    at: datetime
    amount_minor: int
    left_minor: int


class StillAsked(Exception):
    """The refund's own instruction has not ended; its end comes first."""


class TooMuch(Exception):
    """More than what is left of the top-up."""


def reference_of(refund_id: int) -> str:
    """The ledger's reference for one refund, also of the hold it begins with."""
    return f"rfd_{refund_id}"


async def request(
    session: AsyncSession, payment_id: int, *, party_id: int, amount_minor: int, key: str
) -> TopUpRefundRow:
    """Set a part of a top-up aside and have it refunded; the same key finds the same refund. The caller commits.

    Raises:
        UnknownPayment: the party has no such top-up, or its money never came or is all on its way back.
        TooMuch: that much is not left of it.
        InsufficientFunds: the wallet no longer has the money.
    """
    assert amount_minor > 0
    payment = await _payment(session, payment_id)
    own = select(TopUpRefundRow).where(TopUpRefundRow.party_id == party_id, TopUpRefundRow.key == key)
    if (known := await session.scalar(own)) is not None:
        return known
    if payment is None or (payment.party_id, payment.kind, payment.status) != (party_id, "top_up", "succeeded"):
        raise UnknownPayment(f"Payment {payment_id} can't be refunded.")
    if amount_minor > await left_minor(session, payment.id):
        raise TooMuch(f"Payment {payment_id} has not so much left.")

    row = TopUpRefundRow(
        party_id=party_id, key=key, payment_id=payment_id, amount_minor=amount_minor, status="requested",
        provider_id=None, reason=None, ended_at=None,
    )  # fmt: skip
    session.add(row)
    await session.flush()
    ledger = await accounts.lock(session, [payment.account_id])
    ledger.hold(payment.account_id, amount_minor, reference=reference_of(row.id))
    await accounts.save(session, ledger)
    await instruct(session, "refund_part", row.id, PROVIDER_LANE)
    return row


async def left_minor(session: AsyncSession, payment_id: int) -> int:
    """What of a top-up can still be given back to its card, whatever the wallet has."""
    found = (await session.execute(_LEFT_OF_PAYMENT, {"whose": payment_id, "limit": 1})).one_or_none()
    return int(found.left_minor) if found else 0


async def refundable(session: AsyncSession, party_id: int, limit: int) -> list[Refundable]:
    """A party's top-ups of which something can still be given back, newest first."""
    rows = await session.execute(_LEFT_OF_PARTY, {"whose": party_id, "limit": limit})
    return [Refundable(*row) for row in rows]


async def take_in(session: AsyncSession, refund_id: int, receipt: Receipt) -> TopUpRefundRow:
    """Take in what the provider says of a refund. One that fails after it was taken is the wallet's again.

    Raises:
        UnknownPayment: there is no such refund.
        PaymentMismatch: it is about another amount.
        StillAsked: it failed, and its instruction does not know yet that it was taken.
    """
    named = await session.scalar(select(TopUpRefundRow.payment_id).where(TopUpRefundRow.id == refund_id))
    payment = await _payment(session, named or 0)
    if payment is None:
        raise UnknownPayment(f"There is no refund {refund_id}.")
    row = await session.get_one(TopUpRefundRow, refund_id, populate_existing=True)
    if (receipt.amount_minor, receipt.currency) != (row.amount_minor, payment.currency):
        raise PaymentMismatch(f"refund {row.id}: {receipt.amount_minor} {receipt.currency} at the provider")
    has_failed = receipt.status in {RefundStatus.FAILED, RefundStatus.CANCELED}
    if has_failed and row.status == "requested":
        raise StillAsked(f"refund {row.id}: is still being asked for")
    if has_failed and row.status == "refunded":
        provider = await accounts.house_account(session, "provider", await asset_of(session, payment.account_id))
        ledger = await accounts.lock(session, [payment.account_id, provider])
        ledger.move(
            Kind.REFUND_RETURNED,
            reference_of(row.id),
            source=provider,
            target=payment.account_id,
            amount=row.amount_minor,
        )
        await accounts.save(session, ledger)
        payment.refunded_minor -= row.amount_minor
        payment.status = "succeeded"
        row.status, row.reason = "returned", receipt.failure_reason or receipt.status.value
        await session.flush()
    return row


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Refund]:
    rows = await session.execute(
        select(TopUpRefundRow, PaymentRow.provider_id, PaymentRow.currency)
        .join(PaymentRow, PaymentRow.id == TopUpRefundRow.payment_id)
        .where(TopUpRefundRow.id.in_(ids))
    )
    return {
        row.id: Refund(
            payment_id=row.payment_id,
            provider_id=provider_id or "",
            external_id=external_id(mark, "refund_part", row.id),
            amount_minor=row.amount_minor,
            currency=currency,
        )
        for row, provider_id, currency in rows
    }


async def book(session: AsyncSession, ended: Sequence[Ended[Refund]]) -> set[int]:
    """The money is on its way to the card, out of the wallet's hold."""
    return await _end(session, ended, refunded=True)


async def undo(session: AsyncSession, ended: Sequence[Ended[Refund]]) -> set[int]:
    """The provider won't refund: the wallet keeps its money."""
    return await _end(session, ended, refunded=False)


async def _end(session: AsyncSession, ended: Sequence[Ended[Refund]], *, refunded: bool) -> set[int]:
    ends = {end.subject_id: end for end in ended}
    rows = list(await session.scalars(select(TopUpRefundRow).where(TopUpRefundRow.id.in_(ends))))
    query = select(PaymentRow).where(PaymentRow.id.in_({row.payment_id for row in rows})).order_by(PaymentRow.id)
    locked = await session.scalars(query.with_for_update(key_share=True).execution_options(populate_existing=True))
    payments = {payment.id: payment for payment in locked}
    providers = {
        payment.id: await accounts.house_account(session, "provider", await asset_of(session, payment.account_id))
        for payment in payments.values()
    }
    ledger = await accounts.lock(session, {*providers.values(), *(each.account_id for each in payments.values())})
    for row in sorted(rows, key=lambda each: each.id):
        payment, end = payments[row.payment_id], ends[row.id]
        if refunded:
            taken = (
                Posting(payment.account_id, held=-row.amount_minor),
                Posting(providers[payment.id], row.amount_minor),
            )
            ledger.transfer(Kind.TOP_UP_REFUNDED, reference_of(row.id), *taken)
            payment.refunded_minor += row.amount_minor
            if payment.refunded_minor == payment.captured_minor:
                payment.status = "refunded"
            row.status, row.provider_id = "refunded", end.done.reference
        else:
            ledger.hold(payment.account_id, -row.amount_minor, kind=Kind.RELEASE, reference=reference_of(row.id))
            row.status, row.reason = "refused", end.reason
        row.ended_at = end.at
    await accounts.save(session, ledger)
    await session.flush()
    return {row.party_id for row in rows}


async def _payment(session: AsyncSession, payment_id: int) -> PaymentRow | None:
    query = select(PaymentRow).where(PaymentRow.id == payment_id).with_for_update(key_share=True)
    row: PaymentRow | None = await session.scalar(query.execution_options(populate_existing=True))
    return row


PART_REFUND = Step("refund_part", load, refunding.send, refunding.ask, book, undo, gives_up=True)
