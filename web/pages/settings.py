"""A member's settings: language and colours, sessions, the real name, what they may trade, and their data."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from market import audit, erasing, own_data, passkeys, real_name, trust
from market import signed_in as sittings
from market.allowances import Level
from market.erasing import StillOpen
from market.refusals import Refusal
from web.edge.sessions import IDLE_SECONDS, end_other_sessions, own_sitting, requires_member, sign_out, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import errors_of, read
from web.pages.rendering import Page, locale_of, page, see_other

HERE = "/settings"
REASONS_TO_STAY = {
    "orders": N_("You have open orders. Cancel them first."),
    "money": N_("There is still money in your wallet, or owed. Withdraw it or pay it first."),
    "goods": N_("You still have coins, or data that is set aside. Sell or give them away first."),
    "trades": N_("A trade of yours is still being delivered. Wait until it has ended."),
    "payouts": N_("A withdrawal is still on its way to your bank. Wait until it has arrived."),
    "payments": N_("A payment of yours is still being made. Wait until it has ended."),
    "cases": N_("A dispute about a trade of yours is open. Wait until it is decided."),
    "household": N_("You belong to a household. Leave it first."),
}
"""What keeps an account, by the name that `market.erasing` has for it."""


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue)


@post(HERE + "/name", guards=[requires_member], status_code=200)
async def check_name(request: Page, venue: Venue) -> Response[Any]:
    """Have the carrier compare name and document with its records. Neither is kept, nor shown again."""
    form = await read(request)
    try:
        await real_name.check_name(venue, signed_in(request), form.text("name"), form.text("document"))
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ("name", "document"))
        return await _page(request, venue, status=refusal.status, naming=errors, typed_name=form.text("name"))
    return see_other(HERE + "#name")


@get(HERE + "/sessions", guards=[requires_member])
async def sessions(request: Page, venue: Venue) -> Response[str]:
    owner = audit.party(signed_in(request).party_id)
    found = await sittings.sittings(venue.redis, owner, IDLE_SECONDS)
    return page(request, "sittings.html", sittings=found, own=own_sitting(request))


@post(HERE + "/sessions/{name:str}/end", guards=[requires_member], status_code=303)
async def end_session(request: Page, venue: Venue, name: FromPath[str]) -> Response[None]:
    await sittings.end_sitting(venue.redis, audit.party(signed_in(request).party_id), name)
    return see_other(HERE + "/sessions")


@post(HERE + "/sessions/end-others", guards=[requires_member], status_code=303)
async def end_others(request: Page) -> Response[None]:
    await end_other_sessions(request)
    return see_other(HERE + "/sessions")


@post(HERE + "/sessions/sign-out", guards=[requires_member], status_code=303)
async def end_all(request: Page, venue: Venue) -> Response[None]:
    await sittings.sign_out_everywhere(venue.redis, audit.party(signed_in(request).party_id))
    sign_out(request)
    return see_other("/sign-in")


@post(HERE + "/export", guards=[requires_member], status_code=200)
async def export(request: Page, venue: Venue) -> Response[Any]:
    """Everything about the member as one file, written while it is read."""
    try:
        document = await own_data.export(venue, signed_in(request))
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, exporting=_above(request, refusal))
    headers = {"Content-Disposition": 'attachment; filename="surplusflow.json"'}
    return Stream(document, media_type="application/json", headers=headers)


@get(HERE + "/delete", guards=[requires_member])
async def ask_to_delete(request: Page, venue: Venue) -> Response[str]:
    return await _deletion(request, venue)


@post(HERE + "/delete", guards=[requires_member], status_code=200)
async def delete(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    if form.text("sure") != "yes":
        return await _deletion(request, venue)
    try:
        await erasing.erase(venue, signed_in(request))
    except Refusal as refusal:
        errors = {} if isinstance(refusal, StillOpen) else _above(request, refusal)
        return await _deletion(request, venue, status=refusal.status, errors=errors)
    sign_out(request)
    return see_other("/sign-in")


async def _deletion(
    request: Page, venue: Venue, *, status: int = 200, errors: dict[str, str] | None = None
) -> Response[str]:
    """What deleting means, or what has to end before."""
    async with venue.reads() as session:
        found = await erasing.reasons_to_stay(session, signed_in(request).party_id)
    reasons = [REASONS_TO_STAY[name] for name in found]
    return page(request, "delete_account.html", status=status, reasons=reasons, errors=errors or {})


async def _page(
    request: Page,
    venue: Venue,
    *,
    status: int = 200,
    naming: dict[str, str] | None = None,
    typed_name: str = "",
    exporting: dict[str, str] | None = None,
) -> Response[str]:
    member = signed_in(request)
    async with venue.reads() as session:
        known = await trust.trust_of(session, venue.settings, member)
        own = await passkeys.passkeys(session, member)
    return page(
        request,
        "settings.html",
        status=status,
        trust=known,
        is_named=known.level >= Level.DOCUMENT,
        passkeys=own,
        currency=venue.settings.currency,
        is_demo=not venue.settings.is_production,
        naming=naming or {},
        typed_name=typed_name,
        exporting=exporting or {},
    )


def _above(request: Page, refusal: Refusal) -> dict[str, str]:
    return errors_of(refusal, locale_of(request), ())


routes: list[ControllerRouterHandler] = [
    index, check_name, sessions, end_session, end_others, end_all, export, ask_to_delete, delete,
]  # fmt: skip
