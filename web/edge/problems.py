"""Every refusal and failure as one value, shown as RFC 9457 problem JSON or as HTML with the same status."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.routes import HTTPRoute
from markupsafe import escape
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from market.refusals import NotSignedIn, Refusal, TooMany, Unavailable
from web.edge.redirects import local_path
from web.edge.trace import trace_id, where_it_failed

PROBLEM_JSON = "application/problem+json"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
RETRY_SECONDS = 2

# Programs read JSON and never see a page, whatever their Accept header says.
MACHINE_PATHS = ("/api/", "/webhooks/", "/health/", "/metrics", "/schema")

# A request that these stop was never begun or was rolled back, and a later one may well succeed.
OUTAGES = (OperationalError, InterfaceError, PoolTimeoutError, RedisError, ConnectionError, TimeoutError)

logger = structlog.get_logger("surplusflow.web")


class OverLimit(TooMany):
    """A limit was reached; `retry_after_seconds` says when the next request may come."""

    def __init__(self, detail: str, *, retry_after_seconds: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(max(1, retry_after_seconds)), **(headers or {})}


class FieldError(msgspec.Struct, frozen=True):
    """One field that is wrong, and how."""

    field: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """The body of a refusal (RFC 9457). `code` is for programs, `detail` for people, `trace_id` for our logs."""

    title: str
    status: int
    detail: str
    code: str
    instance: str
    trace_id: str
    kind: str = "about:blank"
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True)
class Problem:
    """What went wrong, whoever will read it."""

    status: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "about:blank"

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase


ProblemPage = Callable[[Request[Any, Any, Any], Problem, str, bool], str]
"""Shows a problem with its trace id as HTML: a whole page, or a fragment."""


def problem_of(error: Exception) -> Problem:
    """Say what an exception means to the one who asked. What we did not foresee says nothing of our inside."""
    for kinds, tell in _READERS:
        if isinstance(error, kinds):
            return tell(error)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return _down(error)
    return Problem(500, "internal", "Something went wrong on our side. It has been noted under the number shown here.")


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The exception handler of the whole application."""
    problem = problem_of(error)
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        problem = replace(problem, headers={"Allow": ", ".join(allowed_methods(request))})
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _note(error, problem, trace_id(request.scope))
    if _is_for_a_program(request):
        return _as_json(request, problem)
    return _as_page(request, problem)


def _refused(error: Refusal) -> Problem:
    errors = (FieldError(error.field, error.detail),) if error.field else ()
    headers = dict(getattr(error, "headers", {}))
    if isinstance(error, Unavailable):
        return _unavailable(error.code, error.detail)
    if isinstance(error, NotSignedIn):
        headers.setdefault("WWW-Authenticate", "Bearer")
    kind = QUOTA_EXCEEDED if isinstance(error, TooMany) else "about:blank"
    return Problem(error.status, error.code, error.detail, errors, headers, kind)


def _down(_: Exception) -> Problem:
    return _unavailable("unavailable", "A part of the market does not answer. Please try again in a moment.")


def _unavailable(code: str, detail: str) -> Problem:
    return Problem(503, code, detail, (), {"Retry-After": str(RETRY_SECONDS)}, REDUCED_CAPACITY)


def _invalid(error: ValidationException) -> Problem:
    found = error.extra if isinstance(error.extra, Sequence) else ()
    errors = tuple(
        FieldError(str(item.get("key", "body")), str(item.get("message", "is not valid")).replace("`", ""))
        for item in found
        if isinstance(item, Mapping)
    )
    detail = "; ".join(f"{each.field}: {each.detail}" for each in errors) or error.detail
    return Problem(400, "bad_input", detail, errors)


_CODES = {
    400: "bad_input",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "wrong_media_type",
    421: "unknown_host",
}
_WORDS = {
    404: "There is nothing at this address.",
    405: "This address does not know that method.",
    413: "The request is larger than this address accepts.",
}


def allowed_methods(request: Request[Any, Any, Any]) -> list[str]:
    """The methods that the path knows, for the Allow header that a 405 owes."""
    parts = [part for part in request.scope["path"].split("/") if part]
    fitting = (route for route in request.app.routes if isinstance(route, HTTPRoute) and _leads_to(route, parts))
    return sorted({method for route in fitting for method in route.methods})


def _leads_to(route: HTTPRoute, parts: list[str]) -> bool:
    components = route.path_components
    return len(components) == len(parts) and all(
        component == part or not isinstance(component, str) for component, part in zip(components, parts, strict=True)
    )


def _http(error: HTTPException) -> Problem:
    status = error.status_code if error.status_code in HTTPStatus._value2member_map_ else 500
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Problem(500, "internal", "Something went wrong on our side.")
    return Problem(status, _CODES.get(status, "refused"), _WORDS.get(status, error.detail))


_READERS: tuple[tuple[Any, Callable[[Any], Problem]], ...] = (
    (Refusal, _refused),
    (ValidationException, _invalid),
    (HTTPException, _http),
    (DataError, lambda _: Problem(400, "bad_input", "A value cannot be stored.")),
    (RecursionError, lambda _: Problem(400, "bad_input", "The request is nested too deeply.")),
    (OUTAGES, _down),
)


def _note(error: Exception, problem: Problem, trace: str) -> None:
    """Keep where it happened and what kind it was. An exception's own text may hold anybody's data, so it stays out."""
    name, where = type(error).__name__, where_it_failed(error)
    logger.error("failed", status=problem.status, code=problem.code, error=name, where=where, trace_id=trace)


def _is_for_a_program(request: Request[Any, Any, Any]) -> bool:
    if request.scope["path"].startswith(MACHINE_PATHS):
        return True
    return "text/html" not in request.headers.get("accept", "") and "hx-request" not in request.headers


def _as_json(request: Request[Any, Any, Any], problem: Problem) -> Response[Any]:
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


def _as_page(request: Request[Any, Any, Any], problem: Problem) -> Response[Any]:
    headers: dict[str, str] = {}
    fragment = "hx-request" in request.headers
    if problem.code == NotSignedIn.code:
        sign_in = "/sign-in?next=" + quote(_next_page(request, fragment=fragment), safe="/")
        if fragment:
            headers["HX-Redirect"] = sign_in
        elif request.method == "GET":
            return Response(None, status_code=303, headers={"Location": sign_in})
    elif fragment:
        headers |= {"HX-Retarget": "#toast", "HX-Reswap": "innerHTML"}
    html = render_problem(request, problem, fragment=fragment)
    return _response(html.encode(), "text/html", problem, headers)


def _next_page(request: Request[Any, Any, Any], *, fragment: bool) -> str:
    """The page to come back to. A fragment's own address is no page: htmx says which page it stands on."""
    if fragment:
        return local_path(urlsplit(request.headers.get("hx-current-url", "")).path)
    return local_path(request.scope["path"]) if request.method == "GET" else "/"


def render_problem(request: Request[Any, Any, Any], problem: Problem, *, fragment: bool) -> str:
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
