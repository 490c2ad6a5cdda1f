"""One signed form to a gateway and the verdict on its answer, which stands in its code and never in the HTTP status."""

import asyncio
import functools
import re
import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from settlement.carriers.errors import CarrierDuplicate, CarrierRefused, CarrierUnknown, CarrierUnreachable
from settlement.carriers.recharge.signing import SIGN, sign
from settlement.carriers.values import CarrierProfile

MAX_ANSWER_BYTES = 1_000_000
EVIDENCE_BYTES = 300
SPARE_CONNECTIONS = 4
"""Beyond those that settlement needs at once: for pages, listings and questions."""
CONNECT_SHARE = 0.8
"""The share of the time-out in which a connection has to come about; what takes longer has surely sent nothing."""

TAKEN = "0000"
DUPLICATE = "2001"
NO_SUCH_ORDER = "2002"
REFUSALS: Mapping[str, str] = {
    "1001": "UNAUTHENTICATED",  # the signature is wrong
    "1002": "UNAUTHENTICATED",  # our clock is off
    "1003": "UNAUTHENTICATED",  # no such partner
    "3001": "ACCOUNT_NOT_FOUND",
    "3002": "RECEIVER_NOT_ELIGIBLE",
    "3003": "INSUFFICIENT_BALANCE",
    "3004": "NOT_TRANSFERABLE",
    "3005": "RESERVATION_NOT_FOUND",
    "3006": "EXPIRATION_BEYOND_BUCKET",
    "3007": "SAME_SUBSCRIBER",
}
"""The codes that are a definite no. One that is not listed settles nothing, whatever its words say."""


class _Answer(msgspec.Struct):
    code: str
    message: str = ""
    data: Any = None


class Wire:
    """A gateway's HTTP connection. Nothing is retried here: only the caller knows what a second attempt may do."""

    def __init__(self, profile: CarrierProfile) -> None:
        self._profile = profile
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, path: str, fields: Mapping[str, str], *, may_be_absent: bool = False) -> Any:
        """Send one form; what the answer holds, or None when they hold no such order and that was the question.

        Raises:
            CarrierError: as `errors.py` says.
        """
        form = {**fields, "partner_no": self._profile.partner_no, "timestamp": str(int(time.time()))}
        form[SIGN] = sign(form, self._profile.credential)
        status, raw = await self._exchange(path, form)
        answer = _answer(status, raw)
        if answer.code == TAKEN:
            return answer.data
        if answer.code == NO_SUCH_ORDER and may_be_absent:
            return None
        if answer.code == DUPLICATE:
            raise CarrierDuplicate(answer.message)
        if answer.code in REFUSALS:
            raise CarrierRefused(REFUSALS[answer.code], answer.message or answer.code, status)
        raise CarrierUnknown(f"code {answer.code[:8]}", _evidence(status, raw))

    async def _exchange(self, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """The time-out covers the whole exchange, also of a gateway that drips."""
        url, seconds = f"{self._profile.base_url}{path}", self._profile.timeout_seconds
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        try:
            async with (
                asyncio.timeout(seconds),
                self._opened().post(url, data=form, headers=headers, allow_redirects=False) as response,
            ):
                return response.status, await _read_capped(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise CarrierUnreachable(f"no connection: {type(error).__name__}") from error
        except TimeoutError as error:
            raise CarrierUnknown(f"no answer within {seconds} s") from error
        except aiohttp.ClientError as error:
            raise CarrierUnknown(f"broken exchange: {type(error).__name__}") from error

    def _opened(self) -> aiohttp.ClientSession:
        """The connections, made when first needed: they belong to the loop that runs then."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._profile.at_once + SPARE_CONNECTIONS, ssl=_trust()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SHARE * self._profile.timeout_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


@functools.cache
def _trust() -> ssl.SSLContext:
    """The certificate authorities, read once: reading them takes longer than a request does."""
    return ssl.create_default_context()


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise CarrierUnknown(f"an answer of more than {MAX_ANSWER_BYTES} bytes", _evidence(response.status, raw))
    return bytes(raw)


def _answer(status: int, raw: bytes) -> _Answer:
    """A gateway answers 200 whatever it says: any other status comes from something on the way."""
    if status != HTTPStatus.OK:
        raise CarrierUnknown(f"HTTP {status}", _evidence(status, raw))
    try:
        return msgspec.json.decode(raw, type=_Answer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CarrierUnknown("an answer that is no code and message", _evidence(status, raw)) from error


def _evidence(status: int, raw: bytes | bytearray) -> str:
    return f"{status} " + re.sub(r"\d{6,}", "######", bytes(raw[:EVIDENCE_BYTES]).decode(errors="replace"))
