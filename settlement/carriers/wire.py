"""One request to a carrier and the verdict on its answer: done, known, refused or unknown."""

import asyncio
import functools
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import aiohttp
import httpx
from yarl import URL

from settlement.carriers.errors import (
    CarrierDuplicate,
    CarrierError,
    CarrierRefused,
    CarrierUnknown,
    CarrierUnreachable,
)
from settlement.carriers.values import CarrierProfile

MAX_ANSWER_BYTES = 1_000_000
EVIDENCE_BYTES = 300
SPARE_CONNECTIONS = 4
"""Beyond those that settlement needs at once: for pages, listings and questions."""
CONNECT_SHARE = 0.8
"""The share of the time-out in which a connection has to come about; what takes longer has surely sent nothing."""


class Verdict(StrEnum):
    DONE = "done"
    KNOWN = "known"
    REFUSED = "refused"
    UNKNOWN = "unknown"


# What an HTTP status says about the work. A status that is not named here takes the verdict of its hundred.
VERDICTS: Mapping[int, Verdict] = {
    200: Verdict.DONE,
    201: Verdict.DONE,
    204: Verdict.DONE,
    408: Verdict.UNKNOWN,
    409: Verdict.UNKNOWN,  # unless its code is one of the two lists below
    425: Verdict.UNKNOWN,
    429: Verdict.UNKNOWN,
}
VERDICT_OF_HUNDRED: Mapping[int, Verdict] = {
    1: Verdict.UNKNOWN,
    2: Verdict.UNKNOWN,  # 202, 206 and the like: accepted is not done, a part is not the whole
    3: Verdict.UNKNOWN,  # a redirect is never followed: it would take our credential elsewhere
    4: Verdict.REFUSED,
    5: Verdict.UNKNOWN,
}
# 409 is also what a proxy says of a race, so it refuses only with a code that we know to be final.
KNOWN_CONFLICTS = frozenset({"DUPLICATE"})
FINAL_CONFLICTS = frozenset(
    {
        "BUCKET_EXPIRED",
        "BUCKET_NOT_EMPTY",
        "EXPIRATION_BEYOND_BUCKET",
        "INSUFFICIENT_BALANCE",
        "NOT_TRANSFERABLE",
        "RECEIVER_NOT_ELIGIBLE",
        "RESERVATION_EXPIRED",
        "SAME_SUBSCRIBER",
        "TRANSFER_LIMIT",
    },
)


def verdict(status: int, code: str = "") -> Verdict:
    """What an answer with this status and error code says about the work we asked for."""
    if status == HTTPStatus.CONFLICT and code in KNOWN_CONFLICTS:
        return Verdict.KNOWN
    if status == HTTPStatus.CONFLICT and code in FINAL_CONFLICTS:
        return Verdict.REFUSED
    return VERDICTS.get(status) or VERDICT_OF_HUNDRED.get(status // 100, Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Answer:
    """A carrier's yes: the decoded body (None for 204) and the total a list announced."""

    body: Any
    total_count: int | None = None


class Wire:
    """A carrier's HTTP connection. Nothing is retried here: only the caller knows what a second attempt may do."""

    def __init__(self, profile: CarrierProfile) -> None:
        self._profile = profile
        self._timeout_seconds = profile.timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """The connections, made when first needed: they belong to the loop that runs then."""
        if self._session is None:
            connections = self._profile.at_once + SPARE_CONNECTIONS
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=connections, ssl=_trust()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SHARE * self._timeout_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        external_id: str | None = None,
        access_token: str | None = None,
    ) -> Answer:
        """Send one request and read its answer.

        The time-out covers the whole exchange: a carrier that drips one byte a
        second would never trip the time-outs of the single reads.
        """
        query = f"?{urlencode(params)}" if params else ""
        url = URL(f"{self._profile.base_url}{path}{query}", encoded=True)
        headers = self._headers(external_id, access_token)
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._exchange(method, url, headers, content)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise CarrierUnreachable(f"no connection: {type(error).__name__}") from error
        except TimeoutError as error:
            raise CarrierUnknown(f"no answer within {self._timeout_seconds} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise CarrierUnknown(f"broken exchange: {type(error).__name__}") from error

    def _headers(self, external_id: str | None, access_token: str | None) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # the size cap counts what really came
            "Authorization": f"Bearer {access_token or self._profile.credential}",
            "x-correlator": uuid4().hex,
        }
        if external_id is not None:
            headers["Idempotency-Key"] = external_id
        return headers

    async def _exchange(self, method: str, url: URL, headers: Mapping[str, str], content: bytes | None) -> Answer:
        request = self._opened().request(method, url, headers=headers, data=content, allow_redirects=False)
        async with request as response:
            return _judge(response, await _read_capped(response))


@functools.cache
def _trust() -> ssl.SSLContext:
    """The certificate authorities, read once: reading them takes longer than a request does."""
    return httpx.create_ssl_context(trust_env=False)


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise CarrierUnknown(f"an answer of more than {MAX_ANSWER_BYTES} bytes", _evidence(response, bytes(raw)))
    return bytes(raw)


def _judge(response: aiohttp.ClientResponse, raw: bytes) -> Answer:
    status = response.status
    if verdict(status) is Verdict.DONE:
        body = None if status == HTTPStatus.NO_CONTENT else _json(response, raw)
        return Answer(body, _total_count(response))
    raise _bad_answer(response, raw)


def _bad_answer(response: aiohttp.ClientResponse, raw: bytes) -> CarrierError:
    code, message = "", ""
    if verdict(response.status) is Verdict.REFUSED or response.status == HTTPStatus.CONFLICT:
        code, message = _error(response, raw)
    match verdict(response.status, code):
        case Verdict.REFUSED:
            return CarrierRefused(code, message, response.status)
        case Verdict.KNOWN:
            return CarrierDuplicate(message)
        case _:
            return CarrierUnknown(f"HTTP {response.status} {code}".rstrip(), _evidence(response, raw))


def _error(response: aiohttp.ClientResponse, raw: bytes) -> tuple[str, str]:
    """Code and words of TMF's `{code, reason, message}` or CAMARA's `{status, code, message}`.

    A refusal without a proper body may come from a proxy on the way, so it settles nothing.
    """
    body = _json(response, raw)
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, str) or not code:
        raise CarrierUnknown(f"HTTP {response.status} without an error code", _evidence(response, raw))
    return code, str(body.get("message") or body.get("reason") or code)


def _json(response: aiohttp.ClientResponse, raw: bytes) -> Any:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise CarrierUnknown(f"content type {media_type or 'missing'}", _evidence(response, raw))
    if response.headers.get("content-encoding", "identity") != "identity":
        raise CarrierUnknown("a compressed answer that we did not ask for", _evidence(response, raw))
    try:
        return json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise CarrierUnknown("an answer that is not JSON", _evidence(response, raw)) from error


def _total_count(response: aiohttp.ClientResponse) -> int | None:
    header = response.headers.get("x-total-count", "")
    return int(header) if header.isascii() and header.isdigit() and len(header) < len(str(2**63)) else None


def _evidence(response: aiohttp.ClientResponse, raw: bytes) -> str:
    text = raw[:EVIDENCE_BYTES].decode(errors="replace")
    return f"{response.status} {response.headers.get('content-type', '')} " + re.sub(r"\d{6,}", "######", text)
