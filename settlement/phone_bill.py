"""A wallet top-up on the phone bill: asked for, confirmed or let go by its owner, and taken off the bill again.

A carrier charges all of a payment or nothing, so the bill fills the wallet and never holds
money for an order, of which only a part might trade. The caller commits.
"""

from collections.abc import Sequence

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.funding import instruct
from settlement.phone_bill_tables import BillPaymentRow

CONFIRM, CANCEL = "confirm", "cancel"

HURRY_CANCEL = text("""
    update instruction set not_before = least(not_before, now())
    where kind = 'bill_cancel' and subject_id = :id and status = 'ready'
""")


class NotDecidable(Exception):
    """The payment is not reserved, or it was decided the other way before."""


class NotRefundable(Exception):
    """The payment was never charged, or it has been taken off the bill before."""


def reference_of(payment_id: int) -> str:
    """The ledger's reference for all that one payment on the phone bill moves."""
    return f"bill_{payment_id}"


async def request(session: AsyncSession, row: BillPaymentRow) -> None:
    """Have a new payment reserved at the carrier. Nothing enters the books before it is charged."""
    session.add(row)
    await session.flush()
    await instruct(session, "bill_prepare", row.id, row.carrier)


async def decide(session: AsyncSession, payment_id: int, decision: str) -> BillPaymentRow:
    """Confirm or cancel a reserved payment, once. Said again it changes nothing.

    Raises:
        NotDecidable: it is not reserved, or was decided the other way.
    """
    if decision == CANCEL:
        await session.execute(HURRY_CANCEL, {"id": payment_id})
    (row,) = await locked(session, [payment_id])
    if row.decision == decision:
        return row
    if row.status != "reserved" or row.decision is not None:
        raise NotDecidable(f"Payment {payment_id} is {row.status}, decided: {row.decision}.")
    row.decision = decision
    if decision == CONFIRM:
        await instruct(session, "bill_confirm", row.id, row.carrier)
    return row


async def request_refund(session: AsyncSession, payment_id: int) -> BillPaymentRow:
    """Take a charged payment off the bill again: the wallet's money is set aside, the carrier told later.

    Raises:
        NotRefundable: it was never charged, or a refund was asked for before.
        InsufficientFunds: the wallet no longer has the money.
    """
    (row,) = await locked(session, [payment_id])
    if row.status != "charged":
        raise NotRefundable(f"Payment {payment_id} is {row.status}.")
    ledger = await accounts.lock(session, [row.account_id])
    ledger.hold(row.account_id, row.amount_minor, reference=reference_of(row.id))
    await accounts.save(session, ledger)
    row.status, row.reason = "refunding", None
    await instruct(session, "bill_refund", row.id, row.carrier)
    return row


async def locked(session: AsyncSession, ids: Sequence[int]) -> list[BillPaymentRow]:
    """Payments in the order of their ids, locked and read again."""
    query = select(BillPaymentRow).where(BillPaymentRow.id.in_(ids)).order_by(BillPaymentRow.id)
    query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return list(await session.scalars(query))
