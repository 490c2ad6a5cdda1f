"""Every token and every shared part in all its states, for whoever makes a page; it shows nothing of anybody's."""

from datetime import UTC, datetime
from types import SimpleNamespace

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from market.refusals import Forbidden, NotFound, TooMany
from web import design
from web.edge.sessions import present_member, present_officer
from web.pages import words
from web.pages.rendering import Page, locale_of, page
from web.pages.words import said

CURRENCY = "CNY"
AT = datetime(2026, 11, 24, 3, 15, 7, tzinfo=UTC)
LONG_NAME = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch · 内蒙古自治区呼伦贝尔市莫力达瓦达斡尔族自治旗"
ORDERS = [SimpleNamespace(state=state, filled=filled) for state in words.ORDER_STATES for filled in (0, 3)]
REFUSALS = (
    NotFound("There is nothing at this address."),
    Forbidden("Only an officer may see this page."),
    TooMany("That was too often. Please wait a moment."),
)


@get("/styleguide")
async def show(request: Page) -> Response[str]:
    await present_member(request) or await present_officer(request)
    locale = locale_of(request)
    return page(
        request,
        "styleguide.html",
        text_sizes=design.sizes("text"),
        spaces=design.sizes("space"),
        contrasts=design.contrasts(),
        orders=ORDERS,
        deliveries=words.DELIVERIES,
        market_states=words.MARKET_STATES,
        steps=words.STEPS,
        problems=[(refusal.status, said(refusal, locale)) for refusal in REFUSALS],
        errors={"amount": said(NotFound("Please enter an amount above zero."), locale)},
        currency=CURRENCY,
        at=AT,
        long_name=LONG_NAME,
    )


routes: list[ControllerRouterHandler] = [show]
