"""The way back from the bank: what a buyer confirmed there is completed here, under the key that it began with."""

from typing import Any

import msgspec
from litestar import Response, get
from litestar.types import ControllerRouterHandler
from redis.asyncio import Redis

from market import top_ups, trading
from market.parties import Member
from market.refusals import NotFound, Refusal
from market.trading import OrderRequest
from settlement.tables import PaymentRow
from web.edge.paths import Number
from web.edge.sessions import requires_member, signed_in
from web.edge.venue import Venue
from web.pages import way_back
from web.pages.rendering import Page, locale_of, page, see_other
from web.pages.words import said

KEPT_SECONDS = 3_600
"""How long an order waits for the bank's page."""


async def keep(redis: Redis, member: Member, request: OrderRequest, key: str) -> None:
    """Remember an order that its buyer must first confirm at the bank."""
    await redis.set(_name(member, key), msgspec.json.encode(request), ex=KEPT_SECONDS)


@get("/payments/{payment_id:int}/returned", guards=[requires_member])
async def returned(request: Page, venue: Venue, payment_id: Number) -> Response[Any]:
    """Complete what the bank was asked for. Coming back twice changes nothing: the key is the same."""
    member = signed_in(request)
    async with venue.reads() as session:
        row = await session.get(PaymentRow, payment_id)
    if row is None or row.party_id != member.party_id:
        raise NotFound("You have no such payment.")
    try:
        if row.kind == "top_up":
            made = await top_ups.payment_returned(venue, member, payment_id)
            on = await way_back.take(venue.redis, member, payment_id)
            return see_other(on or "/wallet?topped=" + made.status)
        return await _complete(request, venue, member, row.key)
    except Refusal as refusal:
        return page(
            request, "payment.html", status=refusal.status, problem=said(refusal, locale_of(request)), retry=None
        )


async def _complete(request: Page, venue: Venue, member: Member, key: str) -> Response[Any]:
    """Place the order whose card hold was confirmed."""
    kept = await venue.redis.get(_name(member, key))
    if kept is None:
        raise NotFound("This took too long, so the order was not placed. What your card held is released.")
    order = msgspec.json.decode(kept, type=OrderRequest)
    placed = await trading.place(venue, member, order, key)
    if placed.answer is None:
        return page(request, "payment.html", problem=None, retry=placed.action_url)
    return see_other(f"/instruments/{order.symbol}?placed=ord_{placed.answer.order_id}")


def _name(member: Member, key: str) -> str:
    return f"surplusflow:confirming:{member.party_id}:{key}"


routes: list[ControllerRouterHandler] = [returned]
