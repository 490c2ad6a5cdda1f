"""Renewing orders: what still stands gets more time in its place, what has ended is placed again on the same terms."""

import hashlib
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market import trading, views
from market.engine.commands import RenewOrder
from market.engine.times import microseconds
from market.keys import check_key
from market.parties import Member
from market.refusals import NotAllowed
from market.rounds import Rounds, beside
from market.trading import Falling, OrderRequest, Placed
from market.venue import Venue
from market.views import OrderView

STANDS = timedelta(hours=24)
"""How much longer a renewed order stands."""
WARNED_BEFORE = timedelta(hours=1)
LOOK_SECONDS = 30.0
MINUTE_US = 60_000_000
ENDING = ("gtd", "day")
"""Times in force that end before their market does."""
RESTING = ("gtc", "gtd", "day")

_WARN = text("""
    insert into notice (party_id, kind, about, facts, once)
    select o.party_id, 'order_ending', '/orders#order-' || o.id,
        jsonb_build_object('order', 'ord_' || o.id, 'ends_at', to_char(o.expires_at at time zone 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')),
        'ending-' || o.id || '-' || extract(epoch from o.expires_at)::bigint
    from open_order o join instrument i on i.id = o.instrument_id
    where o.expires_at > :now and o.expires_at <= :until and o.expires_at < i.closes_at
        and o.created_at < o.expires_at - cast(:before as interval)
    on conflict do nothing
""")


def can_be_renewed(order: OrderView, now: datetime) -> bool:
    """Whether renewing an order may come to anything: it ends by itself, or has ended with a part not traded."""
    if order.closes_at is None or order.closes_at <= now or order.payment_id is not None:
        return False
    if order.state == "open":
        return order.time_in_force in ENDING and order.expires_at is not None and order.expires_at < order.closes_at
    return order.state == "cancelled" and request_of(order, now) is not None


def is_ending(order: OrderView, now: datetime) -> bool:
    """Whether an order ends so soon that its owner should decide."""
    return order.state == "open" and order.expires_at is not None and order.expires_at - now <= WARNED_BEFORE


async def renew(venue: Venue, member: Member, order_id: int, key: str, version: int | None = None) -> Placed:
    """Let an order stand for another day, or place again what an ended one left untraded.

    The market's close is the latest end. An order that stands keeps its place in the queue.

    Raises:
        NotFound: there is no such order of this member.
        Conflict: it has ended, or has changed since ``version``.
        NotAllowed: a rule stands against it; nothing was changed.
        OutcomeUnknown: ask again with the same key.
    """
    check_key(key)
    now = datetime.now(UTC)
    async with venue.sessions() as session:
        order = await views.order(session, member.party_id, order_id)
    if order.state == "open":
        until = _until(order, now)
        if until is None:
            raise NotAllowed("This order stands until its market closes.", code="expiry_unexpected")
        body_hash = hashlib.sha256(repr(("renew", order_id, version)).encode()).digest()
        command = RenewOrder(
            member.party_id, key, body_hash, order.instrument_id, order_id, microseconds(until), version
        )
        return Placed(await trading.send(venue, command))
    request = request_of(order, now)
    if request is None:
        raise NotAllowed("This order can't be placed again as it was. Please place a new one.", code="not_renewable")
    return await trading.place(venue, member, request, key)


def request_of(order: OrderView, now: datetime) -> OrderRequest | None:
    """An ended order as it would be placed again, for what it left untraded; none when it can't be."""
    left, traits = order.quantity - order.filled, order.traits
    if left <= 0 or order.market or order.time_in_force not in RESTING or order.payment_id is not None:
        return None
    if traits is not None and traits.linked_to is not None:
        return None
    pegged = traits is not None and traits.peg_offset is not None
    decay = None if traits is None else traits.decay
    if decay is not None and order.price_minor <= decay.floor:
        decay = None
    return OrderRequest(
        symbol=order.symbol,
        side="sell" if order.side == "sell" else "buy",
        lots=left,
        price_minor=None if pegged else order.price_minor,
        time_in_force=order.time_in_force,  # type: ignore[arg-type]  # it was one of them when it was placed
        expires_at=_until(order, now) if order.time_in_force == "gtd" else None,
        post_only=order.post_only,
        line_id=order.line_id,
        stop_minor=traits.stop_price if traits is not None and traits.armed else None,
        display_lots=traits.display if traits is not None and traits.display is not None and traits.display < left
        else None,
        minimum_lots=min(traits.minimum, left) if traits is not None and traits.minimum is not None else None,
        all_or_none=traits is not None and traits.all_or_none,
        peg_offset_minor=traits.peg_offset if traits is not None else None,
        decay=None if decay is None else Falling(
            floor_minor=decay.floor, step_minor=decay.step, every_minutes=max(1, decay.every_us // MINUTE_US)
        ),
        self_trade=order.self_trade,  # type: ignore[arg-type]  # the same
    )  # fmt: skip


def _until(order: OrderView, now: datetime) -> datetime | None:
    """A day from now to the full hour, so that the same form sent twice says the same; none when it has no end."""
    if order.time_in_force not in ENDING or order.closes_at is None:
        return None
    full_hour = (now + STANDS).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return min(full_hour, order.closes_at)


async def warn(session: AsyncSession, now: datetime) -> None:
    """Tell the owners of orders that end within the hour, once for each end. The caller commits.

    What was placed for less than the hour needs no warning, nor what ends with its market.
    """
    values = {"now": now, "until": now + WARNED_BEFORE, "before": WARNED_BEFORE}
    await session.execute(_WARN, values)


async def _look(venue: Venue) -> None:
    async with venue.sessions.begin() as session:
        await warn(session, datetime.now(UTC))


def warning(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Warn beside whatever else a program does."""
    return beside(venue, Rounds("orders that end soon", _look, LOOK_SECONDS))
