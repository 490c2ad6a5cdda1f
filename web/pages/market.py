"""The market: what trades now, to search and to filter."""

import asyncio
import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
from litestar import Response, get
from litestar.types import ControllerRouterHandler

from market import sparklines, views
from market.selling_spare import days_left, per_gb
from market.views import InstrumentView
from web.edge.sessions import present_member
from web.edge.venue import Venue
from web.i18n import CLOCK
from web.pages.drawing import Sparkline, sparkline
from web.pages.forms import queried
from web.pages.rendering import Page, locale_of, page
from web.pages.words import CARRIERS, instrument_name

FRESH_SECONDS = 2.0
AGAIN_SECONDS = 0.2
"""Another process may see sooner that the list has moved; who heard of it there is not given the former one here."""
COURSE_SECONDS = 60.0


@dataclass
class Listing:
    """The instruments as last read. All visitors of one process share a reading for two seconds, courses for longer."""

    shown: list[InstrumentView] = field(default_factory=list)
    mark: str = ""
    """Of all that is shown, and nothing else: the same in every process, whenever it was read."""
    read_at: float = 0.0
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    courses: dict[int, tuple[int, ...]] = field(default_factory=dict)
    courses_read_at: float = 0.0
    readers: int = 0
    """How many pages follow it."""

    async def read(self, venue: Venue, former: str = "") -> list[InstrumentView]:
        """The instruments, anew when they are old, or are ``former``: what somebody has who was told that it moved."""
        async with self.reading:
            age = time.monotonic() - self.read_at
            if age > FRESH_SECONDS or (former == self.mark and age > AGAIN_SECONDS):
                async with venue.reads() as session:
                    self.shown = await views.instruments(session, datetime.now(UTC))
                self.mark = hashlib.blake2b(msgspec.json.encode(self.shown), digest_size=8).hexdigest()
                self.read_at = time.monotonic()
        return self.shown

    async def rows(self, venue: Venue, former: str = "") -> list["Row"]:
        """Every instrument with what a list shows of it."""
        instruments, now = await self.read(venue, former), datetime.now(UTC)
        async with self.reading:
            if time.monotonic() - self.courses_read_at > COURSE_SECONDS:
                async with venue.reads() as session:
                    self.courses = await sparklines.read(session, now)
                self.courses_read_at = time.monotonic()
        return [_row(each, self.courses.get(each.id, ()), now) for each in instruments]


@dataclass(frozen=True, slots=True)
class Row:
    """One instrument in the list. Prices are minor units; without a trade they are those of the reference."""

    view: InstrumentView
    line: Sparkline | None
    per_gb: int
    """Of 1,000 MB, or 1,000 coins."""
    per_gb_and_day: int | None
    """Of a GB, for each day that it can still be used; none for what does not expire."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a visitor looks for; empty is everything."""

    q: str = ""
    carrier: str = ""
    scope: str = ""
    kind: str = ""
    expiry: str = ""
    """``2611``: the month whose data it is."""

    def takes(self, each: InstrumentView, locale: str) -> bool:
        found = (
            each.carrier or "COIN",
            None if each.kind == "coin" else "national" if each.scope == "CN" else "province",
            None if each.kind == "coin" else "app" if each.app_scope else "general",
            expiry_of(each),
        )
        text = f"{each.symbol} {instrument_name(each, locale)}".casefold()
        chosen = (self.carrier, self.scope, self.kind, self.expiry)
        return all(not want or want == has for want, has in zip(chosen, found, strict=True)) and all(
            part in text for part in self.q.casefold().split()
        )


def listing(request: Page) -> Listing:
    """The process's one listing."""
    held = request.app.state.get("listing")
    if not isinstance(held, Listing):
        held = request.app.state.listing = Listing()
    return held


@get("/market")
async def overview(request: Page, venue: Venue) -> Response[str]:
    form, locale = queried(request), locale_of(request)
    member = await present_member(request)
    held = listing(request)
    rows = await held.rows(venue, form.text("mark"))
    wanted = Wanted(*(form.text(name) for name in ("q", "carrier", "scope", "kind", "expiry")))
    expiries = {expiry_of(row.view): row.view.expires_at for row in rows if row.view.expires_at}
    return page(
        request,
        "market.html",
        block="markets",
        mark=held.mark,
        groups=by_carrier(row for row in rows if wanted.takes(row.view, locale)),
        carriers=list(CARRIERS),
        expiries=dict(sorted(expiries.items())),
        wanted=wanted,
        member=member,
    )


def expiry_of(instrument: InstrumentView) -> str:
    """The month whose data an instrument trades, as symbols write it; empty for coins."""
    if instrument.expires_at is None:
        return ""
    return f"{(instrument.expires_at - timedelta(seconds=1)).astimezone(CLOCK):%y%m}"


def by_carrier(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows under the code of their carrier, coins under ``COIN``; in the order of the carriers, without empty ones."""
    groups: dict[str, list[Row]] = {code: [] for code in CARRIERS}
    for row in rows:
        groups.setdefault(row.view.carrier or "COIN", []).append(row)
    return {code: found for code, found in groups.items() if found}


def _row(view: InstrumentView, course: tuple[int, ...], now: datetime) -> Row:
    last = view.reference_minor if view.last_minor is None else view.last_minor
    cost = per_gb(last, view)
    per_day = None if view.expires_at is None else cost // days_left(view.expires_at, now)
    drawn = course if view.last_minor is None else (*course, view.last_minor)
    return Row(view, sparkline(drawn), cost, per_day)


routes: list[ControllerRouterHandler] = [overview]
