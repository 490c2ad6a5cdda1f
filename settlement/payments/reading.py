"""The provider's answers turned into our values, with nothing taken on trust."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import stripe

from settlement.payments.errors import PaymentMismatch
from settlement.payments.values import (
    BalanceTransaction,
    Checkout,
    CheckoutStatus,
    Dispute,
    Event,
    Payment,
    PaymentStatus,
    Payout,
    PayoutAccount,
    PayoutStatus,
    Refund,
    RefundStatus,
    SavedCard,
    Standing,
    Transfer,
    TransferReversal,
)

REFERENCE = "surplusflow_reference"
"""The metadata key under which our own reference travels."""

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item", bound=stripe.StripeObject)


def checked(read: Callable[P, R]) -> Callable[P, R]:
    """A field that is missing, of another kind or of an unknown value is a mismatch, never a crash."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise PaymentMismatch(f"unreadable answer: {error!r}") from error

    return reading


def expect(name: str, expected: object, got: object) -> None:
    if expected != got:
        raise PaymentMismatch(f"{name}: asked for {expected!r}, the provider answered {got!r}")


@checked
def payment_of(intent: stripe.PaymentIntent, refunded_minor: int) -> Payment:
    charge = intent.latest_charge
    failure = intent.last_payment_error
    return Payment(
        id=_id(intent.id, "pi_"),
        status=PaymentStatus(intent.status),
        amount_minor=_count(intent.amount),
        capturable_minor=_count(intent.amount_capturable),
        captured_minor=_count(intent.amount_received),
        refunded_minor=refunded_minor,
        currency=_currency(intent.currency),
        capture_before=_capture_before(charge) if isinstance(charge, stripe.Charge) else None,
        next_action_url=_next_action_url(intent),
        decline_code=_optional(failure, "decline_code") or _optional(failure, "code"),
        reference=_reference(intent.metadata),
        customer=_id_of(intent.customer),
    )


@checked
def checkout_of(session: stripe.checkout.Session) -> Checkout:
    if session.url is not None and not session.url.startswith(("https://", "http://")):
        raise PaymentMismatch("the checkout is not a web address")
    return Checkout(
        id=_id(session.id, "cs_"),
        status=CheckoutStatus(session.status or ""),
        url=session.url,
        payment_id=_id_of(session.payment_intent),
        amount_minor=_count(session.amount_total),
        currency=_currency(session.currency),
        customer=_id_of(session.customer),
        expires_at=moment(session.expires_at),
        reference=_reference(session.metadata),
    )


@checked
def saved_card_of(method: stripe.PaymentMethod) -> SavedCard:
    card: Any = method.card
    return SavedCard(
        id=_id(method.id, "pm_", "card_", "src_"),
        brand=_text(card.brand),
        last4=_text(card.last4),
        expiry_month=_count(card.exp_month),
        expiry_year=_count(card.exp_year),
        customer=_id_of(method.customer),
    )


@checked
def refund_of(refund: stripe.Refund) -> Refund:
    return Refund(
        id=_id(refund.id, "re_", "pyr_"),
        payment_id=_id(_id_of(refund.payment_intent), "pi_"),
        status=RefundStatus(refund.status or ""),
        amount_minor=_count(refund.amount),
        currency=_currency(refund.currency),
        reference=_reference(refund.metadata),
        failure_reason=_optional(refund, "failure_reason"),
    )


@checked
def dispute_of(dispute: stripe.Dispute) -> Dispute:
    """The lines in the provider's books say whether the money is gone, the status only how it ended."""
    lines, currency = dispute.balance_transactions, _currency(dispute.currency)
    gone = -sum(_whole(line.amount) for line in lines)
    expect("currency of the dispute's lines", {currency}, {currency, *(_currency(line.currency) for line in lines)})
    if gone:
        expect("amount taken for the dispute", _count(dispute.amount), gone)
    return Dispute(
        id=_id(dispute.id, "dp_", "du_"),
        payment_id=_id(_id_of(dispute.payment_intent), "pi_"),
        standing=_standing(_text(dispute.status), gone, is_booked=bool(lines)),
        amount_minor=_count(dispute.amount),
        fee_minor=sum(_whole(line.fee) for line in lines),
        currency=currency,
        reason=_text(dispute.reason),
        has_evidence=dispute.evidence_details.has_evidence is True,
    )


def _standing(status: str, gone: int, *, is_booked: bool) -> Standing:
    if not gone:
        return Standing.BACK if is_booked else Standing.NOTICED
    return Standing.LOST if status == "lost" else Standing.GONE


