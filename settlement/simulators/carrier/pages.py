"""Screens for people: the list of lines, and what each phone shows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response, get

from settlement.simulators.carrier import billing, messages, reservations
from settlement.simulators.carrier.bodies import read_query
from settlement.simulators.carrier.brands import BRAND_OF_CODE
from settlement.simulators.carrier.office import CarrierRequest, clock, office_of
from settlement.simulators.carrier.refusals import Refusal
from settlement.simulators.carrier.words import LANGUAGES, WORDS, language_of

HERE = Path(__file__).parent
BEIJING = ZoneInfo("Asia/Shanghai")
SHOWN = 60
REFRESH_SECONDS = 4
STYLE = (HERE / "static" / "phone.css").read_bytes()
SAFE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

FIND = """
SELECT * FROM line
WHERE $1 = '' OR strpos(msisdn, $1) > 0 OR strpos(lower(name), lower($1)) > 0 OR strpos(lower(plan_name), lower($1)) > 0
ORDER BY msisdn, carrier LIMIT $2
"""


def _local(at: datetime) -> str:
    return at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M")


templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters["local"] = _local


@get("/")
async def list_lines(request: CarrierRequest) -> Response[str]:
    query = read_query(request, ["q", "lang"])
    wanted = query.get("q", "").strip()[:100].replace("\0", "")
    async with office_of(request).database.connection() as connection:
        rows = await connection.fetch(FIND, wanted.removeprefix("+"), SHOWN + 1)
    return _page(request, query, "lines.html", lines=rows[:SHOWN], more=len(rows) > SHOWN, wanted=wanted, shown=SHOWN)


@get("/phones/{number:str}")
async def show_phone(request: CarrierRequest, number: str) -> Response[str]:
    query = read_query(request, ["lang", "refresh"])
    if not (number.isascii() and number.isdigit()):
        raise Refusal("NOT_FOUND")
    line = await _line(request, f"+{number}")
    buckets, inbox = await _screen(request, line["carrier"], line["msisdn"])
    async with office_of(request).database.connection() as connection:
        bill = await billing.on_bill(connection, line["carrier"], line["msisdn"])
    refresh = query.get("refresh") != "off"
    screen = {"line": line, "buckets": buckets, "inbox": inbox, "bill": bill, "refresh": refresh}
    return _page(request, query, "phone.html", **screen)


@get("/static/phone.css")
async def style() -> Response[bytes]:
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


async def _line(request: CarrierRequest, msisdn: str) -> Any:
    async with office_of(request).database.connection() as connection:
        line = await connection.fetchrow("SELECT * FROM line WHERE msisdn = $1 ORDER BY carrier LIMIT 1", msisdn)
    if line is None:
        raise Refusal("NOT_FOUND")
    return line


async def _screen(request: CarrierRequest, carrier: str, msisdn: str) -> tuple[Sequence[Any], Sequence[Any]]:
    database = office_of(request).database
    await reservations.sweep(database, carrier, clock())
    async with database.connection() as connection:
        buckets = await connection.fetch(
            "SELECT * FROM bucket WHERE carrier = $1 AND msisdn = $2"
            " ORDER BY expires_at <= $3, expires_at, scope, transferable DESC, distributable DESC, id",
            carrier,
            msisdn,
            clock(),
        )
        return buckets, await messages.inbox(connection, carrier, msisdn)


def _page(request: CarrierRequest, query: Mapping[str, str], template: str, **values: Any) -> Response[str]:
    language = language_of(query.get("lang"), request.headers.get("accept-language", ""))
    text = templates.get_template(template).render(
        words=WORDS[language],
        language=language,
        language_tag=LANGUAGES[language],
        other_language="en" if language == "zh" else "zh",
        brands=BRAND_OF_CODE,
        now=clock(),
        refresh_seconds=REFRESH_SECONDS,
        **values,
    )
    return Response(text, media_type="text/html", headers=SAFE_HEADERS)


handlers = [list_lines, show_phone, style]
