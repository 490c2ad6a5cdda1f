"""The way of every API request: key, idempotency, faults, the work itself, and the answer's headers."""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import asyncpg
from litestar import Request, Response
from litestar.datastructures import State

from settlement.simulators.payment import documents, lists
from settlement.simulators.payment.answers import Answer, Refusal, error_body, malformed
from settlement.simulators.payment.desk import API_VERSION, PLATFORM, Call, Desk
from settlement.simulators.payment.faults import Mischief
from settlement.simulators.payment.form import Form, parse_form
from settlement.simulators.payment.store import LOST

Operation = Callable[[Call], Awaitable[Answer]]
AnyRequest = Request[None, None, State]

KEY_CHARACTERS = 255
KEY_LIFE_SECONDS = 86_400
VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z_]+)?")
SERVER_ERROR = 500
STATE_METHODS = frozenset({"POST", "DELETE"})

BROKEN = Answer(
    SERVER_ERROR,
    error_body("api_error", "An unknown error occurred"),
    {"Stripe-Should-Retry": "false"},
)
AWAY = Answer(503, error_body("api_error", "The provider is not available for now."), {"Retry-After": "1"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ask:
    """A request as far as it can be read without the database."""

    method: str
    url_path: str
    raw: str
    account: str
    key: str | None
    version: str
    base_url: str
    path: dict[str, str]
    request_id: str

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.method} {self.url_path}\n{self.raw}".encode()).hexdigest()


class Gate:
    def __init__(self, desk: Desk, mischief: Mischief, api_keys: set[str], closing: asyncio.Event) -> None:
        self._desk = desk
        self._mischief = mischief
        self._api_keys = api_keys
        self._closing = closing
        self._in_flight: set[tuple[str, str]] = set()

    async def answer(self, request: AnyRequest, operation: Operation) -> Response[bytes]:
        request_id = documents.new_id("req")
        try:
            ask = await self._read(request, request_id)
            answer, is_lost = await self._guarded(ask, operation)
            if is_lost:
                await self._wait(self._desk.settings.hang_seconds)
                answer = AWAY
        except Refusal as refusal:
            answer = refusal.answer
        except LOST as error:
            log.warning("the database is away: %r", error)
            answer = AWAY
        return response_of(answer, request_id, request.headers.get("stripe-version", API_VERSION))

    def check_key(self, request: AnyRequest) -> None:
        """Refuse a request without one of our API keys.

        Raises:
            Refusal: 401.
        """
        given = _given_key(request.headers.get("authorization", ""))
        if given is None:
            raise Refusal("You did not provide an API key.", status=401, is_kept=False)
        if not any(hmac.compare_digest(given.encode(), key.encode()) for key in self._api_keys):
            raise Refusal(f"Invalid API Key provided: {given[:3]}****", status=401, is_kept=False)

    async def _read(self, request: AnyRequest, request_id: str) -> Ask:
        self.check_key(request)
        version, key = request.headers.get("stripe-version", API_VERSION), request.headers.get("idempotency-key")
        if not VERSION.fullmatch(version):
            raise malformed(f"Invalid Stripe API version: {version[:40]}")
        if key is not None and not 1 <= len(key) <= KEY_CHARACTERS:
            raise malformed(f"Idempotency keys are 1 to {KEY_CHARACTERS} characters long.")
        is_state = request.method in STATE_METHODS
        raw = (await request.body()) if is_state else request.scope["query_string"]
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise malformed("The request is not valid UTF-8.") from error
        return Ask(
            method=request.method,
            url_path=request.url.path,
            raw=text,
            account=request.headers.get("stripe-account", PLATFORM),
            key=key if is_state else None,
            version=version,
            base_url=str(request.base_url).rstrip("/"),
            path=dict(request.path_params),
            request_id=request_id,
        )

    async def _guarded(self, ask: Ask, operation: Operation) -> tuple[Answer, bool]:
        """Let only one request at a time work under an idempotency key."""
        if ask.key is None:
            return await self._slowly(ask, operation)
        mark = (ask.account, ask.key)
        if mark in self._in_flight:
            raise Refusal(
                "There is currently another in-progress request using this Idempotent Key.",
                code="idempotency_key_in_use",
                status=409,
                is_kept=False,
            )
        self._in_flight.add(mark)
        try:
            return await self._slowly(ask, operation)
        finally:
            self._in_flight.discard(mark)

    async def _slowly(self, ask: Ask, operation: Operation) -> tuple[Answer, bool]:
        """The answer, and whether it gets lost on its way."""
        if (latency_ms := self._mischief.faults.latency_ms) > 0:
            await self._wait(latency_ms / 1_000)
        async with self._desk.open(ask.account, ask.base_url) as call:
            await self._mischief.load(call)
            if latency_ms:
                await self._mischief.count(call, "latency_ms")
            answer = await self._once(call, ask, operation)
            is_lost = await self._is_lost(call)
        return answer, is_lost

    async def _once(self, call: Call, ask: Ask, operation: Operation) -> Answer:
        """The remembered answer of this key, or a new one."""
        if ask.key is None:
            return (await self._worked(call, ask, operation))[0]
        await call.connection.execute(
            "DELETE FROM answered WHERE account = $1 AND key = $2 AND created <= $3",
            ask.account,
            ask.key,
            call.now - KEY_LIFE_SECONDS,
        )
        stored = await call.connection.fetchrow(
            "SELECT fingerprint, status, body, request_id FROM answered WHERE account = $1 AND key = $2",
            ask.account,
            ask.key,
        )
        if stored is not None:
            return _replayed(ask, stored)
        answer, is_kept = await self._worked(call, ask, operation)
        if is_kept:
            await call.connection.execute(
                "INSERT INTO answered VALUES ($1, $2, $3, $4, $5, $6, $7)",
                ask.account,
                ask.key,
                ask.fingerprint,
                answer.status,
                json.dumps(answer.body),
                ask.request_id,
                call.now,
            )
        return answer

    async def _worked(self, call: Call, ask: Ask, operation: Operation) -> tuple[Answer, bool]:
        """Do the work, or fail as the faults want; tells whether an idempotency key remembers the answer."""
        if self._mischief.strikes("error_percent"):
            await self._mischief.count(call, "error_percent")
            return BROKEN, True
        call.path, call.request_id, call.key = ask.path, ask.request_id, ask.key
        try:
            async with call.connection.transaction():
                answer = await self._perform(call, ask, operation)
        except Refusal as refusal:
            call.has_events = False
            return refusal.answer, refusal.is_kept
        if self._mischief.strikes("error_after_percent"):
            await self._mischief.count(call, "error_after_percent")
            return BROKEN, True
        return answer, True

    async def _perform(self, call: Call, ask: Ask, operation: Operation) -> Answer:
        call.form = Form(parse_form(ask.raw))
        if call.account != PLATFORM:
            await _check_account(call)
        paths = call.form.words("expand") or []
        answer = await operation(call)
        call.form.end()
        if "error" in answer.body:
            return answer
        body = json.loads(json.dumps(answer.body))
        await lists.freshen(call, body)
        await lists.expand(call, body, paths)
        return replace(answer, body=body)

    async def _is_lost(self, call: Call) -> bool:
        if not self._mischief.strikes("timeout_percent"):
            return False
        await self._mischief.count(call, "timeout_percent")
        return True

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)


