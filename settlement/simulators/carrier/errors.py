"""Every refusal in the words its interface speaks: TMF654's, CAMARA's, or a page's."""

import html
import json
import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from settlement.simulators.carrier.office import CarrierRequest
from settlement.simulators.carrier.pages import SAFE_HEADERS
from settlement.simulators.carrier.refusals import Refusal

CODE_OF_STATUS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    500: "INTERNAL",
}
TMF_PARTS = ("tmf-api", "admin")
PAGE_PARTS = ("", "phones", "static")

log = logging.getLogger(__name__)


def on_refusal(request: CarrierRequest, refusal: Refusal) -> Response[Any]:
    first, second = (*request.url.path.split("/")[1:], "", "")[:2]
    if first in PAGE_PARTS:
        return _page(refusal)
    return _json(_tmf(refusal) if second in TMF_PARTS else _camara(refusal), refusal)


def on_http_error(request: CarrierRequest, error: HTTPException) -> Response[Any]:
    """What the framework refuses by itself: an unknown path, another method, a body too large."""
    code = CODE_OF_STATUS.get(error.status_code, "INVALID_REQUEST" if error.status_code < 500 else "INTERNAL")  # noqa: PLR2004 - the line between their fault and ours
    if code == "INTERNAL":
        return on_failure(request, error)
    return on_refusal(request, Refusal(code))


def on_failure(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Our own mistake: the log says what, the answer does not."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return on_refusal(request, Refusal("INTERNAL"))


def _tmf(refusal: Refusal) -> dict[str, Any]:
    return {
        "@type": "Error",
        "code": refusal.code,
        "reason": refusal.reason,
        "message": refusal.message,
        "status": str(refusal.status),
    }


def _camara(refusal: Refusal) -> dict[str, Any]:
    code = "INVALID_ARGUMENT" if refusal.code == "INVALID_REQUEST" else refusal.code
    return {"status": refusal.status, "code": code, "message": refusal.message}


def _json(body: dict[str, Any], refusal: Refusal) -> Response[Any]:
    content = json.dumps(body).encode()
    return Response(content, status_code=refusal.status, media_type="application/json;charset=utf-8")


def _page(refusal: Refusal) -> Response[Any]:
    words = html.escape(refusal.message)
    text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{refusal.status}</title>'
    text += f'<link rel="stylesheet" href="/static/phone.css"><p>{words} <a href="/">←</a></p></html>'
    return Response(text, status_code=refusal.status, media_type="text/html", headers=SAFE_HEADERS)
