"""The provider's own page for entering a card, and the cards that a payer has saved there."""

from datetime import datetime
from typing import Any

from settlement.payments import reading
from settlement.payments.calling import Caller
from settlement.payments.errors import PaymentRefused
from settlement.payments.reading import REFERENCE, carries, expect
from settlement.payments.values import Checkout, SavedCard

SHOWN = 20
"""Cards of one payer that are listed."""


class Checkouts(Caller):
    """Card entry happens at the provider; we only ever see its names for cards."""

    async def open_checkout(
        self,
        *,
        customer: str,
        amount_minor: int,
        currency: str,
        item: str,
        payment: str,
        reference: str,
        key: str,
        success_url: str,
        cancel_url: str,
        expires_at: datetime,
    ) -> Checkout:
        """Open a page on which the payer pays once with a new card and may save it.

        ``payment`` is our number of the payment, ``reference`` the name under which it
        and the page are found again; the page is open until ``expires_at``, between half
        an hour and a day from now.
        """
        metadata = {REFERENCE: reference}
        params: Any = {
            "mode": "payment",
            "customer": customer,
            "client_reference_id": payment,
            "line_items": [
                {
                    "price_data": {
                        "currency": currency.lower(),
                        "unit_amount": amount_minor,
                        "product_data": {"name": item},
                    },
                    "quantity": 1,
                }
            ],
            "payment_method_types": ["card"],
            "payment_intent_data": {"metadata": metadata},
            "saved_payment_method_options": {"payment_method_save": "enabled"},
            "success_url": success_url,
            "cancel_url": cancel_url,
            "expires_at": int(expires_at.timestamp()),
            "metadata": metadata,
        }
        answer = await self._ask(self._api.checkout.sessions.create_async(params, {"idempotency_key": key}))
        checkout = reading.checkout_of(answer)
        said = (checkout.amount_minor, checkout.currency, checkout.reference, checkout.customer)
        expect("checkout", (amount_minor, currency, reference, customer), said)
        return checkout

    async def checkout(self, checkout_id: str) -> Checkout:
        checkout = reading.checkout_of(await self._ask(self._api.checkout.sessions.retrieve_async(checkout_id)))
        expect("checkout", checkout_id, checkout.id)
        return checkout

    async def find_checkout(self, customer: str, reference: str) -> Checkout | None:
        """The page with our reference, for asking after an unknown outcome."""
        async for session in self._pages(self._api.checkout.sessions.list_async, {"customer": customer}):
            if carries(session, reference):
                return reading.checkout_of(session)
        return None

    async def expire_checkout(self, checkout_id: str, key: str) -> Checkout:
        """Close a page that nobody has paid on. One that is no longer open stays as it is."""
        call = self._api.checkout.sessions.expire_async(checkout_id, {}, {"idempotency_key": key})
        try:
            checkout = reading.checkout_of(await self._ask(call))
        except PaymentRefused:
            return await self.checkout(checkout_id)
        expect("checkout", checkout_id, checkout.id)
        return checkout

    async def saved_cards(self, customer: str) -> list[SavedCard]:
        """The cards that a payer has saved, newest first."""
        params: Any = {"type": "card", "limit": SHOWN}
        page = await self._ask(self._api.customers.payment_methods.list_async(customer, params))
        cards, _ = reading.page_of(page)
        return [reading.saved_card_of(card) for card in cards]

    async def saved_card(self, card_id: str) -> SavedCard:
        card = reading.saved_card_of(await self._ask(self._api.payment_methods.retrieve_async(card_id)))
        expect("card", card_id, card.id)
        return card

    async def forget_card(self, card_id: str, key: str) -> None:
        """Detach a saved card; it can never be charged again. One that is gone already is as good.

        Raises:
            PaymentRefused: there is no such card.
        """
        call = self._api.payment_methods.detach_async(card_id, {}, {"idempotency_key": key})
        try:
            await self._ask(call)
        except PaymentRefused:
            if (await self.saved_card(card_id)).customer is not None:
                raise
