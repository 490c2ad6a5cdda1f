"""The cards that a member can pay with: those saved at the provider, and a new one on the provider's page."""

from typing import Any

from litestar import Response, post
from litestar.types import ControllerRouterHandler

from market import saved_cards
from market.parties import Member
from settlement.payment_tables import SavedCardRow
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.pages.forms import read
from web.pages.rendering import Page, see_other, wants_fragment
from web.pages.tickets import DEMO_CARDS

BRANDS = {
    "visa": "Visa", "mastercard": "Mastercard", "amex": "American Express", "unionpay": "UnionPay", "jcb": "JCB",
    "discover": "Discover", "diners": "Diners Club",
}  # fmt: skip


async def payable(venue: Venue, member: Member | None) -> dict[str, str]:
    """What a member can pay with at once, by the provider's name for it; in a demonstration also its test cards."""
    saved: dict[str, str] = {}
    if member is not None:
        async with venue.reads() as session:
            saved = {card.id: label(card) for card in await saved_cards.cards(session, member)}
    return saved if venue.settings.is_production else {**saved, **DEMO_CARDS}


def label(card: SavedCardRow) -> str:
    """A card as its owner knows it."""
    name = BRANDS.get(card.brand, card.brand.capitalize())
    return f"{name} ···· {card.last4} · {card.expiry_month:02d}/{card.expiry_year % 100:02d}"


@post("/wallet/cards/forget", guards=[requires_member], status_code=200)
async def forget(request: Page, venue: Venue) -> Response[Any]:
    form = await read(request)
    await saved_cards.forget(venue, signed_in(request), form.text("card"))
    if wants_fragment(request):
        return Response("", media_type="text/html", headers={"HX-Redirect": "/wallet?card=removed"})
    return see_other("/wallet?card=removed")


routes: list[ControllerRouterHandler] = [forget]
