"""Telling the payment provider where its events go, and learning the secrets that it signs them with."""

import asyncio

from settlement.payments.port import Payments
from settlement.payments.values import PaymentSettings

PATH = "/webhooks/payments"
UNREGISTERED = "whsec_unregistered"
"""In place of the secret until the provider has told it."""


def register(payment: PaymentSettings, public_url: str) -> str:
    """Register the market's address anew, and return the signing secrets, which the provider tells only this once."""
    return asyncio.run(ask(payment, public_url))


async def ask(payment: PaymentSettings, public_url: str) -> str:
    payments = Payments(payment)
    try:
        return await payments.ensure_webhook(public_url + PATH, ["*"])
    finally:
        await payments.close()
