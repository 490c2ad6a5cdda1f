"""Problems on their way out: RFC 9457 documents for programs, pages and fragments for people, with the same status."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import structlog
from litestar import Request, Response
from litestar.routes import HTTPRoute
from markupsafe import escape
from sqlalchemy.exc import DBAPIError

from market.refusals import NotSignedIn
from market.step_up import StepUpNeeded
from web.edge import typed
from web.edge.problems import PROBLEM_JSON, Problem, ProblemDetails, problem_of
from web.edge.redirects import local_path
from web.edge.sessions import had_session
from web.edge.trace import trace_id, where_it_failed

# Programs read JSON and never see a page, whatever their Accept header says.
MACHINE_PATHS = ("/api/", "/webhooks/", "/health/", "/metrics", "/schema")

Asked = Request[Any, Any, Any]

ProblemPage = Callable[[Asked, Problem, str, bool], str]
"""Shows a problem with its trace id as HTML: a whole page, or a fragment."""


logger = structlog.get_logger("surplusflow.web")


def answer_problem(request: Asked, error: Exception) -> Response[Any]:
    """The exception handler of the whole application."""
    problem = problem_of(error)
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        problem = replace(problem, headers={"Allow": ", ".join(allowed_methods(request))})
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, DBAPIError):
        _note(error, problem, trace_id(request.scope))
    if _is_for_a_program(request):
        return _as_json(request, problem)
    if isinstance(error, StepUpNeeded):
        return _to_prove(request, error.action)
    return _as_page(request, problem)


def _note(error: Exception, problem: Problem, trace: str) -> None:
    """Keep where it happened and what kind it was. An exception's own text may hold anybody's data, so it stays out."""
    name, where = type(error).__name__, where_it_failed(error)
    logger.error("failed", status=problem.status, code=problem.code, error=name, where=where, trace_id=trace)


def allowed_methods(request: Asked) -> list[str]:
    """The methods that the path knows, for the Allow header that a 405 owes."""
    parts = [part for part in request.scope["path"].split("/") if part]
    fitting = (route for route in request.app.routes if isinstance(route, HTTPRoute) and _leads_to(route, parts))
    return sorted({method for route in fitting for method in route.methods})


def _leads_to(route: HTTPRoute, parts: list[str]) -> bool:
    components = route.path_components
    return len(components) == len(parts) and all(
        component == part or not isinstance(component, str) for component, part in zip(components, parts, strict=True)
    )


def _is_for_a_program(request: Asked) -> bool:
    if request.scope["path"].startswith(MACHINE_PATHS):
        return True
    return "text/html" not in request.headers.get("accept", "") and "hx-request" not in request.headers


def _as_json(request: Asked, problem: Problem) -> Response[Any]:
    body = ProblemDetails(
        kind=problem.kind,
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        instance=quote(request.scope["path"], safe="/~"),
        trace_id=trace_id(request.scope),
        errors=problem.errors,
    )
    return _response(msgspec.json.encode(body), PROBLEM_JSON, problem)


def _as_page(request: Asked, problem: Problem) -> Response[Any]:
    headers: dict[str, str] = {}
    fragment = "hx-request" in request.headers
    if problem.code == NotSignedIn.code:
        door = "/officer/sign-in" if request.scope["path"].startswith("/officer") else "/sign-in"
        following = _next_page(request, fragment=fragment)
        sign_in = f"{door}?next={quote(following, safe='/')}"
        if had_session(request):
            typed.keep(request, following)
        if fragment:
            headers["HX-Redirect"] = sign_in
        elif request.method == "GET":
            return Response(None, status_code=303, headers={"Location": sign_in})
    elif fragment:
        headers |= {"HX-Retarget": "#toast", "HX-Reswap": "innerHTML"}
    html = render_problem(request, problem, fragment=fragment)
    return _response(html.encode(), "text/html", problem, headers)


def _to_prove(request: Asked, action: str) -> Response[Any]:
    """Have the session prove itself, and come back to where this was sent from, with what was typed there."""
    fragment = "hx-request" in request.headers
    following = _next_page(request, fragment=fragment)
    typed.keep(request, following)
    door = f"/step-up?for={quote(action)}&next={quote(following, safe='/')}"
    headers = {"Cache-Control": "no-store"}
    if fragment:
        return Response("", media_type="text/html", headers={**headers, "HX-Redirect": door})
    return Response(None, status_code=303, headers={**headers, "Location": door})


def _next_page(request: Asked, *, fragment: bool) -> str:
    """The page to come back to. A form's or a fragment's own address is no page: the browser says where it stands."""
    if fragment:
        return local_path(urlsplit(request.headers.get("hx-current-url", "")).path)
    if request.method == "GET":
        return local_path(request.scope["path"])
    sent_from = urlsplit(request.headers.get("referer", ""))
    if sent_from.netloc == request.headers.get("host"):
        return local_path(sent_from.path)
    return local_path(request.scope["path"]) if "GET" in allowed_methods(request) else "/"


def render_problem(request: Asked, problem: Problem, *, fragment: bool) -> str:
    """Show a problem by the renderer that the application was built with.

    A template that fails must not hide the problem it was to show: then a plain page says it.
    """
    trace = trace_id(request.scope)
    show: ProblemPage = request.app.state.problem_page
    try:
        return show(request, problem, trace, fragment)
    except Exception as error:  # noqa: BLE001 - whatever a template can raise, the visitor still gets the problem
        name, where = type(error).__name__, where_it_failed(error)
        logger.error("problem page failed", error=name, where=where, trace_id=trace)  # noqa: TRY400 - see _note
    return _plain_page(problem, trace, fragment=fragment)


def _plain_page(problem: Problem, trace: str, *, fragment: bool) -> str:
    title, detail = escape(problem.title), escape(problem.detail)
    body = f'<div role="alert"><strong>{title}</strong> {detail} <small>{escape(trace)}</small></div>'
    return body if fragment else f'<!doctype html><html lang="en"><title>{title}</title><body>{body}</body></html>'


def _response(
    body: bytes, media_type: str, problem: Problem, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    merged = {"Cache-Control": "no-store", **problem.headers, **(headers or {})}
    return Response(body, status_code=problem.status, media_type=media_type, headers=merged)
