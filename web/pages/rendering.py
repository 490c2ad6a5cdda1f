"""Templates: one environment for pages, fragments and problems, in the language and colours of the one who asks."""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from jinja2_fragments import render_block
from litestar import Request, Response
from litestar.utils.scope.state import ScopeState

from market.parties import Member, Officer
from market.pricing import quote
from market.refusals import NotSignedIn
from web import i18n
from web.edge.compression import SMALL, accepts_gzip, gzipped
from web.edge.read_only import storage_of
from web.edge.sessions import signed_in, signed_in_officer, unread_notices
from web.notice_words import notice_words
from web.pages import words
from web.pages.giving_words import OBSTACLES

TEMPLATES = Path(__file__).parents[1] / "templates"
MACROS = "macros.html"
THEMES = ("auto", "light", "dark")
TRENDS = ("red-up", "green-up")
HTMX = '{"includeIndicatorCSS": false, "morphIgnore": ["data-htmx-powered", "open"]}'
"""Its indicator style would be inline; what a reader has folded open stays open when its surroundings change."""

VARY = "HX-Request, Accept-Language, Cookie, Accept-Encoding"

Page = Request[Any, Any, Any]


def locale_of(request: Page) -> str:
    """The language of whoever asks."""
    return i18n.chosen(request.cookies.get("locale"), request.headers.get("accept-language", ""))


def theme_of(request: Page) -> str:
    chosen = request.cookies.get("theme", "")
    return chosen if chosen in THEMES else "auto"


def trend_of(request: Page) -> str:
    """Which colour means up. In China that is red; the visitor may choose."""
    chosen = request.cookies.get("trend", "")
    if chosen in TRENDS:
        return chosen
    return "red-up" if locale_of(request) == "zh_CN" else "green-up"


def visitor(request: Page) -> Member | None:
    """The member whom the handler has already found, if anybody is signed in."""
    try:
        return signed_in(request)
    except NotSignedIn:
        return None


def visiting_officer(request: Page) -> Officer | None:
    try:
        return signed_in_officer(request)
    except NotSignedIn:
        return None


def new_key() -> str:
    """An idempotency key for one form: sent twice, it takes effect once."""
    return secrets.token_hex(16)


def wants_fragment(request: Page) -> bool:
    """Whether htmx asks for a part of the page that it stands on."""
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def render(template: str, *, locale: str, block: str | None = None, **context: Any) -> str:
    """A template, or one named block of it. The shared macros are ``ui`` everywhere: made once, in its language."""
    values = {"locale": locale, **context}
    values["ui"] = environment.get_template(MACROS).make_module(values)
    if block is None:
        return environment.get_template(template).render(values)
    return render_block(environment, template, block, values)


