"""What a payment on the phone bill consists of at the carrier: reserve, charge, let go, and take off the bill again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.accounts import HOUSE, Place
from settlement.carriers.billing import Billing, BillPayment, BillRefund, BillStatus
from settlement.funding import asset_of
from settlement.instructions import Absent, Contradicted, Done, Lost, Outcome, Refused
from settlement.ledger import Kind, Ledger, Posting
from settlement.naming import external_id
from settlement.phone_bill import CANCEL, CONFIRM, HURRY_CANCEL, locked, reference_of
from settlement.phone_bill_tables import BillPaymentRow
from settlement.steps import Ended, Loaded, Numbers, Outside, Postponed, Step

DECIDE_WITHIN = timedelta(minutes=15)
"""By then a reserved payment that nobody confirmed is let go."""
NO_NUMBER = "The line no longer has a number."
NOT_OFFERED = "The carrier no longer takes payments on the phone bill."

_LET_GO_AT = text("""
    insert into instruction (kind, subject_id, lane, not_before)
    values ('bill_cancel', :id, :lane, :at) on conflict do nothing
""")


@dataclass(frozen=True, slots=True)
class OnBill:
    """One step of a payment on the phone bill."""

    id: int
    external_id: str
    carrier: str
    line_id: int
    amount_minor: int
    currency: str
    payment_id: str | None
    created_at: datetime

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.line_id} {self.amount_minor} {self.currency} {self.payment_id}"

    @property
    def lines(self) -> tuple[int, ...]:
        return (self.line_id,)


async def load_prepare(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[OnBill]:
    return await _load(session, ids, mark, "bill_prepare")


async def send_prepare(outside: Outside, one: OnBill, numbers: Numbers) -> Outcome:
    billing, number = outside.billing.get(one.carrier), numbers.get(one.line_id)
    if billing is None or number is None:
        return Refused(NOT_OFFERED if billing is None else NO_NUMBER, ours=True)
    payment = await billing.prepare(number, one.amount_minor, one.currency, one.external_id)
    return _prepared(payment, one, number)


async def ask_prepare(outside: Outside, one: OnBill, numbers: Numbers) -> Outcome:
    payment = await _billing(outside, one).find(one.external_id, one.created_at)
    return Absent() if payment is None else _prepared(payment, one, numbers.get(one.line_id))


def _prepared(payment: BillPayment, one: OnBill, number: str | None) -> Outcome:
    if (payment.amount_minor, payment.currency) != (one.amount_minor, one.currency) or number not in {
        None,
        payment.msisdn,
    }:
        return Contradicted(f"The carrier holds another payment under our id: {payment.id}.")
    match payment.status:
        case BillStatus.RESERVED:
            return Done(payment.id)
        case BillStatus.DENIED | BillStatus.CANCELLED:
            return Refused("The carrier did not reserve the amount.")
        case BillStatus.SUCCEEDED:
            return Contradicted("The carrier has charged a payment that nobody confirmed.")
        case BillStatus.PENDING_VALIDATION:
            return Contradicted("The carrier wants its subscriber to validate the payment, which is not offered here.")
        case _:
            return Lost("the carrier has accepted it and is at work", soon=True)


async def book_prepare(session: AsyncSession, ended: Sequence[Ended[OnBill]]) -> set[int]:
    """The amount is reserved: its owner may confirm it for a while, after which it is let go."""
    ends = {end.subject_id: end for end in ended}
    rows = await locked(session, list(ends))
    for row in rows:
        row.status, row.carrier_payment_id = "reserved", ends[row.id].done.reference
        row.decide_by = ends[row.id].at + DECIDE_WITHIN
        await session.execute(_LET_GO_AT, {"id": row.id, "lane": row.carrier, "at": row.decide_by})
    return {row.party_id for row in rows}


async def undo_prepare(session: AsyncSession, ended: Sequence[Ended[OnBill]]) -> set[int]:
    return await _refused(session, ended)


async def load_confirm(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[OnBill]:
    return await _load(session, ids, mark, "bill_confirm")


async def send_confirm(outside: Outside, one: OnBill, numbers: Numbers) -> Outcome:
    billing, number = outside.billing.get(one.carrier), numbers.get(one.line_id)
    if billing is None or number is None or one.payment_id is None:
        return Refused(NOT_OFFERED if billing is None else NO_NUMBER, ours=True)
    return _sent(_confirmed(await billing.confirm(one.payment_id, number), one))


async def ask_confirm(outside: Outside, one: OnBill, numbers: Numbers) -> Outcome:  # noqa: ARG001 - one shape for all
    return _confirmed(await _shown(outside, one), one)


def _confirmed(payment: BillPayment, one: OnBill) -> Outcome:
    if (payment.amount_minor, payment.currency) != (one.amount_minor, one.currency):
        return Contradicted(f"The carrier charges {payment.amount_minor} {payment.currency} for {payment.id}.")
    match payment.status:
        case BillStatus.SUCCEEDED:
            return Done(payment.id)
        case BillStatus.DENIED | BillStatus.CANCELLED:
            return Refused("The carrier did not charge the bill.")
        case BillStatus.RESERVED:
            return Absent()
        case _:
            return Lost("the carrier has accepted it and is at work", soon=True)


async def book_confirm(session: AsyncSession, ended: Sequence[Ended[OnBill]]) -> set[int]:
    """The bill is charged: the money is the wallet's."""
    ends = {end.subject_id: end for end in ended}
    rows = await locked(session, list(ends))
    ledger, bills = await _ledger(session, rows)
    for row in rows:
        bill = bills[row.id]
        ledger.move(Kind.BILLED, reference_of(row.id), source=bill, target=row.account_id, amount=row.amount_minor)
        row.status, row.ended_at = "charged", ends[row.id].at
    await accounts.save(session, ledger)
    return {row.party_id for row in rows}


