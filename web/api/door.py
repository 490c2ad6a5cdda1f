"""Who asks: a bearer key and nothing else, and how often."""

import hashlib
import re
import time
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from market.parties import Member
from market.partners import authenticate
from market.refusals import NotSignedIn
from market.venue import Venue
from web.edge.clients import client_address
from web.edge.limits import Limit, Taken
from web.edge.problems import OverLimit

PER_PARTY = Limit("party", quota=6_000, window_seconds=300)
# Keys that this process does not know yet cost a look into the database; a guesser gets only so many.
UNKNOWN_KEYS = Limit("unknown-keys", quota=600, window_seconds=300)

KNOWN_SECONDS = 10
KNOWN_MOST = 10_000

_BEARER = re.compile(r"Bearer +([A-Za-z0-9_-]{20,128})", re.IGNORECASE)


class KnownKeys:
    """Keys that were asked for a moment ago. A revoked key works for at most ten seconds more."""

    def __init__(self) -> None:
        self._members: dict[bytes, tuple[Member, float]] = {}

    def find(self, key: str) -> Member | None:
        member, until = self._members.get(_digest(key), (None, 0.0))
        return member if until > time.monotonic() else None

    def keep(self, key: str, member: Member) -> None:
        if len(self._members) >= KNOWN_MOST:
            self._members.clear()
        self._members[_digest(key)] = (member, time.monotonic() + KNOWN_SECONDS)


class PartnerDoor:
    """Middleware of the API: lets a request in under its key, and counts it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = ASGIConnection[Any, Any, Any, Any](scope)
        member = await _who(connection)
        taken: Taken = await connection.app.state.limiter.take(PER_PARTY, str(member.party_id))
        _refuse_beyond(taken)
        scope["user"] = member

        async def send_with_quota(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableScopeHeaders.from_message(message).update(taken.headers())
            await send(message)

        await self.app(scope, receive, send_with_quota)


async def _who(connection: ASGIConnection[Any, Any, Any, Any]) -> Member:
    given = connection.headers.getall("authorization", [])
    bearer = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    if bearer is None:
        raise NotSignedIn("Send your key as: Authorization: Bearer sf_...")
    known: KnownKeys = connection.app.state.known_keys
    key: str = bearer[1]
    return known.find(key) or await _look_up(connection, known, key)


async def _look_up(connection: ASGIConnection[Any, Any, Any, Any], known: KnownKeys, key: str) -> Member:
    venue: Venue = connection.app.state.venue
    guesser = venue.vault.lookup(client_address(connection)).hex()
    _refuse_beyond(await connection.app.state.limiter.take(UNKNOWN_KEYS, guesser))
    async with venue.sessions() as session:
        member = await authenticate(session, key)
        await session.commit()
    known.keep(key, member)
    return member


def _refuse_beyond(taken: Taken) -> None:
    if not taken.allowed:
        raise OverLimit(
            "You have asked too often. Please wait.",
            retry_after_seconds=taken.reset_seconds,
            headers=taken.headers(),
        )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
