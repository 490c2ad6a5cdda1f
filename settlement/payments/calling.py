"""Calling the provider: its client, time-outs, pages of lists, and every error in our own terms."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import stripe

from settlement.payments import reading
from settlement.payments.classification import classify
from settlement.payments.errors import PaymentMismatch, PaymentUnknown
from settlement.payments.values import PaymentSettings
from settlement.payments.wire import Wire

ATTEMPTS = 2
"""The client sends once more, with the same key, when the connection or the provider failed."""
PAUSE_SECONDS = 2
"""The longest pause of the client between two attempts at this number of attempts, rounded up."""
PAGE = 100

T = TypeVar("T", bound=stripe.StripeObject)
Item = TypeVar("Item", bound=stripe.StripeObject)


class Caller:
    """What every call of the port goes through."""

    def __init__(self, settings: PaymentSettings, http_client: stripe.HTTPClient | None = None) -> None:
        self._settings = settings
        self._http = http_client or Wire(timeout=settings.timeout_seconds)
        self._client = stripe.StripeClient(
            settings.api_key,
            base_addresses={"api": settings.api_base.rstrip("/")} if settings.api_base else {},
            http_client=self._http,
            max_network_retries=ATTEMPTS - 1,
        )
        self._api = self._client.v1

    @property
    def longest_call_seconds(self) -> int:
        """No call lasts longer; a claim on a payment instruction must outlive it."""
        return ATTEMPTS * self._settings.timeout_seconds + (ATTEMPTS - 1) * PAUSE_SECONDS

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def _pages(
        self,
        list_page: Callable[[Any, Any], Awaitable[stripe.ListObject[Item]]],
        params: Mapping[str, Any],
        account: str | None = None,
    ) -> AsyncIterator[Item]:
        options = {"stripe_account": account} if account else {}
        cursor: dict[str, str] = {}
        while True:
            page = await self._ask(list_page({"limit": PAGE, **params, **cursor}, options))
            items, last_id = reading.page_of(page)
            for item in items:
                yield item
            if last_id is None:
                return
            if cursor == {"starting_after": last_id}:
                raise PaymentMismatch("the provider's list has no end")
            cursor = {"starting_after": last_id}

    async def _ask(self, call: Awaitable[T]) -> T:
        answer: T = await self._answer(call)
        if not isinstance(answer, stripe.StripeObject):
            raise PaymentUnknown("unreadable answer: not an object")
        return answer

    async def _answer(self, call: Awaitable[Any]) -> Any:
        """Every error of the client, of the wire and of the clock, in our own terms."""
        try:
            async with asyncio.timeout(self.longest_call_seconds):
                return await call
        except stripe.StripeError as error:
            raise classify(error) from error
        except TimeoutError as error:
            raise PaymentUnknown("time-out") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PaymentUnknown(f"unreadable answer: {error!r}") from error
