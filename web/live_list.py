"""The event stream of the market's list: a word whenever something that it shows has moved, and the member's bell.

The page then asks for its own rows, with the filters that it has. All pages of a process share the reading of the list.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import structlog
from litestar import Response, get
from litestar.response import Stream
from litestar.types import ControllerRouterHandler
from sqlalchemy.exc import SQLAlchemyError

from market import notices
from market.engine.commands import party_channel
from market.parties import Member
from market.refusals import Unavailable
from web.edge.sessions import present_member
from web.edge.venue import Venue
from web.hub import MOST_STREAMS, Hub, Subject, hub_of
from web.live import BEAT, BEAT_SECONDS, CONNECT_SECONDS, FAREWELL, LIFE_SECONDS
from web.live_market import message, partial
from web.pages.market import FRESH_SECONDS, Listing, listing
from web.pages.rendering import Page, locale_of, render

logger = structlog.get_logger("surplusflow.live")


@get("/market/stream")
async def list_stream(request: Page, venue: Venue) -> Response[bytes] | Stream:
    """For anybody; a member also hears of new notices."""
    member, hub = await present_member(request), hub_of(request.app.state, venue)
    reader = Reader(request, venue, member, listing(request))
    if hub.readers + reader.listing.readers >= MOST_STREAMS or reader.drain.is_set():
        raise Unavailable("Too many pages are open just now. This one is not live.")
    return Stream(
        reader.frames(hub),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@dataclass
class Reader:
    """One open page of the list."""

    request: Page
    venue: Venue
    member: Member | None
    listing: Listing
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def drain(self) -> asyncio.Event:
        event: asyncio.Event = self.request.app.state.drain
        return event

    async def frames(self, hub: Hub) -> AsyncIterator[bytes]:
        self.listing.readers += 1
        try:
            async with AsyncExitStack() as stack:
                party = None
                if self.member is not None:
                    channel = party_channel(self.member.party_id)
                    party = await stack.enter_async_context(hub.following(channel, Subject, self.wake))
                    if not await hub.connected(CONNECT_SECONDS):
                        return
                async for frame in self._changes(hub, party):
                    yield frame
        except (SQLAlchemyError, OSError) as error:
            logger.warning("list_not_read", error=type(error).__name__)
        finally:
            self.listing.readers -= 1

    async def _changes(self, hub: Hub, party: Subject | None) -> AsyncIterator[bytes]:
        ends_at, losses = time.monotonic() + LIFE_SECONDS, hub.losses
        known = self.request.headers.get("last-event-id") or self.request.query_params.get("mark", "")
        told, shown, spoke_at = 0, known, time.monotonic()
        yield BEAT
        while time.monotonic() < ends_at and not self.drain.is_set() and (party is None or hub.losses == losses):
            self.wake.clear()
            parts = b""
            if party is not None and party.version != told:
                told = party.version
                parts += await self._bell()
            await self.listing.read(self.venue)
            if self.listing.mark != shown:
                shown = self.listing.mark
                parts += message(shown, event="moved", name=shown)
            if not parts and time.monotonic() - spoke_at > BEAT_SECONDS:
                parts = BEAT
            if parts:
                spoke_at = time.monotonic()
                yield parts
            await self._rest()
        if self.drain.is_set():
            yield FAREWELL

    async def _bell(self) -> bytes:
        assert self.member is not None
        async with self.venue.reads() as session:
            unread = await notices.unread(session, self.member.party_id)
        html = render("bell.html", locale=locale_of(self.request), request=self.request, news=unread)
        return message(partial("bell", html))

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self.wake.wait(), FRESH_SECONDS)
        except TimeoutError:
            return


routes: list[ControllerRouterHandler] = [list_stream]
