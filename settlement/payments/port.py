"""The payment port: every call this product makes to its payment provider.

Each call that moves money takes an idempotency key of ours and a reference that comes back with
the object. After `PaymentUnknown` either send the same call again with the same key (the provider
remembers keys for a day) or ask with `payment`, `find_payment` and their like; only then choose a
new key. Call it between database transactions, never inside one.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import stripe

from settlement.payments import reading, statement
from settlement.payments.calling import PAGE
from settlement.payments.checkouts import Checkouts
from settlement.payments.errors import ForgedEvent, PaymentMismatch, PaymentRefused
from settlement.payments.reading import REFERENCE, carries, expect
from settlement.payments.refunds import listed_refunds, refunded_minor
from settlement.payments.statement import StatementPage
from settlement.payments.values import (
    BalanceTransaction,
    Dispute,
    Event,
    Payment,
    PaymentStatus,
    Payout,
    PayoutAccount,
    Refund,
    Transfer,
    TransferReversal,
)

EVENT_BYTES = 1_000_000
WEBHOOK_TOLERANCE_SECONDS = 300
ALREADY_DONE = frozenset({"payment_intent_unexpected_state", "charge_already_captured", "charge_already_refunded"})

WHOLE: dict[str, list[str]] = {"expand": ["latest_charge", "latest_charge.refunds"]}
"""Ask for all that a `Payment` is read from."""


@dataclass(frozen=True)
class Wish:
    """A payment as we want it, before the provider has an opinion."""

    customer: str
    amount_minor: int
    currency: str
    payment_method: str
    reference: str
    return_url: str

    def params(self) -> dict[str, Any]:
        return {
            "customer": self.customer,
            "amount": self.amount_minor,
            "currency": self.currency.lower(),
            "payment_method": self.payment_method,
            "payment_method_types": ["card"],
            "confirm": True,
            "return_url": self.return_url,
            "metadata": {REFERENCE: self.reference},
        }


class Payments(Checkouts):
    async def create_customer(self, reference: str, key: str) -> str:
        params: Any = {"metadata": {REFERENCE: reference}}
        customer = await self._ask(self._api.customers.create_async(params, {"idempotency_key": key}))
        return reading.customer_id(customer)

    async def charge(
        self,
        *,
        customer: str,
        amount_minor: int,
        currency: str,
        payment_method: str,
        reference: str,
        key: str,
        return_url: str,
    ) -> Payment:
        """Take money from a card at once. The answer may ask for an action of the buyer.

        Raises:
            PaymentDeclined: The card said no.
        """
        wish = Wish(customer, amount_minor, currency, payment_method, reference, return_url)
        return await self._create(wish, "automatic", key)

    async def authorise(
        self,
        *,
        customer: str,
        amount_minor: int,
        currency: str,
        payment_method: str,
        reference: str,
        key: str,
        return_url: str,
    ) -> Payment:
        """Hold money on a card until `capture`, `cancel` or `capture_before`.

        Raises:
            PaymentDeclined: The card said no.
        """
        wish = Wish(customer, amount_minor, currency, payment_method, reference, return_url)
        return await self._create(wish, "manual", key)

    async def capture(self, payment_id: str, amount_minor: int, key: str) -> Payment:
        """Take up to the held amount; the rest goes back to the buyer. Captured before is success.

        Raises:
            PaymentRefused: The hold lapsed, was cancelled or is smaller.
            PaymentMismatch: Another amount was captured before.
        """
        params: Any = {"amount_to_capture": amount_minor, **WHOLE}
        call = self._api.payment_intents.capture_async(payment_id, params, {"idempotency_key": key})
        payment = await self._done_or_already(call, payment_id, PaymentStatus.SUCCEEDED)
        expect("captured amount", amount_minor, payment.captured_minor)
        return payment

    async def cancel(self, payment_id: str, key: str) -> Payment:
        """Release a hold or give up an unfinished payment. Cancelled before is success.

        Raises:
            PaymentRefused: The money has been captured: refund it instead.
        """
        params: Any = {**WHOLE}
        call = self._api.payment_intents.cancel_async(payment_id, params, {"idempotency_key": key})
        return await self._done_or_already(call, payment_id, PaymentStatus.CANCELED)

    async def refund(self, payment_id: str, amount_minor: int, reference: str, key: str) -> Refund:
        """Give captured money back to the card it came from."""
        params: Any = {"payment_intent": payment_id, "amount": amount_minor, "metadata": {REFERENCE: reference}}
        try:
            answer = await self._ask(self._api.refunds.create_async(params, {"idempotency_key": key}))
            refund = reading.refund_of(answer)
        except PaymentRefused as refused:
            earlier = await self.find_refund(payment_id, reference) if refused.code in ALREADY_DONE else None
            if earlier is None:
                raise
            refund = earlier
        expect("payment of the refund", payment_id, refund.payment_id)
        expect("refunded amount", amount_minor, refund.amount_minor)
        expect("reference of the refund", reference, refund.reference)
        return refund

    async def payment(self, payment_id: str) -> Payment:
        params: Any = {**WHOLE}
        intent = await self._ask(self._api.payment_intents.retrieve_async(payment_id, params))
        payment = await self._payment(intent)
        expect("payment", payment_id, payment.id)
        return payment

    async def find_payment(
        self, reference: str, *, customer: str | None = None, since: datetime | None = None
    ) -> Payment | None:
        """The payment with our reference, for asking after an unknown outcome; declined tries come last.

        It walks the provider's own list, which, other than its search, is never behind. Narrow the
        walk by customer or time. None is final only once every earlier attempt is surely dead.

        Raises:
            PaymentMismatch: Two payments with one reference took money.
        """
        params: dict[str, Any] = {"expand": [f"data.{field}" for field in WHOLE["expand"]]}
        if customer:
            params["customer"] = customer
        payments = [
            await self._payment(intent)
            async for intent in self._pages(self._api.payment_intents.list_async, since_params(since, params))
            if carries(intent, reference)
        ]
        alive = [payment for payment in payments if not payment.status.is_dead]
        if len(alive) > 1:
            raise PaymentMismatch(f"{reference} has {len(alive)} payments: {[payment.id for payment in alive]}")
        return next(iter(alive or payments), None)

    async def find_refund(self, payment_id: str, reference: str) -> Refund | None:
        params = {"payment_intent": payment_id}
        async for refund in self._pages(self._api.refunds.list_async, params):
            if carries(refund, reference):
                return reading.refund_of(refund)
        return None

    async def read_refund(self, refund_id: str) -> Refund:
        refund = reading.refund_of(await self._ask(self._api.refunds.retrieve_async(refund_id)))
        expect("refund", refund_id, refund.id)
        return refund

    async def refunds_of_charge(self, charge_id: str) -> list[Refund]:
        pages = self._pages(self._api.refunds.list_async, {"charge": charge_id})
        return [reading.refund_of(refund) async for refund in pages]

    async def dispute(self, dispute_id: str) -> Dispute:
        dispute = reading.dispute_of(await self._ask(self._api.disputes.retrieve_async(dispute_id)))
        expect("dispute", dispute_id, dispute.id)
        return dispute

    async def submit_evidence(self, dispute_id: str, *, description: str, record: str, key: str) -> Dispute:
        """Answer a dispute with our record. The bank hears it once; it decides within weeks."""
        params: Any = {
            "evidence": {"product_description": description, "uncategorized_text": record},
            "submit": True,
        }
        answer = await self._ask(self._api.disputes.update_async(dispute_id, params, {"idempotency_key": key}))
        dispute = reading.dispute_of(answer)
        expect("dispute", dispute_id, dispute.id)
        return dispute

    async def open_account(self, reference: str, country: str, key: str) -> str:
        """A seller's account that we pay out from by hand. `country` is ISO 3166 alpha-2."""
        params: Any = {
            "country": country,
            "controller": {
                "fees": {"payer": "application"},
                "losses": {"payments": "application"},
                "stripe_dashboard": {"type": "express"},
            },
            "capabilities": {"transfers": {"requested": True}},
            "settings": {"payouts": {"schedule": {"interval": "manual"}}},
            "metadata": {REFERENCE: reference},
        }
        account = await self._ask(self._api.accounts.create_async(params, {"idempotency_key": key}))
        return reading.account_of(account).id

    async def onboarding_link(self, account: str, refresh_url: str, return_url: str) -> str:
        """Where the seller names a bank account, on the provider's pages. Short-lived and for one use."""
        link = await self._ask(
            self._api.account_links.create_async(
                {
                    "account": account,
                    "refresh_url": refresh_url,
                    "return_url": return_url,
                    "type": "account_onboarding",
                }
            )
        )
        return reading.web_address(link)

    async def account(self, account_id: str) -> PayoutAccount:
        account = reading.account_of(await self._ask(self._api.accounts.retrieve_async(account_id)))
        expect("account", account_id, account.id)
        return account

    async def transfer(
        self,
        destination: str,
        amount_minor: int,
        currency: str,
        *,
        group: str,
        reference: str,
        key: str,
        source_charge: str | None = None,
    ) -> Transfer:
        """Move money from our balance to a seller's account at the provider.

        With `source_charge` the money of that charge can be moved before it has settled.
        """
        params: Any = {
            "destination": destination,
            "amount": amount_minor,
            "currency": currency.lower(),
            "transfer_group": group,
            "metadata": {REFERENCE: reference},
        }
        if source_charge:
            params["source_transaction"] = source_charge
        transfer = reading.transfer_of(
            await self._ask(self._api.transfers.create_async(params, {"idempotency_key": key}))
        )
        expect("destination of the transfer", destination, transfer.destination)
        expect("transfer", (amount_minor, currency, reference), _essence(transfer))
        return transfer

    async def find_transfer(self, group: str, reference: str) -> Transfer | None:
        async for transfer in self._pages(self._api.transfers.list_async, {"transfer_group": group}):
            if carries(transfer, reference):
                return reading.transfer_of(transfer)
        return None

    async def reverse_transfer(self, transfer_id: str, amount_minor: int, reference: str, key: str) -> TransferReversal:
        """Take transferred money back, as far as the seller's account still holds it."""
        params: Any = {"amount": amount_minor, "metadata": {REFERENCE: reference}}
        call = self._api.transfers.reversals.create_async(transfer_id, params, {"idempotency_key": key})
        reversal = reading.reversal_of(await self._ask(call))
        expect("reversed transfer", transfer_id, reversal.transfer_id)
        expect("reversed amount", amount_minor, reversal.amount_minor)
        return reversal

    async def pay_out(self, account: str, amount_minor: int, currency: str, reference: str, key: str) -> Payout:
        """Send money from a seller's account at the provider to the seller's bank."""
        params: Any = {
            "amount": amount_minor,
            "currency": currency.lower(),
            "metadata": {REFERENCE: reference},
        }
        options: Any = {"idempotency_key": key, "stripe_account": account}
        payout = reading.payout_of(await self._ask(self._api.payouts.create_async(params, options)), account)
        expect("payout", (amount_minor, currency, reference), _essence(payout))
        return payout

    async def payout(self, account: str, payout_id: str) -> Payout:
        answer = await self._ask(self._api.payouts.retrieve_async(payout_id, {}, {"stripe_account": account}))
        payout = reading.payout_of(answer, account)
        expect("payout", payout_id, payout.id)
        return payout

    async def find_payout(self, account: str, reference: str) -> Payout | None:
        async for payout in self._pages(self._api.payouts.list_async, {}, account):
            if carries(payout, reference):
                return reading.payout_of(payout, account)
        return None

    async def balance_transactions(
        self, since: datetime, *, account: str | None = None
    ) -> AsyncIterator[BalanceTransaction]:
        """The provider's own books since then, newest first, page by page; a seller's with `account`."""
        pages = self._pages(self._api.balance_transactions.list_async, since_params(since), account)
        async for line in pages:
            yield reading.balance_transaction_of(line)

    async def statement_page(self, since: datetime, until: datetime, after: str | None = None) -> StatementPage:
        """Some of the provider's own books, newest first, each line with what it is about, for reconciliation.

        `after` is the id of the last line of the page before.
        """
        span = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
        cursor = {"starting_after": after} if after else {}
        params: dict[str, Any] = {"created": span, "limit": PAGE, "expand": ["data.source"], **cursor}
        answer = await self._answer(self._client.raw_request_async("get", "/v1/balance_transactions", **params))
        return statement.page(answer.data)

    async def balance(self) -> dict[str, int]:
        """What the provider holds for us now, settled or not, in minor units by currency."""
        answer = await self._answer(self._client.raw_request_async("get", "/v1/balance"))
        return statement.balance(answer.data)

    async def events(self, since: datetime, *, account: str | None = None) -> AsyncIterator[Event]:
        """What happened since then, newest first, for webhooks that never came. Kept for 30 days.

        Move your cursor only when the walk has ended.
        """
        async for event in self._pages(self._api.events.list_async, since_params(since), account):
            yield reading.event_of(event)

    def verify_event(self, payload: bytes, signature: str) -> Event:
        """The event in a webhook's raw body, if the provider signed it within the last five minutes.

        Raises:
            ForgedEvent: It did not, or the body is not an event.
        """
        if len(payload) > EVENT_BYTES:
            raise ForgedEvent
        for secret in self._settings.webhook_secrets:
            try:
                event = self._client.construct_event(payload, signature, secret, WEBHOOK_TOLERANCE_SECONDS)
                return reading.event_of(event)
            except (stripe.SignatureVerificationError, PaymentMismatch, ValueError, TypeError, AttributeError):
                continue
        raise ForgedEvent

    async def ensure_webhook(self, url: str, events: list[str]) -> str:
        """Register `url` anew, drop its older registrations, and return the signing secrets for settings.

        The provider shows a secret only once, so asking again replaces it. There are two endpoints
        and two secrets: one for our own events, one for those of sellers' accounts.
        """
        older = [
            endpoint.id
            async for endpoint in self._pages(self._api.webhook_endpoints.list_async, {})
            if endpoint.url == url
        ]
        secrets = [await self._register(url, events, connect=connect) for connect in (False, True)]
        for endpoint_id in older:
            await self._ask(self._api.webhook_endpoints.delete_async(endpoint_id))
        return ",".join(secrets)

    async def _register(self, url: str, events: list[str], *, connect: bool) -> str:
        params: Any = {"url": url, "enabled_events": events, "connect": connect, "api_version": stripe.api_version}
        return reading.endpoint_secret(await self._ask(self._api.webhook_endpoints.create_async(params)))

    async def _create(self, wish: Wish, capture_method: Literal["automatic", "manual"], key: str) -> Payment:
        params: Any = {**wish.params(), "capture_method": capture_method, **WHOLE}
        intent = await self._ask(self._api.payment_intents.create_async(params, {"idempotency_key": key}))
        payment = await self._payment(intent)
        expect("customer of the payment", wish.customer, payment.customer)
        expect("payment", (wish.amount_minor, wish.currency, wish.reference), _essence(payment))
        return payment

    async def _done_or_already(
        self, call: Awaitable[stripe.PaymentIntent], payment_id: str, wanted: PaymentStatus
    ) -> Payment:
        """A refusal because the payment already is where we want it is success: an answer got lost before."""
        try:
            payment = await self._payment(await self._ask(call))
        except PaymentRefused as refused:
            payment = await self.payment(payment_id)
            if payment.status is not wanted:
                raise refused from None
        expect("payment", payment_id, payment.id)
        expect("status of the payment", wanted, payment.status)
        return payment

    async def _payment(self, intent: stripe.PaymentIntent) -> Payment:
        refunds, has_more = listed_refunds(intent)
        if has_more:
            params = {"payment_intent": intent.id}
            refunds = [refund async for refund in self._pages(self._api.refunds.list_async, params)]
        return reading.payment_of(intent, refunded_minor(refunds))


def since_params(since: datetime | None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    created = {} if since is None else {"created": {"gte": int(since.timestamp())}}
    return {**(params or {}), **created}


def _essence(value: Payment | Transfer | Payout) -> tuple[int, str, str]:
    return value.amount_minor, value.currency, value.reference
