"""Top-ups by a new card: the provider's own page is opened, and what came of it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import saved_cards
from settlement.charging import UNASKED
from settlement.funding import UNDECIDED, UnknownPayment, book_payment, decline_payment
from settlement.instructions import Absent, Done, Outcome
from settlement.naming import external_id, subject_of
from settlement.payments.errors import PaymentMismatch
from settlement.payments.port import Payments
from settlement.payments.values import Checkout, CheckoutStatus, Payment
from settlement.steps import Ended, Loaded, Numbers, Outside, Step
from settlement.tables import PaymentRow

CHECKOUT_METHOD = "checkout"
"""In place of a card: its owner enters a new one at the provider."""
OPEN_FOR = timedelta(hours=1)
ITEM = "Wallet top-up 钱包充值"
LEFT = "The page was left without paying."


@dataclass(frozen=True, slots=True)
class Opened(Done):
    """The provider's page for one payment is there."""

    checkout: Checkout | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """What the provider is asked to show. Amounts in minor units."""

    payment_id: int
    external_id: str
    customer: str
    amount_minor: int
    currency: str
    return_url: str
    expires_at: datetime

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.customer} {self.amount_minor} {self.currency} page"

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Page]:
    rows = await session.scalars(select(PaymentRow).where(PaymentRow.id.in_(ids)))
    return {row.id: _page(row, mark) if row.status in UNASKED else Done(row.checkout_id) for row in rows}


def _page(row: PaymentRow, mark: str) -> Page:
    return Page(
        payment_id=row.id,
        external_id=external_id(mark, row.kind, row.id),
        customer=row.customer or "",
        amount_minor=row.amount_minor,
        currency=row.currency,
        return_url=row.return_url or "",
        expires_at=row.created_at + OPEN_FOR,
    )


async def send(outside: Outside, page: Page, numbers: Numbers) -> Outcome:  # noqa: ARG001 - one shape for all
    checkout = await outside.payments.open_checkout(
        customer=page.customer,
        amount_minor=page.amount_minor,
        currency=page.currency,
        item=ITEM,
        payment=str(page.payment_id),
        reference=page.external_id,
        key=page.external_id,
        success_url=page.return_url,
        cancel_url=page.return_url,
        expires_at=page.expires_at,
    )
    return Opened(checkout.id, checkout=checkout)


async def ask(outside: Outside, page: Page, numbers: Numbers) -> Outcome:  # noqa: ARG001
    checkout = await outside.payments.find_checkout(page.customer, page.external_id)
    return Absent() if checkout is None else Opened(checkout.id, checkout=checkout)


async def book(session: AsyncSession, ended: Sequence[Ended[Page]]) -> set[int]:
    """The page is there; its owner is sent to it, or finds it in the wallet."""
    told = set[int]()
    for end in sorted(ended, key=lambda each: each.subject_id):
        if isinstance(end.done, Opened) and end.done.checkout is not None:
            told.add((await book_checkout(session, end.subject_id, end.done.checkout, None)).party_id)
    return told


async def undo(session: AsyncSession, ended: Sequence[Ended[Page]]) -> set[int]:
    """There is no page, so nothing can have been paid on it."""
    for end in sorted(ended, key=lambda each: each.subject_id):
        await decline_payment(session, end.subject_id, end.reason)
    ids = [end.subject_id for end in ended]
    return set(await session.scalars(select(PaymentRow.party_id).where(PaymentRow.id.in_(ids))))


async def book_checkout(
    session: AsyncSession, payment_id: int, checkout: Checkout, payment: Payment | None
) -> PaymentRow:
    """Take in what the provider says of a page, and of the payment that was made on it.

    Raises:
        PaymentMismatch: the provider speaks of another amount, currency or page.
    """
    query = select(PaymentRow).where(PaymentRow.id == payment_id).with_for_update(key_share=True)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None or row.kind != "top_up":
        raise UnknownPayment(f"There is no top_up {payment_id}.")
    if (checkout.amount_minor, checkout.currency) != (row.amount_minor, row.currency):
        raise PaymentMismatch(f"payment {row.id}: {checkout.amount_minor} {checkout.currency} on the provider's page")
    if row.checkout_id not in {None, checkout.id}:
        raise PaymentMismatch(f"payment {row.id}: its page is {row.checkout_id}, not {checkout.id}")

    row.checkout_id = checkout.id
    if row.status in UNDECIDED and checkout.status is CheckoutStatus.OPEN:
        row.status, row.action_url, row.reason = "requires_action", checkout.url, None
    await session.flush()
    if payment is not None:
        row = await book_payment(session, payment_id, payment)
    is_unpaid = payment is None or payment.status.is_dead
    if row.status in UNDECIDED and checkout.status is CheckoutStatus.EXPIRED and is_unpaid:
        row.status, row.reason, row.action_url = "declined", LEFT, None
    return row


async def follow(
    sessions: async_sessionmaker[AsyncSession], payments: Payments, payment_id: int, checkout_id: str
) -> PaymentRow:
    """Read a page and its payment at the provider, and take both in."""
    return await _follow(sessions, payments, payment_id, await payments.checkout(checkout_id))


async def follow_event(
    sessions: async_sessionmaker[AsyncSession], payments: Payments, mark: str, checkout_id: str
) -> PaymentRow | None:
    """The same for a page that an event is about; none when it is not ours."""
    checkout = await payments.checkout(checkout_id)
    named = subject_of(mark, checkout.reference)
    async with sessions() as session:
        known = await session.scalar(select(PaymentRow.id).where(PaymentRow.checkout_id == checkout_id))
    payment_id = known or (named[1] if named and named[0] == "top_up" else None)
    return None if payment_id is None else await _follow(sessions, payments, payment_id, checkout)


async def _follow(
    sessions: async_sessionmaker[AsyncSession], payments: Payments, payment_id: int, checkout: Checkout
) -> PaymentRow:
    payment = None if checkout.payment_id is None else await payments.payment(checkout.payment_id)
    is_over = checkout.status is CheckoutStatus.COMPLETE and checkout.customer is not None
    cards = await payments.saved_cards(checkout.customer or "") if is_over else []
    async with sessions.begin() as session:
        row = await book_checkout(session, payment_id, checkout, payment)
        for card in cards:
            await saved_cards.take_in(session, card)
        return row


CHECKOUT = Step("checkout", load, send, ask, book, undo, gives_up=True, sends=1)
"""Asked for once: whoever wanted to pay has gone by the time that it is known to be lost."""
