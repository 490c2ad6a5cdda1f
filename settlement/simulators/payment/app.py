"""The simulated payment provider as a web application."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from litestar import Litestar, Request, Response, get, post, put, route
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from settlement.simulators.payment import controls, documents, jobs
from settlement.simulators.payment.answers import Answer, Document, Refusal, error_body
from settlement.simulators.payment.courier import Courier
from settlement.simulators.payment.desk import API_VERSION, Desk, Settings
from settlement.simulators.payment.faults import Mischief
from settlement.simulators.payment.gate import AWAY, Gate, Operation, response_of
from settlement.simulators.payment.pages import STYLE, Pages
from settlement.simulators.payment.routes import API
from settlement.simulators.payment.store import LOST, Store

AnyRequest = Request[None, None, State]

BODY_BYTES = 256_000
HEALTH_SECONDS = 2

log = logging.getLogger(__name__)


def create_app(
    database_url: str,
    api_keys: set[str],
    *,
    settings: Settings | None = None,
    closing: asyncio.Event | None = None,
) -> Litestar:
    """The provider on a PostgreSQL database of its own, for clients with one of `api_keys`.

    `closing`, once set, lets go of requests whose answers are being held back, so that a server can stop.
    """
    if not api_keys or not all(api_keys):
        raise ValueError("The simulated payment provider needs at least one API key.")
    store = Store(database_url)
    desk, mischief = Desk(store, settings or Settings()), Mischief()
    gate = Gate(desk, mischief, api_keys, closing or asyncio.Event())
    pages = Pages(desk, mischief)

    @contextlib.asynccontextmanager
    async def working(_: Litestar) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(jobs.run(desk)), asyncio.create_task(Courier(desk, mischief).run())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()

    return Litestar(
        route_handlers=[
            *(_api_route(method, path, gate, operation) for method, path, operation in API),
            *_control_routes(gate, desk, mischief),
            *_page_routes(pages),
            *_checkout_routes(pages),
            _health_route(desk),
        ],
        lifespan=[working],
        exception_handlers={Refusal: _refused, HTTPException: _wrong, Exception: _broken},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_BYTES,
    )


def _api_route(method: str, path: str, gate: Gate, operation: Operation) -> HTTPRouteHandler:
    async def handle(request: AnyRequest) -> Response[bytes]:
        return await gate.answer(request, operation)

    return route(path, http_method=[method], status_code=200)(handle)  # type: ignore[list-item]


def _control_routes(gate: Gate, desk: Desk, mischief: Mischief) -> list[HTTPRouteHandler]:
    async def answered(request: AnyRequest, work: Callable[[], Awaitable[Document]]) -> Response[bytes]:
        request_id = documents.new_id("req")
        try:
            gate.check_key(request)
            answer = Answer(200, await work())
        except Refusal as refusal:
            answer = refusal.answer
        except LOST:
            answer = AWAY
        return response_of(answer, request_id, API_VERSION)

    @get("/_sim/faults")
    async def faults(request: AnyRequest) -> Response[bytes]:
        return await answered(request, lambda: controls.show_faults(desk, mischief))

    @put("/_sim/faults")
    async def change_faults(request: AnyRequest) -> Response[bytes]:
        raw = await request.body()
        return await answered(request, lambda: controls.change_faults(desk, mischief, raw))

    @get("/_sim/clock")
    async def clock(request: AnyRequest) -> Response[bytes]:
        return await answered(request, lambda: controls.show_clock(desk))

    @post("/_sim/clock", status_code=200)
    async def advance_clock(request: AnyRequest) -> Response[bytes]:
        raw = await request.body()
        return await answered(request, lambda: controls.advance_clock(desk, raw))

    @get("/_sim/totals")
    async def totals(request: AnyRequest) -> Response[bytes]:
        return await answered(request, lambda: controls.totals(desk))

    return [faults, change_faults, clock, advance_clock, totals]


async def _shown(pages: Pages, request: AnyRequest, page: Awaitable[Response[str]]) -> Response[str]:
    try:
        return await page
    except LOST:
        return pages.away(request)


def _checkout_routes(pages: Pages) -> list[HTTPRouteHandler]:
    shown = partial(_shown, pages)

    @get("/checkout/{token:str}")
    async def checkout(request: AnyRequest, token: FromPath[str]) -> Response[str]:
        return await shown(request, pages.checkout(request, token))

    @post("/checkout/{token:str}")
    async def pay(request: AnyRequest, token: FromPath[str]) -> Response[str]:
        return await shown(request, pages.pay(request, token))

    @get("/checkout/{token:str}/returned")
    async def returned(request: AnyRequest, token: FromPath[str]) -> Response[str]:
        return await shown(request, pages.returned(request, token))

    return [checkout, pay, returned]


def _page_routes(pages: Pages) -> list[HTTPRouteHandler]:
    shown = partial(_shown, pages)

    @get("/")
    async def overview(request: AnyRequest) -> Response[str]:
        return await pages.overview(request)

    @get("/3ds/{token:str}")
    async def challenge(request: AnyRequest, token: FromPath[str]) -> Response[str]:
        return await shown(request, pages.challenge(request, token))

    @post("/3ds/{token:str}")
    async def answer_challenge(request: AnyRequest, token: FromPath[str]) -> Response[str]:
        return await shown(request, pages.answer_challenge(request, token))

    @get("/onboarding/{token:str}")
    async def onboarding(request: AnyRequest, token: FromPath[str]) -> Response[str]:
        return await shown(request, pages.onboarding(request, token))

    @post("/onboarding/{token:str}")
    async def finish_onboarding(request: AnyRequest, token: FromPath[str]) -> Response[str]:
        return await shown(request, pages.finish_onboarding(request, token))

    @get("/style.css")
    async def style() -> Response[str]:
        return Response(STYLE, media_type="text/css; charset=utf-8", headers={"Cache-Control": "max-age=3600"})

    return [overview, challenge, answer_challenge, onboarding, finish_onboarding, style]


def _health_route(desk: Desk) -> HTTPRouteHandler:
    @get("/health")
    async def health() -> Response[Document]:
        started = time.monotonic()
        try:
            async with asyncio.timeout(HEALTH_SECONDS), desk.open() as call:
                await call.connection.fetchval("SELECT 1")
        except LOST as error:
            return Response({"status": "down", "part": "database", "error": type(error).__name__}, status_code=503)
        return Response({"status": "up", "database_ms": int((time.monotonic() - started) * 1_000)})

    return health


def _refused(_: Request[None, None, State], refusal: Refusal) -> Response[bytes]:
    return response_of(refusal.answer, documents.new_id("req"), API_VERSION)


def _wrong(request: Request[None, None, State], error: HTTPException) -> Response[bytes]:
    """A wrong address or method, or a body that is too large."""
    message = f"Unrecognized request URL ({request.method}: {request.url.path})."
    if error.status_code not in {404, 405}:
        message = error.detail
    status = 404 if error.status_code == 405 else error.status_code  # noqa: PLR2004  # the provider knows no 405
    return response_of(
        Answer(status, error_body("invalid_request_error", message)), documents.new_id("req"), API_VERSION
    )


def _broken(request: Request[None, None, State], error: Exception) -> Response[bytes]:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    body = json.loads(json.dumps(error_body("api_error", "An unknown error occurred")))
    return response_of(Answer(500, body), documents.new_id("req"), API_VERSION)
