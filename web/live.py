"""The event streams of the pages: one a page, at most four updates a second, the same rendering for all who read it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from market import notices, queue_place, views, wallet
from market.engine.commands import market_channel, party_channel
from market.parties import Member
from market.refusals import Unavailable
from market.views import InstrumentView
from web.edge.sessions import present_member, requires_member, signed_in
from web.edge.venue import Venue
from web.hub import MOST_STREAMS, Hub, Subject, hub_of
from web.live_market import Market, message, partial, position_of
from web.pages.instrument import own_orders
from web.pages.rendering import Page, locale_of, render

PACE_SECONDS = 0.25
BEAT_SECONDS = 15.0
LIFE_SECONDS = 1_800.0
"""Then the page connects again, and whoever has signed out meanwhile is a stranger."""
CONNECT_SECONDS = 3.0
OWN_SECONDS = 2.0
"""How often a member's place in the queue is read again while others move the book."""

BEAT = b": ping\r\nevent: beat\r\ndata:\r\n\r\n"
CHANGED = b"event: changed\r\ndata:\r\n\r\n"
FAREWELL = b"event: drain\r\nretry: 1000\r\ndata:\r\n\r\n"


@get("/instruments/{symbol:str}/stream")
async def instrument_stream(request: Page, venue: Venue, symbol: FromPath[str]) -> Response[bytes] | Stream:
    """Book, tape and headline of one instrument, and for a member their orders there and their wallet."""
    member = await present_member(request)
    async with venue.reads() as session:
        view = await views.instrument(session, symbol)
    return await _opened(_Reader(request, venue, member, view))


@get("/stream", guards=[requires_member])
async def member_stream(request: Page, venue: Venue) -> Response[bytes] | Stream:
    """A word to the page whenever something of the member's has changed; the page then asks for its own part again."""
    return await _opened(_Reader(request, venue, signed_in(request), None))


@dataclass
class _Reader:
    """One open page."""

    request: Page
    venue: Venue
    member: Member | None
    view: InstrumentView | None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _unread: int = -1
    _seen: int = 0
    _rests_at: float | None = None
    """When the member's orders in this book were last read; none while there are none."""

    @property
    def drain(self) -> asyncio.Event:
        event: asyncio.Event = self.request.app.state.drain
        return event

    async def frames(self, hub: Hub) -> AsyncIterator[bytes]:
        async with AsyncExitStack() as stack:
            market, party = None, None
            if self.view is not None:
                channel, symbol = market_channel(self.view.id), self.view.symbol
                static = self.request.app.state.static.url
                make = lambda: Market(venue=self.venue, symbol=symbol, static=static)  # noqa: E731 - read once, at the next line
                market = await stack.enter_async_context(hub.following(channel, make, self.wake))
            if self.member is not None:
                channel = party_channel(self.member.party_id)
                party = await stack.enter_async_context(hub.following(channel, Subject, self.wake))
            async for frame in self._changes(hub, market, party):
                yield frame

    async def _changes(self, hub: Hub, market: Market | None, party: Subject | None) -> AsyncIterator[bytes]:
        ends_at = time.monotonic() + LIFE_SECONDS
        shown, told = 0, 0
        if not await hub.connected(CONNECT_SECONDS):
            return
        losses = hub.losses
        yield BEAT
        known = position_of(self.request.headers.get("last-event-id", ""))
        if market is not None:
            await market.catch_up(known)
        while time.monotonic() < ends_at and hub.losses == losses and not self.drain.is_set():
            self.wake.clear()
            parts = b""
            if market is not None and market.view is not None and market.version != shown:
                shown = market.version
                parts += b"" if known == market.position else market.frame(locale_of(self.request))
                known = (0, 0)
            if party is not None and (party.version != told or self._place_may_have_changed(shown)):
                is_news = party.version != told
                told = party.version
                parts += await self._own(shown, is_news=is_news)
            if parts:
                yield parts
                await self._wait(self.drain, PACE_SECONDS)
            elif not await self._wait(self.wake, self._patience(market)):
                yield BEAT
            if market is not None:
                await market.refresh()
        if self.drain.is_set():
            yield FAREWELL

    def _patience(self, market: Market | None) -> float:
        """How long to wait for news: until the next beat, or until something is worth reading again."""
        due = [BEAT_SECONDS]
        if market is not None and market.view is not None:
            due.append(market.fresh_for())
        if self._rests_at is not None:
            due.append(self._rests_at + OWN_SECONDS - time.monotonic())
        return max(0.05, min(due))

    def _place_may_have_changed(self, shown: int) -> bool:
        """Whether the book moved since the member's orders in it were last looked at, and a while ago."""
        return self._rests_at is not None and shown != self._seen and time.monotonic() > self._rests_at + OWN_SECONDS

    async def _own(self, shown: int, *, is_news: bool) -> bytes:
        """The member's parts, read and let go of before anything is sent."""
        assert self.member is not None
        async with self.venue.reads() as session:
            unread = await notices.unread(session, self.member.party_id) if is_news else self._unread
            mine = [] if self.view is None else await own_orders(session, self.member, self.view.id)
            places = await queue_place.of(session, [order.id for order in mine])
        self._seen, self._rests_at = shown, time.monotonic() if mine else None
        parts = b""
        if self.view is not None:
            parts += await self._mine(mine, places)
        if unread != self._unread:
            self._unread = unread
            parts += message(partial("bell", self._render("bell.html", news=unread)))
        return parts + (CHANGED if is_news else b"")

    async def _mine(self, mine: list[views.OrderView], places: dict[int, queue_place.QueuePlace]) -> bytes:
        assert self.member is not None
        held = await wallet.balances(self.venue, self.member)
        html = self._render(
            "instrument.html", block="mine", member=self.member, mine=mine, queue_places=places, wallet=held
        )
        return message(partial("mine", html))

    def _render(self, template: str, **context: Any) -> str:
        return render(template, locale=locale_of(self.request), request=self.request, **context)

    async def _wait(self, event: asyncio.Event, seconds: float) -> bool:
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        return True


async def _opened(reader: _Reader) -> Stream:
    hub = hub_of(reader.request.app.state, reader.venue)
    if hub.readers >= MOST_STREAMS or reader.drain.is_set():
        raise Unavailable("Too many pages are open just now. This one is not live.")
    return Stream(
        reader.frames(hub),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


routes: list[ControllerRouterHandler] = [instrument_stream, member_stream]
