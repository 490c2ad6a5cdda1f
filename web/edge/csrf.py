"""Unsafe requests must come from our own pages: a signed token in form or header, and a matching origin."""

import hashlib
import hmac
import secrets
from typing import Any

from litestar import Request
from litestar.datastructures import Cookie, MutableScopeHeaders
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState

from market.refusals import Forbidden
from market.settings import Settings
from web.edge.hosts import Hosts
from web.edge.sessions import cookie_name, is_secure

FIELD = "_csrf_token"
HEADER = "x-csrftoken"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
FORMS = {"application/x-www-form-urlencoded", "multipart/form-data"}
RANDOM_CHARACTERS = 43


class Tokens:
    """Makes and knows tokens: random characters with their signature, so that a planted cookie is no token."""

    def __init__(self, settings: Settings) -> None:
        self._key = hmac.digest(settings.secret_key.encode(), b"surplusflow csrf", "sha256")

    def make(self) -> str:
        random = secrets.token_urlsafe(32)
        return random + self._sign(random)

    def is_ours(self, token: str) -> bool:
        random, signature = token[:RANDOM_CHARACTERS], token[RANDOM_CHARACTERS:]
        return hmac.compare_digest(signature.encode(), self._sign(random).encode())

    def _sign(self, random: str) -> str:
        return hmac.new(self._key, random.encode(), hashlib.sha256).hexdigest()


class CsrfGuard:
    """Middleware of the pages. Templates reach the token by Litestar's own `csrf_token()` and `csrf_input`."""

    def __init__(self, app: ASGIApp, settings: Settings, hosts: Hosts) -> None:
        self.app = app
        self._hosts = hosts
        self._tokens = Tokens(settings)
        self._cookie = cookie_name(settings, "csrf")
        self._secure = is_secure(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request[Any, Any, Any](scope, receive=receive, send=send)
        held = request.cookies.get(self._cookie, "")
        if not self._tokens.is_ours(held):
            held = ""
        if request.method not in SAFE_METHODS:
            await self._check(request, held)
        token = held or self._tokens.make()
        ScopeState.from_scope(scope).csrf_token = token
        await self.app(scope, receive, send if held else self._with_cookie(send, token))

    async def _check(self, request: Request[Any, Any, Any], held: str) -> None:
        if not self._comes_from_here(request):
            raise Forbidden("This request came from another site.", code="foreign_origin")
        given = request.headers.get(HEADER) or await _form_token(request)
        if not held or not hmac.compare_digest(given.encode(), held.encode()):
            raise Forbidden("This page has been open for too long. Please load it again.", code="csrf")

    def _comes_from_here(self, request: Request[Any, Any, Any]) -> bool:
        """Browsers say where a request comes from; what says nothing must still bring the token."""
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return False
        origin = request.headers.get("origin")
        return origin is None or self._hosts.is_own_origin(origin)

    def _with_cookie(self, send: Send, token: str) -> Send:
        """Only a page that may hold a form brings the cookie."""

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders.from_message(message)
                if headers.get("content-type", "").startswith("text/html"):
                    cookie = Cookie(
                        key=self._cookie, value=token, path="/", secure=self._secure, httponly=True, samesite="lax"
                    )
                    headers.add("Set-Cookie", cookie.to_header(header=""))
            await send(message)

        return send_with_cookie


async def _form_token(request: Request[Any, Any, Any]) -> str:
    if request.content_type[0] not in FORMS:
        return ""
    token = (await request.form()).get(FIELD, "")
    return token if isinstance(token, str) else ""