async def undo_confirm(session: AsyncSession, ended: Sequence[Ended[OnBill]]) -> set[int]:
    """The carrier won't charge: nothing came in, and what may still be reserved is let go."""
    for end in ended:
        await session.execute(HURRY_CANCEL, {"id": end.subject_id})
    rows = await locked(session, [end.subject_id for end in ended])
    for row in rows:
        row.decision = CANCEL
    return await _refused(session, ended)


async def load_cancel(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[OnBill]:
    """What nobody has decided by now is decided here, with the claim, so that it can't be confirmed any more."""
    loaded: dict[int, OnBill | Postponed | Done] = {**await _load(session, ids, mark, "bill_cancel")}
    for row in await locked(session, ids):
        row.decision = row.decision or CANCEL
        if row.decision == CONFIRM:
            loaded[row.id] = Done(row.carrier_payment_id)
    return loaded


async def send_cancel(outside: Outside, one: OnBill, numbers: Numbers) -> Outcome:
    number = numbers.get(one.line_id)
    if one.payment_id is None or number is None:
        return Refused(NO_NUMBER, ours=True)
    return _sent(_cancelled(await _billing(outside, one).cancel(one.payment_id, number)))


async def ask_cancel(outside: Outside, one: OnBill, numbers: Numbers) -> Outcome:  # noqa: ARG001
    return _cancelled(await _shown(outside, one))


def _cancelled(payment: BillPayment) -> Outcome:
    match payment.status:
        case BillStatus.CANCELLED | BillStatus.DENIED:
            return Done(payment.id)
        case BillStatus.SUCCEEDED:
            return Contradicted("The carrier has charged a payment that was let go.")
        case BillStatus.RESERVED:
            return Absent()
        case _:
            return Lost("the carrier has accepted it and is at work", soon=True)


async def book_cancel(session: AsyncSession, ended: Sequence[Ended[OnBill]]) -> set[int]:
    ends = {end.subject_id: end for end in ended}
    rows = [row for row in await locked(session, list(ends)) if row.decision == CANCEL and row.status == "reserved"]
    for row in rows:
        row.status, row.ended_at = "cancelled", ends[row.id].at
    return {row.party_id for row in rows}


async def load_refund(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[OnBill]:
    return await _load(session, ids, mark, "bill_refund")


async def send_refund(outside: Outside, one: OnBill, numbers: Numbers) -> Outcome:  # noqa: ARG001
    billing = outside.billing.get(one.carrier)
    if billing is None or one.payment_id is None:
        return Refused(NOT_OFFERED, ours=True)
    return _refunded(await billing.refund(one.payment_id, one.external_id))


async def ask_refund(outside: Outside, one: OnBill, numbers: Numbers) -> Outcome:  # noqa: ARG001
    refund = await _billing(outside, one).find_refund(one.payment_id or "", one.external_id)
    return Absent() if refund is None else _refunded(refund)


def _refunded(refund: BillRefund) -> Outcome:
    if refund.status == "succeeded":
        return Done(refund.id)
    if refund.status == "denied":
        return Refused("The carrier did not take it off the bill.")
    return Lost("the carrier has accepted it and is at work", soon=True)


async def book_refund(session: AsyncSession, ended: Sequence[Ended[OnBill]]) -> set[int]:
    """The bill is lower by the amount, out of the wallet's hold."""
    rows = await locked(session, [end.subject_id for end in ended])
    ledger, bills = await _ledger(session, rows)
    for row in rows:
        taken = Posting(row.account_id, held=-row.amount_minor), Posting(bills[row.id], row.amount_minor)
        ledger.transfer(Kind.BILL_REFUNDED, reference_of(row.id), *taken)
        row.status = "refunded"
    await accounts.save(session, ledger)
    return {row.party_id for row in rows}


async def undo_refund(session: AsyncSession, ended: Sequence[Ended[OnBill]]) -> set[int]:
    """The carrier won't take it off the bill: the wallet keeps its money."""
    ends = {end.subject_id: end for end in ended}
    rows = await locked(session, list(ends))
    ledger = await accounts.lock(session, {row.account_id for row in rows})
    for row in rows:
        ledger.hold(row.account_id, -row.amount_minor, kind=Kind.RELEASE, reference=reference_of(row.id))
        row.status, row.reason = "charged", ends[row.id].reason
    await accounts.save(session, ledger)
    return {row.party_id for row in rows}


def _sent(outcome: Outcome) -> Outcome:
    """A step that was just sent is not absent when the carrier has not taken it yet: it may do so any moment."""
    return Lost("the carrier has accepted it", soon=True) if isinstance(outcome, Absent) else outcome


def _billing(outside: Outside, one: OnBill) -> Billing:
    """The carrier's billing; without it the question stays open, which is a mistake of the configuration."""
    return outside.billing[one.carrier]


async def _shown(outside: Outside, one: OnBill) -> BillPayment:
    return await _billing(outside, one).payment(one.payment_id or "")


async def _refused(session: AsyncSession, ended: Sequence[Ended[OnBill]]) -> set[int]:
    ends = {end.subject_id: end for end in ended}
    rows = await locked(session, list(ends))
    for row in rows:
        row.status, row.reason, row.ended_at = "refused", ends[row.id].reason, ends[row.id].at
    return {row.party_id for row in rows}


async def _load(session: AsyncSession, ids: Sequence[int], mark: str, kind: str) -> dict[int, OnBill]:
    rows = await session.scalars(select(BillPaymentRow).where(BillPaymentRow.id.in_(ids)))
    return {
        row.id: OnBill(
            id=row.id,
            external_id=external_id(mark, kind, row.id),
            carrier=row.carrier,
            line_id=row.line_id,
            amount_minor=row.amount_minor,
            currency=row.currency,
            payment_id=None if kind == "bill_prepare" else row.carrier_payment_id,
            created_at=row.created_at,
        )
        for row in rows
    }


async def _ledger(session: AsyncSession, rows: Sequence[BillPaymentRow]) -> tuple[Ledger, Mapping[int, int]]:
    """The wallets, and by payment the house's account for its carrier's bills, all locked together."""
    places = {row.id: Place(HOUSE, await asset_of(session, row.account_id), "phone_bill", row.carrier) for row in rows}
    found = await accounts.find_or_create(session, places.values())
    ledger = await accounts.lock(session, {*found.values(), *(row.account_id for row in rows)})
    return ledger, {payment_id: found[place] for payment_id, place in places.items()}


BILL_PREPARE = Step("bill_prepare", load_prepare, send_prepare, ask_prepare, book_prepare, undo_prepare, gives_up=True)
BILL_CONFIRM = Step("bill_confirm", load_confirm, send_confirm, ask_confirm, book_confirm, undo_confirm, gives_up=True)
BILL_CANCEL = Step("bill_cancel", load_cancel, send_cancel, ask_cancel, book_cancel)
BILL_REFUND = Step("bill_refund", load_refund, send_refund, ask_refund, book_refund, undo_refund, gives_up=True)
