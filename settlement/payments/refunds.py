"""How much of a payment has been given back."""

from collections.abc import Iterable

import stripe

from settlement.payments.reading import checked


@checked
def refunded_minor(refunds: Iterable[stripe.Refund]) -> int:
    """The sum of refunds that took or will take money from our balance, in minor units.

    The charge's own total also counts what a partial capture or a cancellation released; those
    releases have no balance transaction, and a refund that failed gave its money back to us.
    """
    return sum(refund.amount for refund in refunds if _counts(refund))


def _counts(refund: stripe.Refund) -> bool:
    if refund.status in {"failed", "canceled"}:
        return False
    return refund.balance_transaction is not None or refund.reason != "expired_uncaptured_charge"


@checked
def listed_refunds(intent: stripe.PaymentIntent) -> tuple[list[stripe.Refund], bool]:
    """The refunds that came with the payment, and whether there are more to ask for."""
    charge = intent.latest_charge
    refunds = getattr(charge, "refunds", None)
    return (list(refunds.data), refunds.has_more) if refunds is not None else ([], False)