def page(
    request: Page,
    template: str,
    *,
    block: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> Response[Any]:
    """The whole page, or for htmx only the block that it swaps; zipped for whoever takes it."""
    shown = block if wants_fragment(request) else None
    locale = locale_of(request)
    html = render(template, locale=locale, block=shown, request=request, **context)
    body = html.encode()
    merged = {"Vary": VARY, "Content-Language": i18n.tag(locale), **(headers or {})}
    if len(body) > SMALL and accepts_gzip(request.headers.get("accept-encoding", "")):
        body, merged["Content-Encoding"] = gzipped(body), "gzip"
    return Response(body, status_code=status, media_type="text/html", headers=merged)


def see_other(path: str) -> Response[None]:
    """Send the browser on after a form was taken, so that loading again sends nothing twice."""
    return Response(None, status_code=303, headers={"Location": path})


def _locale(context: Context) -> str:
    held = context.get("locale")
    return held if isinstance(held, str) else locale_of(context["request"])


@pass_context
def _gettext(context: Context, message: str) -> str:
    return i18n.catalogue(_locale(context)).gettext(message)


@pass_context
def _ngettext(context: Context, singular: str, plural: str, count: int) -> str:
    return i18n.catalogue(_locale(context)).ngettext(singular, plural, count)


def _in_locale(function: Callable[..., str]) -> Callable[..., str]:
    """Make a filter of a function whose last positional argument is the locale."""

    @pass_context
    def localised(context: Context, *values: Any, **options: Any) -> str:
        return function(*values, _locale(context), **options)

    return localised


def _word(table: dict[str, str]) -> Callable[..., str]:
    return _in_locale(lambda code, locale: words.word(table, code, locale))


def _units(count: int, kind: str, locale: str) -> str:
    """MB or coins of an asset, in words."""
    if kind == "data":
        return i18n.data(count, locale)
    return i18n.catalogue(locale).ngettext("%(num)s coin", "%(num)s coins", count) % {"num": i18n.number(count, locale)}


def _trend(change: int | None) -> str:
    """The class that colours a change."""
    return "flat" if not change else "up" if change > 0 else "down"


@pass_context
def _csrf_token(context: Context) -> str:
    token = ScopeState.from_scope(context["request"].scope).csrf_token
    return token if isinstance(token, str) else ""


@pass_context
def _static(context: Context, name: str) -> str:
    url: str = context["request"].app.state.static.url(name)
    return url


def _build() -> Environment:
    built = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    built.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
    built.globals |= {
        "htmx_config": HTMX,
        "locales": i18n.LOCALES,
        "locale_of": locale_of,
        "theme_of": theme_of,
        "trend_of": trend_of,
        "visitor": visitor,
        "visiting_officer": visiting_officer,
        "unread_notices": unread_notices,
        "storage_of": storage_of,
        "csrf_token": _csrf_token,
        "static": _static,
        "new_key": new_key,
        "quote": quote,
        "now": lambda: datetime.now(UTC),
    }
    built.filters |= {
        "tag": i18n.tag,
        "plain": i18n.plain,
        "money": _in_locale(i18n.money),
        "amount": _in_locale(i18n.amount),
        "number": _in_locale(i18n.number),
        "percent": _in_locale(i18n.percent),
        "data": _in_locale(i18n.data),
        "units": _in_locale(_units),
        "day": _in_locale(i18n.day),
        "month": _in_locale(i18n.month),
        "moment": _in_locale(i18n.moment),
        "minute": _in_locale(i18n.minute),
        "clock": _in_locale(i18n.clock),
        "left": _in_locale(i18n.left),
        "trend": _trend,
        "instrument_name": _in_locale(words.instrument_name),
        "short_name": _in_locale(words.short_name),
        "refusal": _in_locale(words.refusal_words),
        "carrier": _word(words.CARRIERS),
        "place": _word(words.PLACES),
        "market_state": _word(words.MARKET_STATES),
        "order_state": _word(words.ORDER_STATES),
        "reason": _word(words.REASONS),
        "time_in_force": _word(words.TIMES_IN_FORCE),
        "delivery": _word(words.DELIVERIES),
        "step": _word(words.STEPS),
        "instruction": _word(words.INSTRUCTIONS),
        "lane_state": _word(words.LANE_STATES),
        "tracked": _word(words.TRACKED),
        "awaited": _word(words.AWAITED),
        "waits": _word(words.WAITS),
        "entry": _word(words.ENTRIES),
        "cause": _word(words.CAUSES),
        "record": _word(words.RECORDS),
        "task": _word(words.TASKS),
        "case_reason": _word(words.CASE_REASONS),
        "case_state": _word(words.CASE_STATES),
        "lane": _word(words.LANES | words.CARRIERS),
        "noticed": _word(words.NOTICED),
        "notice": _in_locale(lambda each, locale: notice_words(each.kind, each.facts, locale)),
        "app": _word(words.APPS),
        "line_state": _word(words.LINE_STATES),
        "plan": _word(words.PLANS),
        "destiny": _word(words.DESTINIES),
        "obstacle": _word(OBSTACLES),
    }
    return built


environment = _build()
