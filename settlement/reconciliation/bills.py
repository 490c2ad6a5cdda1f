"""What a carrier's phone bills say of a day: the payments first asked for then, and what was taken off them again."""

import asyncio
from datetime import datetime

from settlement.carriers.billing import Billing, BillPayment, BillStatus
from settlement.naming import subject_of
from settlement.reconciliation.documents import BILL_OURS, BILLS
from settlement.reconciliation.gathering import AT_ONCE, Gatherer, Record
from settlement.reconciliation.window import MARGIN, Window

_REFUNDED = f"""
select carrier_payment_id, owned.amount, at, currency from ({BILL_OURS}) owned
join bill_payment on bill_payment.id = owned.subject_id
where lane = $1 and kind = 'bill_refund' and state = 'moved' and at >= $2 and at < $3
    and carrier_payment_id is not null
"""  # noqa: S608 - the text is our own


async def gather(gatherer: Gatherer, code: str, billing: Billing, window: Window) -> None:
    """Put the carrier's bills of the window into ``theirs``.

    The standard lists payments by the time of their first request; it has no list of refunds, so each payment
    that was charged, or that we know as refunded, is asked about by itself.

    Raises:
        CarrierError: they could not be read to their end.
    """
    await gatherer.empty()
    since, until = window.since - MARGIN, min(window.until + MARGIN, window.now)
    charged = {
        payment.id: payment
        async for payment in billing.listed(since, until)
        if payment.status is BillStatus.SUCCEEDED and not _of_another(gatherer.mark, payment.external_id)
    }
    await gatherer.write(_payment(gatherer.mark, payment, since) for payment in charged.values())
    rows = await gatherer.connection.fetch(_REFUNDED, code + BILLS, window.since, window.until)
    wanted = {one.id: (one.amount_minor, one.created_at or since, one.currency) for one in charged.values()}
    wanted |= {row["carrier_payment_id"]: (row["amount"], row["at"], row["currency"]) for row in rows}
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(payment_id: str, amount: int, at: datetime, currency: str) -> list[Record]:
        async with places:
            refunds = await billing.refunds(payment_id)
        return [
            _line(gatherer.mark, "bill_refund", one.external_id, one.id, (amount, at, currency))
            for one in refunds
            if one.status == "succeeded"
        ]

    found = await asyncio.gather(*(ask(payment_id, *wish) for payment_id, wish in wanted.items()))
    await gatherer.write(record for records in found for record in records)


def _payment(mark: str, payment: BillPayment, since: datetime) -> Record:
    what = payment.amount_minor, payment.created_at or since, payment.currency
    return _line(mark, "bill_prepare", payment.external_id, payment.id, what)


def _of_another(mark: str, external_id: str | None) -> bool:
    """Whether it was asked for by another installation that works with the same carrier."""
    return external_id is not None and external_id.startswith("sf-") and not external_id.startswith(f"sf-{mark}-")


def _line(mark: str, kind: str, external_id: str | None, name: str, what: tuple[int, datetime, str]) -> Record:
    """One line. What nobody of ours has named keeps the carrier's own name, and is a break."""
    named = subject_of(mark, external_id or "")
    amount, at, currency = what
    known = named is not None and named[0] == kind
    return 0, kind, named[1] if named is not None and known else None, name, amount, 0, currency, at
