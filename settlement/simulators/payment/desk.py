"""One request's view of the provider: who asks, at what time, with which parameters, in which transaction."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from settlement.simulators.payment.form import Form
from settlement.simulators.payment.store import Store

if TYPE_CHECKING:
    from settlement.simulators.payment.store import Connection

PLATFORM = "acct_1Platform0Surplusflow"
"""The account that owns the API keys."""

API_VERSION = "2026-10-28.endive"


@dataclass(frozen=True)
class Settings:
    hold_seconds: int = 7 * 86_400
    settle_seconds: int = 0
    """How long charged money stays pending before it can be moved."""
    fee_basis_points: int = 0
    """The provider's share of each charge, in hundredths of a percent, rounded up to a minor unit."""
    dispute_fee_minor: int = 1_500
    payout_step_seconds: int = 2
    """From pending to in transit, and from there to the end."""
    refund_step_seconds: int = 2
    link_seconds: int = 300
    webhook_timeout_seconds: int = 10
    webhook_retry_seconds: tuple[int, ...] = (2, 5, 15, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400)
    hang_seconds: int = 120
    """How long a request waits whose answer is lost by a fault."""
    public_url: str | None = None
    """Where a browser finds the hosted pages; None is the address that the request came to."""


@dataclass
class Call:
    connection: "Connection"
    settings: Settings
    now: int
    account: str
    base_url: str
    form: Form = field(default_factory=lambda: Form({}))
    path: dict[str, str] = field(default_factory=dict)
    request_id: str | None = None
    key: str | None = None
    has_events: bool = False


class Desk:
    """What all requests share. One process serves one database, so its clock is kept in memory too."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.on_events: Callable[[], None] = lambda: None
        self._offset_seconds: int | None = None

    @asynccontextmanager
    async def open(self, account: str = PLATFORM, base_url: str = "") -> AsyncIterator[Call]:
        """A call inside one transaction: everything it does is kept, or nothing."""
        async with self.store.transaction() as connection:
            if self._offset_seconds is None:
                stored = await connection.fetchval("SELECT value FROM state WHERE name = 'clock'")
                self._offset_seconds = int(stored or 0)
            now = int(time.time()) + self._offset_seconds
            call = Call(connection, self.settings, now, account, self.settings.public_url or base_url)
            yield call
        if call.has_events:
            self.on_events()

    async def advance(self, seconds: int) -> int:
        """Move the provider's clock forward for good; returns the new time."""
        async with self.open() as call:
            offset = (self._offset_seconds or 0) + seconds
            await call.connection.execute(
                "INSERT INTO state VALUES ('clock', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value", offset
            )
        self._offset_seconds = offset
        return call.now + seconds
