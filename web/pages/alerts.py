"""What a member wants to be told of: prices, usage and expiry; and when the phone stays silent."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import alerts, views
from market.alerts import Setting
from market.refusals import BadInput, Refusal
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import Form, errors_of, queried, read
from web.pages.rendering import Page, locale_of, page, see_other

HERE = "/alerts"
HOURS = range(24)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The form of a price alert as it was typed."""

    symbol: str = ""
    direction: str = "falls"
    price: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    """A link may bring the symbol."""
    return await _page(request, venue, wish=Wish(symbol=queried(request).text("symbol")))


@post(HERE, guards=[requires_member], status_code=200)
async def wait_for(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    symbol, direction = form.text("symbol"), form.text("direction")
    try:
        price = form.amount("price", venue.settings.currency, N_("Please enter a price."))
        async with venue.sessions.begin() as session:
            await alerts.wait_for(session, signed_in(request), symbol, direction, price)
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("symbol", "direction", "price"))
        wish = Wish(symbol=symbol, direction=direction, price=form.text("price"), errors=errors)
        return await _page(request, venue, status=refusal.status, wish=wish)
    return see_other(HERE)


@post(HERE + "/{alert_id:int}/remove", guards=[requires_member], status_code=200)
async def remove(request: Page, venue: Venue, alert_id: FromPath[int]) -> Response[Any]:
    async with venue.sessions.begin() as session:
        await alerts.remove(session, signed_in(request), alert_id)
    return see_other(HERE)


@post(HERE + "/setting", guards=[requires_member], status_code=200)
async def change(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        wanted = Setting(
            form.text("usage") == "yes",
            form.text("expiry") == "yes",
            form.text("texts") == "yes",
            _hour(form, "quiet_from"),
            _hour(form, "quiet_until"),
        )
        async with venue.sessions.begin() as session:
            await alerts.change(session, signed_in(request), wanted)
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("quiet_from", "quiet_until"))
        return await _page(request, venue, status=refusal.status, wish=Wish(errors=errors))
    return see_other(HERE + "?saved=yes")


def _hour(form: Form, name: str) -> int:
    hour = form.optional_id(name)
    if hour is None:
        raise BadInput("Please choose an hour from 0 to 23.", field=name)
    return hour


async def _page(request: Page, venue: Venue, *, wish: Wish, status: int = 200) -> Response[str]:
    member = signed_in(request)
    async with venue.reads() as session:
        setting = await alerts.setting_of(session, member.party_id)
        waiting = await alerts.waiting(session, member.party_id)
        instruments = await views.instruments(session, datetime.now(UTC))
    return page(
        request,
        "alerts.html",
        status=status,
        setting=setting,
        waiting=waiting,
        instruments=instruments,
        hours=HOURS,
        wish=wish,
        saved=queried(request).text("saved") == "yes",
    )


routes: list[ControllerRouterHandler] = [index, wait_for, remove, change]
