"""Who is signed in: sessions in Redis under hashed ids, made new at every sign-in and never adopted from a cookie."""

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie, MutableScopeHeaders
from litestar.handlers import BaseRouteHandler
from litestar.middleware.session.server_side import ServerSideSessionBackend, ServerSideSessionConfig
from litestar.types import Empty, Message, ScopeSession
from redis.asyncio import Redis

from market import step_up
from market.parties import Member, Officer, member, member_and_unread
from market.refusals import Forbidden, NotSignedIn
from market.settings import Settings
from market.signed_in import KEY, listed_under
from market.tables import OfficerRow
from web.edge import typed
from web.edge.clients import client_address
from web.edge.devices import device_of, network_of

IDLE_SECONDS = 2 * 3600
MEMBER_SECONDS = 12 * 3600
OFFICER_SECONDS = 8 * 3600
STRANGER_SECONDS = 600
OUTLIVES_SIGN_IN = ("locale", "typed")

Connection = ASGIConnection[Any, Any, Any, Any]

_LOADED = "surplusflow_session_loaded"
_ROTATE = "surplusflow_session_rotate"
_WHO = "surplusflow_who"
_UNREAD = "surplusflow_unread"


def cookie_name(settings: Settings, name: str) -> str:
    """On https the `__Host-` mark keeps other hosts of the domain, and plain http, from setting the cookie."""
    return f"__Host-{name}" if is_secure(settings) else name


def is_secure(settings: Settings) -> bool:
    return settings.public_url.startswith("https://")


class SessionBackend(ServerSideSessionBackend):
    """Loads once, writes only what changed, and renews the time to stay at each visit.

    The id in the cookie is only ever one that we made: an unknown one is ignored, so nobody
    can have a victim sign in under an id chosen beforehand. Redis sees hashes of ids alone.
    """

    async def load_from_connection(self, connection: Connection) -> dict[str, Any]:
        given = connection.cookies.get(self.config.key)
        raw = await connection.app.state.venue.redis.getex(_redis_key(given), ex=IDLE_SECONDS) if given else None
        data: dict[str, Any] = self.deserialize_data(raw) if raw is not None else {}
        if "until" in data and data["until"] < time.time():
            data = {}
        _kept(connection)[_LOADED] = (given, raw)
        return data

    async def store_in_message(self, scope_session: ScopeSession, message: Message, connection: Connection) -> None:
        given, raw = _kept(connection).get(_LOADED, (None, None))
        redis: Redis = connection.app.state.venue.redis
        if scope_session is Empty or not scope_session:
            # An id that has ended stays with the browser: it is how what is typed next is known to be worth keeping.
            if given and raw is not None:
                await redis.delete(_redis_key(given))
                self._add_cookie(message, "", max_age=0)
            return
        data = self.serialize_data(scope_session, connection.scope)
        if raw is None or _kept(connection).get(_ROTATE):
            if given and raw is not None:
                await redis.delete(_redis_key(given))
            self._add_cookie(message, await begin_in_redis(redis, scope_session, data), max_age=MEMBER_SECONDS)
        elif data != raw:
            # Only while it is there: another request may have ended it meanwhile.
            await redis.set(_redis_key(given), data, ex=IDLE_SECONDS, xx=True)

    def _add_cookie(self, message: Message, value: str, max_age: int) -> None:
        config = self.config
        cookie = Cookie(
            key=config.key, value=value, max_age=max_age, path="/", secure=config.secure, httponly=True, samesite="lax"
        )
        MutableScopeHeaders.from_message(message).add("Set-Cookie", cookie.to_header(header=""))


@dataclass
class SessionConfig(ServerSideSessionConfig):
    """Litestar's configuration with our backend."""

    _backend_class = SessionBackend


def session_config(settings: Settings) -> SessionConfig:
    return SessionConfig(
        key=cookie_name(settings, "session"),
        max_age=MEMBER_SECONDS,
        secure=is_secure(settings),
        httponly=True,
        samesite="lax",
    )


async def begin_in_redis(redis: Redis, session: Any, data: bytes) -> str:
    """Store a session under a new id, and list it among those of its owner."""
    session_id = secrets.token_urlsafe(32)
    async with redis.pipeline(transaction=False) as pipeline:
        owner = _list_key(session)
        pipeline.set(_redis_key(session_id), data, ex=IDLE_SECONDS if owner else STRANGER_SECONDS)
        if owner:
            pipeline.sadd(owner, _redis_key(session_id))
            pipeline.expire(owner, MEMBER_SECONDS)
        await pipeline.execute()
    return session_id


async def end_other_sessions(connection: Connection) -> int:
    """Sign the owner of this session out everywhere else; says how many sessions ended."""
    owner = _list_key(_session(connection))
    if owner is None:
        return 0
    redis: Redis = connection.app.state.venue.redis
    here = _redis_key(_kept(connection)[_LOADED][0] or "").encode()
    others = {key for key in await redis.smembers(owner) if key != here}
    if not others:
        return 0
    ended = await redis.delete(*others)
    await redis.srem(owner, *others)
    return int(ended)


def _list_key(session: Mapping[str, Any]) -> str | None:
    """Where the sessions of a session's owner are listed."""
    owner = next((f"{kind}:{session[kind]}" for kind in ("party", "officer") if kind in session), None)
    return owner and listed_under(owner)


