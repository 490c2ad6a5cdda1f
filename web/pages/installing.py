"""What makes the pages an app on a phone: manifest, service worker, and the page for when there is no network."""

import hashlib
import json
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market.refusals import NotFound
from web import design, i18n
from web.edge.static import ASK_AGAIN
from web.pages.rendering import Page, locale_of, render

ICONS = (("icons/192.png", "192x192", "any"), ("icons/512.png", "512x512", "any"),
         ("icons/maskable.png", "512x512", "maskable"))  # fmt: skip
OFFLINE_NEEDS = ("mark.svg", "surplusflow.css", "vendor/pico-2.1.1.min.css")
LOCALES = {i18n.tag(locale): locale for locale in i18n.LOCALES}


@get("/manifest.webmanifest", sync_to_thread=False)
def manifest(request: Page) -> Response[bytes]:
    """Browsers ask for it without cookies, so the page's link says the language."""
    locale = LOCALES.get(str(request.query_params.get("lang", "")), "") or locale_of(request)
    ground = design.colours()["ground"].light
    document = {
        "id": "/",
        "name": i18n.translated(locale, "Surplusflow"),
        "short_name": i18n.translated(locale, "Surplusflow"),
        "description": i18n.translated(
            locale, "Sell what you won't use before it expires, or buy below your carrier's own price."
        ),
        "lang": i18n.tag(locale),
        "dir": "ltr",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "theme_color": design.colours()["brand-strong"].light,
        "background_color": ground,
        "icons": [
            {"src": _url(request, name), "sizes": sizes, "type": "image/png", "purpose": purpose}
            for name, sizes, purpose in ICONS
        ],
    }
    headers = {"Cache-Control": ASK_AGAIN, "Vary": "Accept-Language, Cookie"}
    body = json.dumps(document, ensure_ascii=False).encode()
    return Response(body, media_type="application/manifest+json", headers=headers)


@get("/service-worker.js", sync_to_thread=False)
def service_worker(request: Page) -> Response[str]:
    """The worker, with the files that it begins with; another version of any of them makes another worker."""
    needed = [*(f"/offline/{tag}" for tag in LOCALES), *(_url(request, name) for name in OFFLINE_NEEDS)]
    pages = "".join(_offline(request, locale) for locale in i18n.LOCALES)
    files = request.app.state.static
    version = hashlib.sha256((pages + files.digest).encode()).hexdigest()[:16]
    script = files.find("service-worker.js").content.decode()
    start = f"const VERSION = {json.dumps(version)};\nconst OFFLINE = {json.dumps(needed)};\n"
    return Response(start + script, media_type="text/javascript", headers={"Cache-Control": ASK_AGAIN})


@get("/offline/{tag:str}", sync_to_thread=False)
def offline(request: Page, tag: FromPath[str]) -> Response[str]:
    """The page for when there is no network: the same for everybody."""
    if tag not in LOCALES:
        raise NotFound("There is nothing at this address.")
    headers = {"Cache-Control": ASK_AGAIN, "Content-Language": tag}
    return Response(_offline(request, LOCALES[tag]), media_type="text/html", headers=headers)


def _offline(request: Page, locale: str) -> str:
    return render("offline.html", locale=locale, request=request)


def _url(request: Request[Any, Any, Any], name: str) -> str:
    url: str = request.app.state.static.url(name)
    return url


routes: list[ControllerRouterHandler] = [manifest, service_worker, offline]
