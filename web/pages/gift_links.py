"""Gifts of coins by a link: making one, its page with a code to scan, and claiming it."""

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import segno
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from market import gift_links, wallet
from market.gift_links import GiftLink
from market.refusals import NotFound, Refusal
from web.edge.sessions import present_member, requires_member, signed_in
from web.edge.venue import Venue
from web.i18n import N_
from web.pages.forms import errors_of, read
from web.pages.rendering import Page, locale_of, new_key, page, see_other

HERE = "/gifts"
SHOWN = 20
LONGEST_CODE = 64
MODULE_PIXELS = 6
FIELDS = ("coins",)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The form as it was typed."""

    coins: str = ""
    key: str = field(default_factory=new_key)
    errors: dict[str, str] = field(default_factory=dict)


@get(HERE, guards=[requires_member])
async def index(request: Page, venue: Venue) -> Response[str]:
    return await _index(request, venue)


@post(HERE, guards=[requires_member], status_code=200)
async def make(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    try:
        count = form.whole("coins", N_("Please enter how many coins."))
        link = await gift_links.make(venue, signed_in(request), count, form.key(), datetime.now(UTC))
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), FIELDS)
        entry = Entry(coins=form.text("coins"), key=form.same_key(refusal), errors=errors)
        return await _index(request, venue, status=refusal.status, making=entry)
    return see_other(f"{HERE}/{link.code}")


async def _index(request: Page, venue: Venue, *, status: int = 200, making: Entry | None = None) -> Response[str]:
    member = signed_in(request)
    return page(
        request,
        "gifts.html",
        status=status,
        wallet=await wallet.balances(venue, member),
        links=await gift_links.latest(venue, member, SHOWN),
        making=making or Entry(),
        at=datetime.now(UTC),
    )


@get("/gifts/{code:str}")
async def show(request: Page, venue: Venue, code: FromPath[str]) -> Response[str]:
    """For whoever has the link, signed in or not: the code is all that it takes to see it."""
    await present_member(request)
    return _gift(request, venue, await _found(venue, code))


@post("/gifts/{code:str}", guards=[requires_member], status_code=200)
async def claim(request: Page, venue: Venue, code: FromPath[str]) -> Response[Any]:
    """Once: whoever comes second, or again, is told how it stands."""
    try:
        await gift_links.claim(venue, signed_in(request), code[:LONGEST_CODE], datetime.now(UTC))
    except NotFound:
        raise
    except Refusal as refusal:
        errors = errors_of(refusal, locale_of(request), ())
        return _gift(request, venue, await _found(venue, code), status=refusal.status, errors=errors)
    return see_other(f"{HERE}/{code}")


@get("/gifts/{code:str}/code.svg")
async def picture(venue: Venue, code: FromPath[str]) -> Response[bytes]:
    """The link to scan, as a picture of our own: the content policy lets no page draw one."""
    link = await _found(venue, code)
    drawn = io.BytesIO()
    segno.make_qr(_address(venue, link), error="m").save(drawn, kind="svg", scale=MODULE_PIXELS, light="#fff")
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(drawn.getvalue(), media_type="image/svg+xml", headers=headers)


def _address(venue: Venue, link: GiftLink) -> str:
    return f"{venue.settings.public_url}{HERE}/{link.code}"


async def _found(venue: Venue, code: str) -> GiftLink:
    async with venue.reads() as session:
        return await gift_links.find(session, code[:LONGEST_CODE])


def _gift(
    request: Page, venue: Venue, link: GiftLink, *, status: int = 200, errors: dict[str, str] | None = None
) -> Response[str]:
    return page(
        request,
        "gift.html",
        status=status,
        headers={"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"},
        link=link,
        address=_address(venue, link),
        is_open=link.is_open(datetime.now(UTC)),
        errors=errors or {},
    )


routes: list[ControllerRouterHandler] = [index, make, show, claim, picture]