def _redis_key(session_id: str) -> str:
    return KEY + hashlib.sha256(session_id.encode()).hexdigest()


def own_sitting(connection: Connection) -> str:
    """The name of the session that this request belongs to, as `market.signed_in` lists it."""
    return _redis_key(_kept(connection).get(_LOADED, ("", None))[0] or "").removeprefix(KEY)


def sign_in_session(request: Connection, signed_in_member: Member) -> None:
    """Begin a member's session under a new id, proved for a while. Of what the visitor had before, little stays."""
    proved = step_up.proved({}, step_up.ANYTHING, time.time())
    _begin(request, {"party": signed_in_member.party_id, "proved": proved}, MEMBER_SECONDS)


def prove_session(request: Connection, action: str) -> None:
    """Keep in the session that its member has just proved to be there, for one class of actions."""
    request.session["proved"] = step_up.proved(request.session.get("proved", {}), action, time.time())


def sign_in_officer_session(request: Connection, officer: Officer) -> None:
    """Begin an officer's session under a new id."""
    _begin(request, {"officer": officer.id}, OFFICER_SECONDS)


def sign_out(request: Connection) -> None:
    """End the session here and in Redis."""
    request.clear_session()


def _begin(request: Connection, who: dict[str, Any], seconds: int) -> None:
    kept = {name: value for name, value in request.session.items() if name in OUTLIVES_SIGN_IN}
    _kept(request)[_ROTATE] = True
    now = int(time.time())
    where = {"device": device_of(request.headers.get("user-agent", "")), "network": network_of(client_address(request))}
    request.set_session({**kept, **who, **where, "began": now, "until": now + seconds})


async def present_member(connection: Connection) -> Member | None:
    """The member who is signed in, if anybody is; asked from the database once a request."""
    party_id = _session(connection).get("party")
    if party_id is not None and _WHO not in _kept(connection):
        async with connection.app.state.venue.reads() as session:
            try:
                if _gets_a_page(connection):
                    who, _kept(connection)[_UNREAD] = await member_and_unread(session, party_id)
                else:
                    who = await member(session, party_id)
            except NotSignedIn:
                _kept(connection)[_WHO] = None
            else:
                _kept(connection)[_WHO] = replace(who, proved_until=_session(connection).get("proved", {}))
    kept = _kept(connection).get(_WHO)
    return kept if isinstance(kept, Member) else None


def unread_notices(connection: Connection) -> int:
    """How many notices the member of this page has not read, as the bar at its top says."""
    return int(_kept(connection).get(_UNREAD, 0))


def _gets_a_page(connection: Connection) -> bool:
    """Whether the answer is a page with its bar: no part of one, no stream, no file."""
    asked = connection.headers
    return (
        connection.scope.get("method") == "GET" and "text/html" in asked.get("accept", "") and "hx-request" not in asked
    )


async def present_officer(connection: Connection) -> Officer | None:
    """The officer who is signed in, if one is, with the role that the database gives them now."""
    officer_id = _session(connection).get("officer")
    if officer_id is not None and _WHO not in _kept(connection):
        async with connection.app.state.venue.reads() as session:
            row = await session.get(OfficerRow, officer_id)
        _kept(connection)[_WHO] = Officer(row.id, row.login, row.role, row.carrier) if row else None
    who = _kept(connection).get(_WHO)
    return who if isinstance(who, Officer) else None


def signed_in(connection: Connection) -> Member:
    """The member of a route that `requires_member` guards.

    Raises:
        NotSignedIn: when nobody is, or the guard is missing.
    """
    who = _kept(connection).get(_WHO)
    if not isinstance(who, Member):
        raise NotSignedIn("Please sign in.")
    return who


def signed_in_officer(connection: Connection) -> Officer:
    """The officer of a route that `requires_officer` guards.

    Raises:
        NotSignedIn: when none is, or the guard is missing.
    """
    who = _kept(connection).get(_WHO)
    if not isinstance(who, Officer):
        raise NotSignedIn("Please sign in as an officer.")
    return who


def had_session(connection: Connection) -> bool:
    """Whether the browser brings a session's id, be it one that has ended."""
    return bool(connection.cookies.get(cookie_name(connection.app.state.settings, "session")))


async def requires_member(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: a member must be signed in. What somebody typed whose session has ended is kept for afterwards."""
    if await present_member(connection) is None:
        if had_session(connection):
            await typed.read(connection)
        raise NotSignedIn("Please sign in.")


async def requires_officer(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: an officer must be signed in. A member who comes here is told that it is not for them."""
    if "party" in _session(connection):
        raise Forbidden("Only an officer may see this page.")
    if await present_officer(connection) is None:
        raise NotSignedIn("Please sign in as an officer.")


def _kept(connection: Connection) -> dict[str, Any]:
    """What one request keeps for itself: a server makes this dictionary anew for each."""
    state: dict[str, Any] = connection.scope["state"]
    return state


def _session(connection: Connection) -> dict[str, Any]:
    """The session of a page; a request that led to no page has none."""
    held = connection.scope.get("session")
    return held if isinstance(held, dict) else {}
