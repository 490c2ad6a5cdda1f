"""The HTTP under the provider's client, with a bound on what it will swallow."""

from collections.abc import Mapping
from typing import Any, Never

import httpx
import stripe

ANSWER_BYTES = 10_000_000


class Wire(stripe.HTTPXClient):
    """The client's own transport, but it stops reading an answer that is absurdly long.

    It also hands httpx the body as content: the way the client does it is deprecated there.
    Redirects are not followed, and every failure is one the client may retry with the same key.
    """

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            async with self._client_async.stream(
                method, url, headers=dict(headers), content=post_data, timeout=self._timeout
            ) as answer:
                body = await _bounded(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _fail(f"{type(error).__name__} on the way to the payment provider", error)
        return body, answer.status_code, answer.headers


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > ANSWER_BYTES:
            _fail("the payment provider's answer is too long", None)
    return bytes(body)


def _fail(message: str, cause: Exception | None) -> Never:
    raise stripe.APIConnectionError(message, should_retry=True) from cause  # type: ignore[no-untyped-call]
