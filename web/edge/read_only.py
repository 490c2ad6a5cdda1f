"""A market that can only be read: while its storage is full, nothing that would be kept is taken."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from market.storage import ShortOfStorage, Storage
from market.venue import Venue

READING = {"GET", "HEAD", "OPTIONS"}
STILL_TAKEN = ("/webhooks/", "/preferences", "/sign-out", "/officer")
"""What settlement waits for to finish what is open, what lies in the visitor's own browser, and those who can help."""


def storage_of(request: ASGIConnection[Any, Any, Any, Any]) -> Storage:
    """What this process has heard last of the database's storage."""
    venue: Venue | None = request.app.state.get("venue")
    return Storage() if venue is None else venue.gateway.storage


async def refuse_when_full(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Stand before every route: guards add up, where other hooks of a router take the place of the application's.

    Raises:
        ShortOfStorage: something was to be kept, and there is no room for it.
    """
    if connection.scope.get("method") in READING or connection.scope["path"].startswith(STILL_TAKEN):
        return
    if storage_of(connection).is_full:
        raise ShortOfStorage(
            "The market can only be read just now: its storage is full. What was traded is still delivered and paid."
            " Try again in a few minutes."
        )
