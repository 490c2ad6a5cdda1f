"""The web application, built in one place."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.types import ControllerRouterHandler

from market.settings import Settings
from market.venue import Venue, open_venue
from web import carrier_callbacks, health, live, live_list, metrics, pages, receipt_keys, webhooks
from web.api.door import KnownKeys
from web.api.routing import router as api
from web.docs import openapi_config
from web.edge import static
from web.edge.csrf import CsrfGuard
from web.edge.cursors import Cursors
from web.edge.front import FrontDoor
from web.edge.hosts import Hosts
from web.edge.limits import Limiter
from web.edge.problem_answers import answer_problem
from web.edge.problems import Problem
from web.edge.read_only import refuse_when_full
from web.edge.sessions import session_config
from web.edge.static import StaticFiles
from web.pages.rendering import locale_of, render

FORM_BYTES = 65_536
FORM_PARTS = 100


def create_app(settings: Settings) -> Litestar:
    """Everything that one web process serves. The venue opens with the application's lifespan."""
    hosts = Hosts(settings)
    figures = metrics.RequestFigures()
    files = StaticFiles()
    app = Litestar(
        route_handlers=[
            page_router(settings, hosts, [*pages.routes, *live.routes, *live_list.routes]),
            api,
            *webhooks.routes,
            *carrier_callbacks.routes,
            *health.routes,
            *metrics.routes,
            *receipt_keys.routes,
            *static.routes,
        ],
        lifespan=[partial(_with_venue, settings)],
        dependencies={"venue": Provide(_venue, sync_to_thread=False)},
        guards=[refuse_when_full],
        exception_handlers={Exception: answer_problem},
        openapi_config=openapi_config(settings),
        multipart_form_part_limit=FORM_PARTS,
        request_max_body_size=FORM_BYTES,
        logging_config=None,
        state=State(
            {
                "settings": settings,
                "figures": figures,
                "static": files,
                "cursors": Cursors(settings.secret_key),
                "known_keys": KnownKeys(),
                "problem_page": _problem_page,
            }
        ),
        debug=False,
    )
    app.asgi_handler = FrontDoor(app.asgi_handler, settings, hosts, figures)
    return app


def page_router(settings: Settings, hosts: Hosts, handlers: Sequence[ControllerRouterHandler]) -> Router:
    """Pages and their streams: the only routes that know a session, and so the only ones that need a CSRF token."""
    return Router(
        "/",
        route_handlers=handlers,
        middleware=[session_config(settings).middleware, DefineMiddleware(CsrfGuard, settings=settings, hosts=hosts)],
        include_in_schema=False,
    )


@asynccontextmanager
async def _with_venue(settings: Settings, app: Litestar) -> AsyncIterator[None]:
    app.state.drain = asyncio.Event()
    async with open_venue(settings) as venue:
        app.state.venue = venue
        app.state.limiter = Limiter(venue.redis)
        yield


def _problem_page(request: Request[Any, Any, Any], problem: Problem, trace: str, fragment: bool) -> str:
    locale = locale_of(request)
    return render("problem.html", locale=locale, request=request, problem=problem, trace_id=trace, fragment=fragment)


def _venue(state: State) -> Venue:
    venue: Venue = state.venue
    return venue
