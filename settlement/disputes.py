"""Money that left again after it had come: disputes at the cardholder's bank, and refunds made outside.

Told any number of times and in any order, it comes to the same end: each is one row,
which only ever moves on. What a card hold has paid for is settled by opening its
trades again; what no trade stands for is the wallet's, or else a debt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts, debts, freezing, reopening
from settlement.accounts import HOUSE, Place
from settlement.card_tables import ClawbackRow
from settlement.funding import UnknownPayment, asset_of, instruct
from settlement.ledger import Kind, Ledger, Posting
from settlement.payments.errors import PaymentMismatch
from settlement.payments.values import Dispute, Refund, RefundStatus, Standing
from settlement.reopening_rules import Cause
from settlement.steps import PROVIDER_LANE
from settlement.tables import DeliveryRow, PaymentRow

RANKS = {"noticed": 0, "gone": 1, "lost": 2, "back": 2}
"""What was heard later counts; the provider's answers may come in any order."""
TAKEN = frozenset({"gone", "lost"})
CAUSES = {"dispute": Cause.DISPUTED, "refund": Cause.REFUNDED_OUTSIDE}


@dataclass(frozen=True, slots=True)
class Clawback:
    """One dispute or outside refund as the provider shows it. Amounts in minor units."""

    provider_id: str
    kind: Literal["dispute", "refund"]
    standing: Standing
    amount_minor: int
    fee_minor: int
    currency: str
    detail: str

    @classmethod
    def of_dispute(cls, one: Dispute) -> "Clawback":
        detail = f"Disputed at the bank: {one.reason}."
        return cls(one.id, "dispute", one.standing, one.amount_minor, one.fee_minor, one.currency, detail)

    @classmethod
    def of_refund(cls, one: Refund) -> "Clawback":
        returned = one.status in {RefundStatus.FAILED, RefundStatus.CANCELED}
        standing = Standing.BACK if returned else Standing.GONE
        return cls(one.id, "refund", standing, one.amount_minor, 0, one.currency, "Refunded at the provider.")


def reference_of(clawback_id: int) -> str:
    """The ledger's reference for what one clawback moves beside its trades."""
    return f"clb_{clawback_id}"


async def take_in(session: AsyncSession, payment_id: int, one: Clawback) -> ClawbackRow:
    """Book what the provider says of money that it took back, as far as that is news. The caller commits.

    Raises:
        UnknownPayment: there is no such payment.
        PaymentMismatch: it is about another amount or currency than the payment, or came back after it was lost.
    """
    payment = await _payment(session, payment_id)
    if one.currency != payment.currency or not 0 < one.amount_minor <= payment.amount_minor:
        raise PaymentMismatch(f"payment {payment.id}: {one.amount_minor} {one.currency} taken back")
    row = await _row(session, payment_id, one)
    if row.amount_minor != one.amount_minor:
        raise PaymentMismatch(f"clawback {row.id}: {one.amount_minor}, not {row.amount_minor}")
    if RANKS[one.standing] <= RANKS[row.status]:
        if {row.status, one.standing.value} == {"lost", "back"}:
            raise PaymentMismatch(f"clawback {row.id}: is {one.standing} after it was {row.status}")
        return row

    was_taken, is_taken = row.status in TAKEN, one.standing.value in TAKEN
    row.status = one.standing.value
    taken, returned = 0, 0
    if is_taken and not was_taken:
        row.own_minor = taken = await _reopen(session, row, one, payment)
    elif was_taken and not is_taken:
        for trade_id in row.trade_ids:
            await reopening.withdraw(session, trade_id, CAUSES[row.kind])
        returned = row.own_minor
    await _post(session, row, payment, taken=taken, returned=returned, fee=one.fee_minor - row.fee_minor)
    row.fee_minor = one.fee_minor
    if RANKS[row.status] == RANKS["lost"]:
        row.ended_at = (await session.execute(select(func.now()))).scalar_one()
    await _freeze(session, row, payment.party_id, one.detail)
    if row.kind == "dispute" and row.status == "gone":
        await instruct(session, "evidence", row.id, PROVIDER_LANE)
    await session.flush()
    return row


