"""Money on its way in, as the books see it: top-ups, card holds, refunds. The caller commits.

Each function may be told the same thing any number of times and in any order: a
payment's row is locked first, and what it has already taken in is not taken in again.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.ledger import InsufficientFunds, Kind
from settlement.ledger_tables import AccountRow
from settlement.payments.errors import PaymentMismatch
from settlement.payments.values import Payment, PaymentStatus
from settlement.tables import InstructionRow, PaymentRow

UNDECIDED = frozenset({"requested", "requires_action", "unknown", "declined"})
"""What the provider may still decide. A decline is among them: the provider's later word counts more than our guess."""
CONFIRMED_BY = timedelta(hours=24)
"""By then nobody comes back to confirm a card payment at the bank."""


class UnknownPayment(Exception):
    """There is no such payment of this kind."""


def reference_of(payment_id: int) -> str:
    """The ledger's reference for all that one payment moves."""
    return f"pay_{payment_id}"


async def book_payment(session: AsyncSession, payment_id: int, payment: Payment) -> PaymentRow:
    """Take in what the provider says of a payment of either kind."""
    kind = await session.scalar(select(PaymentRow.kind).where(PaymentRow.id == payment_id))
    return await (book_authorisation if kind == "card_hold" else credit_top_up)(session, payment_id, payment)


async def credit_top_up(session: AsyncSession, payment_id: int, payment: Payment) -> PaymentRow:
    """Take in what the provider says of a top-up; money that arrived is credited to the wallet once.

    Raises:
        PaymentMismatch: the provider speaks of another amount, currency or payment.
    """
    row = await _locked(session, payment_id, "top_up", payment)
    if row.status not in UNDECIDED:
        return row

    if payment.status is PaymentStatus.SUCCEEDED:
        if payment.captured_minor != row.amount_minor:
            raise PaymentMismatch(f"payment {row.id}: took {payment.captured_minor}, not {row.amount_minor}")
        await _bring_in(session, row, Kind.TOPPED_UP)
        row.captured_minor = row.amount_minor
        _note(row, "succeeded", payment)
    elif payment.status is PaymentStatus.HELD:
        raise PaymentMismatch(f"payment {row.id}: a top-up was only held")
    else:
        await _note_undecided(session, row, payment)
    return row


async def book_authorisation(session: AsyncSession, payment_id: int, payment: Payment) -> PaymentRow:
    """Take in what the provider says of a card hold; money that is held enters the hold's own account once.

    Raises:
        PaymentMismatch: the provider speaks of another amount, currency or payment.
    """
    row = await _locked(session, payment_id, "card_hold", payment)
    if row.status == "authorised" and payment.status is PaymentStatus.CANCELED:
        await _lapse(session, row)
    if row.status not in UNDECIDED:
        return row

    if payment.status is PaymentStatus.HELD:
        if payment.capturable_minor != row.amount_minor:
            raise PaymentMismatch(f"payment {row.id}: holds {payment.capturable_minor}, not {row.amount_minor}")
        await _bring_in(session, row, Kind.AUTHORISED)
        row.capture_before = payment.capture_before
        _note(row, "authorised", payment)
    elif payment.status is PaymentStatus.SUCCEEDED:
        raise PaymentMismatch(f"payment {row.id}: was captured before it was authorised here")
    else:
        await _note_undecided(session, row, payment)
    return row


async def decline_payment(session: AsyncSession, payment_id: int, reason: str) -> None:
    """Nothing was taken, as far as the provider told us."""
    row = await _locked(session, payment_id)
    if row.status in UNDECIDED:
        row.status, row.reason, row.action_url = "declined", reason, None


async def doubt_payment(session: AsyncSession, payment_id: int, reason: str) -> None:
    """The provider gave no definite answer: the sweep asks it again and again."""
    row = await _locked(session, payment_id)
    if row.status in UNDECIDED:
        row.status, row.reason = "unknown", reason


async def finish_hold(session: AsyncSession, payment_id: int) -> None:
    """No order will use the hold any more: capture what was delivered, or let the card go. Said once or often."""
    await instruct(session, "finish_payment", payment_id, "house")


