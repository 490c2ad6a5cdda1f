"""The front door: what happens to every request before it is routed, and to every answer, found or not."""

import asyncio
from time import perf_counter
from typing import Any

import structlog
from litestar import Request
from litestar.enums import ScopeType
from litestar.exceptions import ClientException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from market.settings import Settings
from web.edge.headers import PRIVATE, security_headers
from web.edge.hosts import Hosts
from web.edge.problem_answers import answer_problem
from web.edge.trace import give_trace_id
from web.metrics import RequestFigures

BODY_SECONDS = 10
UNROUTED = "unrouted"
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
# A probe every second would be most of the log.
QUIET = ("/health", "/metrics", "/static")

logger = structlog.get_logger("surplusflow.web")


class TooSlow(ClientException):
    """The request's body did not arrive in time."""

    status_code = 408


class UnknownHost(ClientException):
    """The Host header is not ours."""

    status_code = 421


class FrontDoor:
    """Wraps the routed application: trace id, Host check, body deadline, headers, one log line, one measurement."""

    def __init__(self, app: ASGIApp, settings: Settings, hosts: Hosts, figures: RequestFigures) -> None:
        self._app = app
        self._hosts = hosts
        self._figures = figures
        self._headers = security_headers(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 500
        trace = give_trace_id(scope)

        async def send_answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._completed(list(message["headers"]), trace)
            await send(message)

        try:
            await self._answer(scope, _in_time(receive), send_answer)
        finally:
            self._note(scope, status, perf_counter() - started, trace)

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        if self._hosts.accept(scope["path"], scope["headers"]):
            await self._app(scope, receive, send)
            return
        request = Request[Any, Any, Any](scope, receive=receive, send=send)
        response = answer_problem(request, UnknownHost("This host name does not lead here."))
        await response.to_asgi_response(app=None, request=request)(scope, receive, send)

    def _completed(self, headers: list[tuple[bytes, bytes]], trace: str) -> list[tuple[bytes, bytes]]:
        """Add what every answer carries; what nobody called cacheable is private, and kept by nobody."""
        headers += [*self._headers, (b"x-request-id", trace.encode())]
        if not any(name.lower() == PRIVATE[0] for name, _ in headers):
            headers.append(PRIVATE)
        return headers

    def _note(self, scope: Any, status: int, seconds: float, trace: str) -> None:
        """Name the route by its template: a path may hold an id, a query anything at all."""
        route = scope.get("path_template") or UNROUTED
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._figures.observe(method, route, status, seconds)
        if not route.startswith(QUIET):
            logger.info(
                "request", method=method, route=route, status=status, ms=round(seconds * 1000, 1), trace_id=trace
            )


def _in_time(receive: Receive) -> Receive:
    """Give the whole body a deadline, so that a sender of one byte a minute holds nothing for long."""
    deadline = 0.0
    complete = False

    async def receive_in_time() -> Any:
        nonlocal complete, deadline
        if complete:
            return await receive()
        deadline = deadline or asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise TooSlow("The request's body did not arrive in time.") from None
        complete = not message.get("more_body", False)
        return message

    return receive_in_time
