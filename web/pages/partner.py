"""A partner's desk: keys for programs, how to buy in bulk, and hand-outs to the partner's own users."""

from dataclasses import dataclass, field
from typing import Any

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from market import parties, partners, views
from market.parties import Member
from market.refusals import Forbidden, Refusal
from web.edge.paths import Number
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import Form, errors_of, queried, read
from web.pages.market import listing
from web.pages.rendering import Page, locale_of, new_key, page, see_other

MOVES = 20
FIELDS = ("name", "phone", "amount_mb", "symbol")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One form as it was typed."""

    name: str = ""
    phone: str = ""
    amount_mb: str = ""
    symbol: str = ""
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)


@get("/partner", guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _page(request, venue, done=queried(request).text("done"))


@post("/partner/keys", guards=[requires_member], status_code=200)
async def issue_key(request: Page, venue: Venue) -> Response[str]:
    """Make a key and show it this once."""
    member, form = _partner(request), await read(request)
    try:
        async with venue.sessions.begin() as session:
            secret = await partners.issue_key(session, member.party_id, form.text("name"))
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), FIELDS)
        entry = Entry(name=form.text("name"), errors=errors)
        return await _page(request, venue, status=refusal.status, issuing=entry)
    return await _page(request, venue, secret=secret)


@post("/partner/keys/{key_id:int}/revoke", guards=[requires_member], status_code=303)
async def revoke_key(request: Page, venue: Venue, key_id: Number) -> Response[None]:
    member = _partner(request)
    async with venue.sessions.begin() as session:
        await partners.revoke_key(session, member.party_id, key_id)
    return see_other("/partner?done=revoked")


@post("/partner/handouts", guards=[requires_member], status_code=200)
async def hand_out(request: Page, venue: Venue) -> Response[Any]:
    member, form = _partner(request), await read(request)
    try:
        amount = form.whole("amount_mb", N_("Please enter how many MB."))
        await partners.hand_out(venue, member, form.text("symbol"), form.text("phone"), amount, form.key())
    except Refusal as refusal:
        return await _page(request, venue, status=refusal.status, handing=_again(request, form, refusal))
    return see_other("/partner?done=handed")


async def _page(
    request: Page,
    venue: Venue,
    *,
    status: int = 200,
    secret: str | None = None,
    done: str = "",
    issuing: Entry | None = None,
    handing: Entry | None = None,
) -> Response[str]:
    member = _partner(request)
    async with venue.reads() as session:
        keys = await views.api_keys(session, member.party_id)
        handouts = await views.handouts(session, member.party_id, MOVES)
        open_orders = await views.orders(session, member.party_id, "open", None, MOVES)
    instruments = await listing(request).read(venue)
    return page(
        request,
        "partner.html",
        block="content",
        status=status,
        member=member,
        keys=keys,
        secret=secret,
        done=done,
        handouts=handouts,
        orders=open_orders,
        lines=await parties.lines(venue, member),
        instruments=[each for each in instruments if each.kind == "data"],
        issuing=issuing or Entry(),
        handing=handing or Entry(),
        public_url=venue.settings.public_url,
    )


def _partner(request: Page) -> Member:
    member = signed_in(request)
    if member.kind != "partner":
        raise Forbidden("This page is for partners.")
    return member


def _again(request: Page, form: Form, refusal: Refusal) -> Entry:
    return Entry(
        phone=form.text("phone"),
        amount_mb=form.text("amount_mb"),
        symbol=form.text("symbol"),
        key=form.same_key(refusal),
        errors=errors_of(refusal, locale_of(request), FIELDS),
    )


routes: list[ControllerRouterHandler] = [index, issue_key, revoke_key, hand_out]