async def request_refund(session: AsyncSession, payment_id: int) -> None:
    """Give what is left of a top-up back to its card: the wallet's money is set aside, the provider told later.

    Raises:
        UnknownPayment: there is no such top-up, or its money never came or went back before.
        InsufficientFunds: the wallet no longer has the money.
    """
    row = await _locked(session, payment_id, "top_up")
    asked = select(InstructionRow.id).where(InstructionRow.kind == "refund", InstructionRow.subject_id == payment_id)
    if row.status != "succeeded" or await session.scalar(asked):
        raise UnknownPayment(f"Payment {payment_id} can't be refunded.")
    ledger = await accounts.lock(session, [row.account_id])
    ledger.hold(row.account_id, row.captured_minor - row.refunded_minor, reference=reference_of(row.id))
    await accounts.save(session, ledger)
    await instruct(session, "refund", payment_id, "provider")


async def instruct(
    session: AsyncSession, kind: str, subject_id: int, lane: str, *, after: timedelta | None = None
) -> None:
    """Ask for one step, now or ``after`` a while. Asking again changes nothing.

    Comes after accounts were locked, as it does in the engine.
    """
    values: dict[str, Any] = {"kind": kind, "subject_id": subject_id, "lane": lane}
    if after is not None:
        values["not_before"] = func.now() + after
    await session.execute(insert(InstructionRow).values(values).on_conflict_do_nothing())


async def void_unspent(session: AsyncSession, row: PaymentRow) -> None:
    """Take what nobody has spent or holds out of a card hold's account.

    Raises:
        InsufficientFunds: an order or a delivery still holds some of it.
    """
    provider = await accounts.house_account(session, "provider", await asset_of(session, row.account_id))
    ledger = await accounts.lock(session, [row.account_id, provider])
    card = ledger.accounts[row.account_id]
    if card.held:
        raise InsufficientFunds(f"Payment {row.id} still holds {card.held}.")
    if card.available:
        amount = card.available
        ledger.move(Kind.VOIDED, reference_of(row.id), source=card.id, target=provider, amount=amount)
        await accounts.save(session, ledger)


async def asset_of(session: AsyncSession, account_id: int) -> int:
    found = await session.scalar(select(AccountRow.asset_id).where(AccountRow.id == account_id))
    if found is None:
        raise accounts.UnknownAccount(f"There is no account {account_id}.")
    return found


async def _locked(
    session: AsyncSession, payment_id: int, kind: str | None = None, payment: Payment | None = None
) -> PaymentRow:
    query = select(PaymentRow).where(PaymentRow.id == payment_id).with_for_update(key_share=True)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None or kind not in {None, row.kind}:
        raise UnknownPayment(f"There is no {kind or 'payment'} {payment_id}.")
    if payment is not None and (payment.amount_minor, payment.currency) != (row.amount_minor, row.currency):
        raise PaymentMismatch(f"payment {row.id}: {payment.amount_minor} {payment.currency} at the provider")
    if payment is not None and row.status not in UNDECIDED and row.provider_id not in {None, payment.id}:
        raise PaymentMismatch(f"payment {row.id}: is {row.provider_id}, not {payment.id}")
    return row


async def _bring_in(session: AsyncSession, row: PaymentRow, kind: Kind) -> None:
    provider = await accounts.house_account(session, "provider", await asset_of(session, row.account_id))
    ledger = await accounts.lock(session, [row.account_id, provider])
    ledger.move(kind, reference_of(row.id), source=provider, target=row.account_id, amount=row.amount_minor)
    await accounts.save(session, ledger)


async def _lapse(session: AsyncSession, row: PaymentRow) -> None:
    """The hold ended at the provider. What a delivery still holds is left to the capture, which will be refused."""
    try:
        await void_unspent(session, row)
    except InsufficientFunds:
        return
    row.status, row.reason = "voided", "The card hold ended at the provider."


def _note(row: PaymentRow, status: str, payment: Payment) -> None:
    row.status, row.provider_id, row.action_url, row.reason = status, payment.id, None, None


async def _note_undecided(session: AsyncSession, row: PaymentRow, payment: Payment) -> None:
    """Who has to confirm at the bank gets a day for it. On the provider's page the payer may try card after card."""
    if row.checkout_id is not None:
        row.provider_id = payment.id
    elif payment.status is PaymentStatus.NEEDS_ACTION:
        _note(row, "requires_action", payment)
        row.action_url = payment.next_action_url
        await instruct(session, "abandon", row.id, "provider", after=CONFIRMED_BY)
    elif payment.status.is_dead:
        _note(row, "declined", payment)
        row.reason = payment.decline_code or payment.status.value
    else:
        _note(row, "unknown", payment)
