"""The first page: what trades now, and for a member what is theirs."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from market import parties, rules, views, wallet
from market.parties import Line
from market.refusals import NotAllowed
from market.views import InstrumentView
from settlement.carriers.values import Bucket
from web.edge.sessions import present_member, requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import month
from web.pages.forms import queried
from web.pages.rendering import Page, locale_of, page
from web.pages.words import CARRIERS, instrument_name

FRESH_SECONDS = 2.0


@dataclass
class Listing:
    """The instruments as last read. All visitors of one process share a reading for two seconds."""

    shown: list[InstrumentView] = field(default_factory=list)
    read_at: float = 0.0
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, venue: Venue) -> list[InstrumentView]:
        async with self.reading:
            if time.monotonic() - self.read_at > FRESH_SECONDS:
                async with venue.sessions() as session:
                    self.shown = await views.instruments(session, datetime.now(UTC))
                self.read_at = time.monotonic()
        return self.shown


@dataclass(frozen=True)
class Spare:
    """A bucket on a member's line, and where it could be sold."""

    line: Line
    bucket: Bucket | None
    instrument: InstrumentView | None
    lots: int
    """How many lots the carrier's rules let the member part with."""


def listing(request: Page) -> Listing:
    """The process's one listing."""
    held = request.app.state.get("listing")
    if not isinstance(held, Listing):
        held = request.app.state.listing = Listing()
    return held


@get("/")
async def overview(request: Page, venue: Venue) -> Response[str]:
    form, locale = queried(request), locale_of(request)
    member = await present_member(request)
    instruments = await listing(request).read(venue)
    matching = [each for each in instruments if _matches(each, form.text("q"), form.text("carrier"), locale)]
    return page(
        request,
        "index.html",
        block="markets",
        groups=_by_carrier(matching),
        carriers=list(CARRIERS),
        q=form.text("q"),
        chosen=form.text("carrier"),
        member=member,
        wallet=await wallet.balances(venue, member) if member else None,
    )


@get("/data", guards=[requires_member])
async def data(request: Page, venue: Venue) -> Response[str]:
    """What is left on the member's lines, asked of the carriers now."""
    member = signed_in(request)
    found = await parties.buckets(venue, member)
    instruments = await listing(request).read(venue)
    spares = await _spares(venue, found, instruments)
    return page(request, "data.html", block="buckets", spares=spares, member=member)


def _matches(instrument: InstrumentView, query: str, carrier: str, locale: str) -> bool:
    if carrier == "COIN" and instrument.kind != "coin":
        return False
    if carrier in CARRIERS and instrument.carrier != carrier:
        return False
    text = f"{instrument.symbol} {instrument_name(instrument, locale)}".casefold()
    return all(part in text for part in query.casefold().split())


def _by_carrier(instruments: Iterable[InstrumentView]) -> dict[str, list[InstrumentView]]:
    groups: dict[str, list[InstrumentView]] = {code: [] for code in CARRIERS}
    for each in instruments:
        groups.setdefault(each.carrier or "COIN", []).append(each)
    return {code: found for code, found in groups.items() if found}


async def _spares(
    venue: Venue, found: list[tuple[Line, Bucket | None]], instruments: list[InstrumentView]
) -> list[Spare]:
    profiles: dict[str, rules.RuleProfile] = {}
    async with venue.sessions() as session:
        for carrier in {line.carrier for line, _ in found}:
            try:
                profiles[carrier] = await rules.profile(session, carrier, datetime.now(UTC))
            except NotAllowed:
                continue
    return [_spare(line, bucket, instruments, profiles.get(line.carrier)) for line, bucket in found]


def _spare(
    line: Line, bucket: Bucket | None, instruments: list[InstrumentView], profile: rules.RuleProfile | None
) -> Spare:
    where = next((each for each in instruments if bucket and _is_of(each, bucket)), None)
    if where is None or bucket is None or profile is None or not bucket.transferable or profile.resale != "allowed":
        return Spare(line, bucket, None, 0)
    spare = rules.spare_mb(profile, remaining_mb=bucket.remaining_mb, base_mb=line.base_mb)
    largest = min(spare, profile.largest_sale_mb or spare)
    return Spare(line, bucket, where, min(largest // where.lot_units, where.maximum_lots))


def _is_of(instrument: InstrumentView, bucket: Bucket) -> bool:
    """Whether the bucket's data is what the instrument trades: same carrier, place, app and month."""
    return (
        instrument.expires_at is not None
        and (instrument.carrier, instrument.scope, instrument.app_scope)
        == (bucket.carrier, bucket.scope, bucket.app_scope)
        and month(instrument.expires_at, "en") == month(bucket.expires_at, "en")
    )


routes: list[ControllerRouterHandler] = [overview, data]
