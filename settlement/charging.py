"""Cards asked for money: charged for a top-up, held for an immediate purchase, let go when nobody confirms."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.accounts import HOUSE, Place
from settlement.funding import asset_of, book_payment, decline_payment
from settlement.instructions import Absent, Done, Outcome
from settlement.naming import external_id
from settlement.payments.errors import PaymentRefused
from settlement.payments.values import Payment, PaymentStatus
from settlement.steps import Ended, Loaded, Numbers, Outside, Step
from settlement.tables import PaymentRow

KINDS = {"top_up": "credit", "card_hold": "authorise"}
"""The instruction by which each kind of payment is asked of the provider."""
UNASKED = frozenset({"requested", "unknown"})
"""The provider has not said anything of the payment yet, as far as we know."""
SINCE = timedelta(minutes=1)
"""How far before our own record the provider's list is read, for clocks that differ."""
CREDIT_SENDS = 3


@dataclass(frozen=True, slots=True)
class Answered(Done):
    """The provider has the payment and says how it stands; its owner may still have to confirm it."""

    payment: Payment | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What is asked of the provider for one payment. Amounts in minor units."""

    payment_id: int
    kind: str
    external_id: str
    customer: str
    amount_minor: int
    currency: str
    payment_method: str
    return_url: str
    asked_at: datetime

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.customer} {self.amount_minor} {self.currency} {self.payment_method}"

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Abandonment:
    """A payment that waits for its owner's confirmation in vain."""

    payment_id: int
    provider_id: str
    external_id: str

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.provider_id}"

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Charge]:
    rows = await session.scalars(select(PaymentRow).where(PaymentRow.id.in_(ids)))
    return {row.id: _charge(row, mark) if row.status in UNASKED else Done(row.provider_id) for row in rows}


def _charge(row: PaymentRow, mark: str) -> Charge:
    return Charge(
        payment_id=row.id,
        kind=row.kind,
        external_id=external_id(mark, row.kind, row.id),
        customer=row.customer or "",
        amount_minor=row.amount_minor,
        currency=row.currency,
        payment_method=row.payment_method,
        return_url=row.return_url or "",
        asked_at=row.created_at,
    )


async def send(outside: Outside, charge: Charge, numbers: Numbers) -> Outcome:  # noqa: ARG001 - one shape for all
    call = outside.payments.charge if charge.kind == "top_up" else outside.payments.authorise
    payment = await call(
        customer=charge.customer,
        amount_minor=charge.amount_minor,
        currency=charge.currency,
        payment_method=charge.payment_method,
        reference=charge.external_id,
        key=charge.external_id,
        return_url=charge.return_url,
    )
    return Answered(payment.id, payment=payment)


async def ask(outside: Outside, charge: Charge, numbers: Numbers) -> Outcome:  # noqa: ARG001
    payment = await outside.payments.find_payment(charge.external_id, since=charge.asked_at - SINCE)
    return Absent() if payment is None else Answered(payment.id, payment=payment)


async def book(session: AsyncSession, ended: Sequence[Ended[Charge]]) -> set[int]:
    """Take in what the provider says."""
    told = set[int]()
    await _lock(session, [end.subject_id for end in ended])
    for end in sorted(ended, key=lambda each: each.subject_id):
        if end.request is None:
            continue  # a webhook was faster
        row = await book_payment(session, end.subject_id, _answer(end))
        told.add(row.party_id)
    return told


async def undo(session: AsyncSession, ended: Sequence[Ended[Charge]]) -> set[int]:
    """The card or the provider said no, or it never arrived: nothing was taken."""
    for end in sorted(ended, key=lambda each: each.subject_id):
        await decline_payment(session, end.subject_id, end.reason)
    ids = [end.subject_id for end in ended]
    return set(await session.scalars(select(PaymentRow.party_id).where(PaymentRow.id.in_(ids))))


async def _lock(session: AsyncSession, payment_ids: Sequence[int]) -> None:
    """Lock the payments and every account that they touch, each in one go."""
    query = select(PaymentRow).where(PaymentRow.id.in_(payment_ids)).order_by(PaymentRow.id)
    rows = list(await session.scalars(query.with_for_update(key_share=True)))
    money = [await asset_of(session, row.account_id) for row in rows]
    house = await accounts.find_or_create(session, [Place(HOUSE, asset, "provider") for asset in dict.fromkeys(money)])
    await accounts.lock(session, {*house.values(), *(row.account_id for row in rows)})


def _answer(end: Ended[Charge]) -> Payment:
    """What the provider answered, or what two persons say it did."""
    assert end.request is not None
    if isinstance(end.done, Answered) and end.done.payment is not None:
        return end.done.payment
    amount, is_hold = end.request.amount_minor, end.request.kind == "card_hold"
    return Payment(
        id=end.done.reference or "",
        status=PaymentStatus.HELD if is_hold else PaymentStatus.SUCCEEDED,
        amount_minor=amount,
        capturable_minor=amount if is_hold else 0,
        captured_minor=0 if is_hold else amount,
        refunded_minor=0,
        currency=end.request.currency,
        capture_before=None,
        next_action_url=None,
        decline_code=None,
        reference=end.request.external_id,
    )


async def load_abandonment(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Abandonment]:
    rows = await session.scalars(select(PaymentRow).where(PaymentRow.id.in_(ids)))
    return {
        row.id: Abandonment(row.id, row.provider_id, external_id(mark, "abandon", row.id))
        if row.status == "requires_action" and row.provider_id is not None
        else Done(row.provider_id)
        for row in rows
    }


async def send_abandonment(outside: Outside, lone: Abandonment, numbers: Numbers) -> Outcome:  # noqa: ARG001
    """Give it up at the provider. Its owner may be faster: then it stands as they left it."""
    try:
        payment = await outside.payments.cancel(lone.provider_id, lone.external_id)
    except PaymentRefused:
        payment = await outside.payments.payment(lone.provider_id)
        if payment.status is PaymentStatus.NEEDS_ACTION:
            raise
    return Answered(payment.id, payment=payment)


async def ask_abandonment(outside: Outside, lone: Abandonment, numbers: Numbers) -> Outcome:  # noqa: ARG001
    payment = await outside.payments.payment(lone.provider_id)
    return Absent() if payment.status is PaymentStatus.NEEDS_ACTION else Answered(payment.id, payment=payment)


async def book_abandonment(session: AsyncSession, ended: Sequence[Ended[Abandonment]]) -> set[int]:
    told = set[int]()
    await _lock(session, [end.subject_id for end in ended])
    for end in sorted(ended, key=lambda each: each.subject_id):
        if isinstance(end.done, Answered) and end.done.payment is not None:
            told.add((await book_payment(session, end.subject_id, end.done.payment)).party_id)
    return told


CREDIT = Step("credit", load, send, ask, book, undo, gives_up=True, sends=CREDIT_SENDS)
AUTHORISE = Step("authorise", load, send, ask, book, undo, gives_up=True, sends=1)
"""Sent once: whoever wanted to buy with it has gone by the time that it is known to be lost."""
ABANDON = Step("abandon", load_abandonment, send_abandonment, ask_abandonment, book_abandonment)