async def _payment(session: AsyncSession, payment_id: int) -> PaymentRow:
    query = select(PaymentRow).where(PaymentRow.id == payment_id).with_for_update(key_share=True)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise UnknownPayment(f"There is no payment {payment_id}.")
    return row


async def _row(session: AsyncSession, payment_id: int, one: Clawback) -> ClawbackRow:
    """The clawback's row, made when it is new. The payment's lock keeps others away."""
    values = {
        "provider_id": one.provider_id,
        "kind": one.kind,
        "payment_id": payment_id,
        "amount_minor": one.amount_minor,
    }
    await session.execute(insert(ClawbackRow).values(values).on_conflict_do_nothing())
    query = select(ClawbackRow).where(ClawbackRow.provider_id == one.provider_id)
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


async def _reopen(session: AsyncSession, row: ClawbackRow, one: Clawback, payment: PaymentRow) -> int:
    """Open the trades again that the money has paid for, the first first; gives what no trade stands for."""
    left, opened = one.amount_minor, list[int]()
    for trade_id, amount_minor in await _trades(session, payment.id):
        share = min(left, amount_minor)
        if share and await reopening.reopen(session, trade_id, CAUSES[row.kind], share, one.detail):
            opened.append(trade_id)
            left -= share
    row.trade_ids = opened
    return left


async def _trades(session: AsyncSession, payment_id: int) -> Sequence[tuple[int, int]]:
    query = select(DeliveryRow.id, DeliveryRow.amount_minor).where(
        DeliveryRow.payment_id == payment_id, DeliveryRow.status.in_(("delivered", "settled"))
    )
    return [(trade_id, amount) for trade_id, amount in await session.execute(query.order_by(DeliveryRow.id))]


async def _post(
    session: AsyncSession, row: ClawbackRow, payment: PaymentRow, *, taken: int, returned: int, fee: int
) -> None:
    if not (taken or returned or fee):
        return
    money = await asset_of(session, payment.account_id)
    wallet_at, debt_at = Place(payment.party_id, money, "wallet"), debts.place_of(payment.party_id, money)
    provider_at, fees_at = Place(HOUSE, money, "provider"), Place(HOUSE, money, "provider_fees")
    found = await accounts.find_or_create(session, [wallet_at, debt_at, provider_at, fees_at])
    ledger = await accounts.lock(session, found.values())
    wallet, debt, provider = ledger.accounts[found[wallet_at]], ledger.accounts[found[debt_at]], found[provider_at]
    if taken:
        now = min(max(wallet.available, 0), taken)
        gives = Posting(wallet.id, -now), Posting(debt.id, now - taken), Posting(provider, taken)
        _transfer(ledger, Kind.TAKEN_BACK, row, *gives)
    if returned:
        forgiven = min(max(-debt.available, 0), returned)
        gets = Posting(debt.id, forgiven), Posting(wallet.id, returned - forgiven), Posting(provider, -returned)
        _transfer(ledger, Kind.GIVEN_AGAIN, row, *gets)
    if fee:
        kind = Kind.DISPUTE_FEE if fee > 0 else Kind.DISPUTE_FEE_RETURNED
        _transfer(ledger, kind, row, Posting(provider, fee), Posting(found[fees_at], -fee))
    await accounts.save(session, ledger)


def _transfer(ledger: Ledger, kind: Kind, row: ClawbackRow, *postings: Posting) -> None:
    ledger.transfer(kind, reference_of(row.id), *(each for each in postings if each.available))


async def _freeze(session: AsyncSession, row: ClawbackRow, party_id: int, detail: str) -> None:
    """A disputing buyer waits for the bank's word; one who has lost waits until nothing is owed."""
    if row.kind != "dispute":
        return
    if row.status == "gone":
        await freezing.freeze(session, party_id, freezing.DISPUTED, detail, row.provider_id)
    else:
        await freezing.thaw(session, party_id, freezing.DISPUTED, row.provider_id)
    if row.status == "lost":
        await freezing.freeze(session, party_id, freezing.OWING, detail, row.provider_id)
