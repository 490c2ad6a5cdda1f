"""The autopilot: what it may do on a line, what it will do next, what it did, and the switch that stops it at once."""

import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import autopilot, buying_easily, parties
from market.autopilot_rounds import finish, outlook
from market.autopilot_rule import Wish
from market.autopilot_tables import AutopilotRow
from market.forecast import told_mb
from market.parties import Line
from market.refusals import BadInput, NotFound, Refusal
from market.selling_spare import MB_PER_GB
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_, plain
from web.pages.forms import Form, errors_of, number_of, queried, read
from web.pages.market import listing
from web.pages.rendering import Page, locale_of, page, see_other

HERE = "/autopilot"
A_PAGE = 20
LOT_MB = 100
FIELDS = ("sells", "sell_down_to", "buy_up_to", "floor", "cap")
SELL_DOWN_TO_MB, BUY_UP_TO_MB = 1_000, 500
FLOOR_PERCENT, CAP_PERCENT = 60, 90
"""What is proposed: of the carrier's own price, and of the usual price here."""
MOST_DIGITS = 7


@dataclass(frozen=True, kw_only=True)
class Entered:
    """The form as it is shown: texts as they were typed, amounts in MB, prices per GB."""

    sells: bool = True
    buys: bool = False
    sell_down_to: str = str(SELL_DOWN_TO_MB)
    buy_up_to: str = str(BUY_UP_TO_MB)
    floor: str = ""
    cap: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, queried(request))


@get(f"{HERE}/next", guards=[requires_member])
async def following(request: Page, venue: Venue) -> Response[str]:
    """What it would do now. The carrier is asked, so the page itself does not wait for it."""
    member, form = signed_in(request), queried(request)
    async with venue.reads() as session:
        settings = await autopilot.settings_of(session, member)
    row = next((each for each in settings if each.line_id == form.optional_id("line_id")), None)
    if row is None:
        raise NotFound("The autopilot was never on for this line.")
    found = await outlook(venue, member, row, datetime.now(UTC))
    return page(
        request,
        "autopilot_next.html",
        block="next",
        row=row,
        found=found,
        about=told_mb,
        per_gb=_per_gb,
        currency=venue.settings.currency,
    )


@post(HERE, guards=[requires_member], status_code=200)
async def save(request: Page, venue: Venue) -> Response[Any]:
    """Switch it on by these limits, or change them."""
    member, form = signed_in(request), await read(request)
    try:
        wish = Wish(
            sells=form.text("sells") == "yes",
            buys=form.text("buys") == "yes",
            sell_down_to_mb=_mb(form, "sell_down_to"),
            buy_up_to_mb=_mb(form, "buy_up_to"),
            floor_minor=-(-_gb_price(form, "floor", venue) * LOT_MB // MB_PER_GB),
            cap_minor=_gb_price(form, "cap", venue) * LOT_MB // MB_PER_GB,
        )
        await autopilot.switch_on(venue, member, form.optional_id("line_id") or 0, wish, datetime.now(UTC))
    except Refusal as refusal:
        entered = Entered(
            sells=form.text("sells") == "yes",
            buys=form.text("buys") == "yes",
            **{name: form.text(name) for name in ("sell_down_to", "buy_up_to", "floor", "cap")},
            errors=errors_of(refusal, locale_of(request), FIELDS),
        )
        return await _page(request, venue, form, entered, status=refusal.status)
    return see_other(f"{HERE}?line_id={form.text('line_id')}")


@post(f"{HERE}/switch", guards=[requires_member], status_code=200)
async def switch(request: Page, venue: Venue) -> Response[Any]:
    """Pause it, let it go on, or switch it off. What it has in the market is cancelled before this answers."""
    member, form, now = signed_in(request), await read(request), datetime.now(UTC)
    state: Any = form.text("state")
    if state not in {"on", "paused", "off"}:
        raise BadInput("Choose on, pause or off.", field="state")
    ending = await autopilot.switch(venue, member, form.optional_id("line_id") or 0, state, now)
    await finish(venue, ending, now)
    return see_other(f"{HERE}?line_id={form.text('line_id')}")


async def _page(
    request: Page, venue: Venue, form: Form, entered: Entered | None = None, *, status: int = 200
) -> Response[str]:
    member = signed_in(request)
    own = await parties.lines(venue, member)
    line = next((each for each in own if each.id == form.optional_id("line_id")), own[0] if own else None)
    async with venue.reads() as session:
        settings = await autopilot.settings_of(session, member)
        row = next((each for each in settings if line is not None and each.line_id == line.id), None)
        before = number_of(form.text("before"), "act")
        log = [] if line is None else await autopilot.log_of(session, member, line.id, before, A_PAGE + 1)
        standing = [] if line is None else await autopilot.standing(session, member.party_id, line.id)
    return page(
        request,
        "autopilot.html",
        status=status,
        lines=own,
        line=line,
        row=row,
        entered=entered or await _entered(request, venue, line, row),
        log=log[:A_PAGE],
        older=f"act_{log[A_PAGE - 1].id}" if len(log) > A_PAGE else None,
        standing=standing,
        per_gb=_per_gb,
        currency=venue.settings.currency,
    )


async def _entered(request: Page, venue: Venue, line: Line | None, row: AutopilotRow | None) -> Entered:
    """The setting as it is; for a line without one a proposal by what its carrier and the market ask now."""
    currency = venue.settings.currency
    if row is not None:
        return Entered(
            sells=row.sells,
            buys=row.buys,
            sell_down_to=str(row.sell_down_to_mb),
            buy_up_to=str(row.buy_up_to_mb),
            floor=plain(_per_gb(row.floor_minor), currency),
            cap=plain(_per_gb(row.cap_minor), currency),
        )
    instruments = await listing(request).read(venue)
    fitting = buying_easily.market_for(line.carrier, instruments, datetime.now(UTC)) if line is not None else []
    if not fitting:
        return Entered()
    view = fitting[0]
    return Entered(
        floor=plain(_per_gb(view.reference_minor * FLOOR_PERCENT // 100), currency),
        cap=plain(_per_gb(view.ceiling_minor * CAP_PERCENT // 100), currency),
    )


def _per_gb(price_minor: int) -> int:
    return price_minor * MB_PER_GB // LOT_MB


def _gb_price(form: Form, name: str, venue: Venue) -> int:
    return form.amount(name, venue.settings.currency, N_("Please enter a price."))


def _mb(form: Form, name: str) -> int:
    """A whole number of MB, 0 included.

    Raises:
        BadInput: it is none.
    """
    text = unicodedata.normalize("NFKC", form.text(name)).replace(",", "")
    if not (text.isascii() and text.isdigit()) or len(text) > MOST_DIGITS:
        raise BadInput("Please enter a whole number of MB.", field=name)
    return int(text)


routes: list[ControllerRouterHandler] = [index, following, save, switch]