def response_of(answer: Answer, request_id: str, version: str) -> Response[bytes]:
    headers = {"Request-Id": request_id, "Stripe-Version": version[:40], "Cache-Control": "no-store"} | answer.headers
    return Response(
        json.dumps(answer.body, indent=2).encode(),
        status_code=answer.status,
        headers=headers,
        media_type="application/json",
    )


async def _check_account(call: Call) -> None:
    known = await call.connection.fetchval("SELECT 1 FROM objects WHERE id = $1 AND kind = 'account'", call.account)
    if not known:
        raise Refusal(
            f"The provided key does not have access to account '{call.account[:40]}' (or that account does not exist).",
            code="account_invalid",
            status=403,
            is_kept=False,
        )


def _given_key(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _replayed(ask: Ask, stored: "asyncpg.Record") -> Answer:
    if stored["fingerprint"] != ask.fingerprint:
        raise Refusal(
            "Keys for idempotent requests can only be used with the same parameters they were first used with."
            f" Try using a key other than '{ask.key}' if you meant to execute a different request.",
            kind="idempotency_error",
            is_kept=False,
        )
    headers = {"Idempotent-Replayed": "true", "Original-Request": stored["request_id"]}
    if stored["status"] >= SERVER_ERROR:
        headers["Stripe-Should-Retry"] = "false"
    return Answer(stored["status"], json.loads(stored["body"]), headers)