@checked
def account_of(account: stripe.Account) -> PayoutAccount:
    due = account.requirements.currently_due if account.requirements else None
    behind: Any = list(account.external_accounts.data) if account.external_accounts else []
    usual = next((bank for bank in behind if bank.default_for_currency), behind[0] if behind else None)
    return PayoutAccount(
        id=_id(account.id, "acct_"),
        payouts_enabled=account.payouts_enabled is True,
        currently_due=tuple(str(field) for field in due or ()),
        banks=tuple(_text(_optional(bank, "fingerprint") or bank.id) for bank in behind),
        bank_last4=None if usual is None else _text(usual.last4),
    )


@checked
def transfer_of(transfer: stripe.Transfer) -> Transfer:
    return Transfer(
        id=_id(transfer.id, "tr_"),
        destination=_id(_id_of(transfer.destination), "acct_"),
        amount_minor=_count(transfer.amount),
        reversed_minor=_count(transfer.amount_reversed),
        currency=_currency(transfer.currency),
        group=transfer.transfer_group,
        reference=_reference(transfer.metadata),
    )


@checked
def reversal_of(reversal: stripe.TransferReversal) -> TransferReversal:
    return TransferReversal(
        id=_id(reversal.id, "trr_"),
        transfer_id=_id(_id_of(reversal.transfer), "tr_"),
        amount_minor=_count(reversal.amount),
        currency=_currency(reversal.currency),
        reference=_reference(reversal.metadata),
    )


@checked
def payout_of(payout: stripe.Payout, account: str) -> Payout:
    return Payout(
        id=_id(payout.id, "po_"),
        account=account,
        status=PayoutStatus(payout.status),
        amount_minor=_count(payout.amount),
        currency=_currency(payout.currency),
        arrives_at=moment(payout.arrival_date),
        failure_code=payout.failure_code,
        reference=_reference(payout.metadata),
    )


@checked
def balance_transaction_of(line: stripe.BalanceTransaction) -> BalanceTransaction:
    expect("net of a balance transaction", _whole(line.amount) - _whole(line.fee), _whole(line.net))
    return BalanceTransaction(
        id=_id(line.id, "txn_"),
        kind=line.type,
        amount_minor=line.amount,
        fee_minor=line.fee,
        net_minor=line.net,
        currency=_currency(line.currency),
        source=_id_of(line.source),
        created_at=moment(line.created),
        available_at=moment(line.available_on),
    )


@checked
def event_of(event: stripe.Event) -> Event:
    content = event.data.object
    return Event(
        id=_id(event.id, "evt_"),
        kind=_text(event.type),
        created_at=moment(event.created),
        object_id=content["id"] if "id" in content else None,  # noqa: SIM401  # the client's objects have no get()
        object_kind=_text(content["object"]),
        account=_optional(event, "account"),
    )


@checked
def page_of(page: stripe.ListObject[Item]) -> tuple[list[Item], str | None]:
    """The items of a page, and the id to go on from if there are more."""
    items = list(page.data)
    return items, _text(items[-1]["id"] if items else None) if page.has_more else None


@checked
def carries(item: Any, reference: str) -> bool:
    return _reference(item.metadata) == reference != ""


@checked
def customer_id(customer: stripe.Customer) -> str:
    return _id(customer.id, "cus_")


@checked
def endpoint_secret(endpoint: stripe.WebhookEndpoint) -> str:
    return _text(endpoint.secret)


@checked
def web_address(link: stripe.AccountLink) -> str:
    if not link.url.startswith(("https://", "http://")):
        raise PaymentMismatch("the onboarding link is not a web address")
    return link.url


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(_whole(seconds), UTC)


def _next_action_url(intent: stripe.PaymentIntent) -> str | None:
    redirect = getattr(intent.next_action, "redirect_to_url", None)
    url: str | None = redirect.url if redirect else None
    if url is not None and not url.startswith(("https://", "http://")):
        raise PaymentMismatch("the next action is not a web address")
    return url


def _capture_before(charge: stripe.Charge) -> datetime | None:
    card = getattr(charge.payment_method_details, "card", None)
    seconds = getattr(card, "capture_before", None)
    return moment(seconds) if seconds is not None else None


def _optional(holder: Any, name: str) -> str | None:
    """A field that the provider leaves out where it has nothing to say; its client then raises."""
    value = getattr(holder, name, None)
    return None if value is None else _text(value)


def _reference(metadata: Any | None) -> str:
    return metadata[REFERENCE] if metadata and REFERENCE in metadata else ""


def _id(value: str | None, *prefixes: str) -> str:
    if not isinstance(value, str) or not value.startswith(prefixes):
        raise PaymentMismatch(f"expected an id that begins with {prefixes[0]}, the provider answered {value!r}")
    return value


def _id_of(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value.id)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise PaymentMismatch(f"expected text, the provider answered {value!r}")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise PaymentMismatch(f"expected a whole number, the provider answered {value!r}")
    return value


def _count(value: Any) -> int:
    if _whole(value) < 0:
        raise PaymentMismatch(f"expected an amount, the provider answered {value!r}")
    return int(value)


def _currency(value: Any) -> str:
    return _text(value).upper()
