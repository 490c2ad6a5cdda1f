"""Secrets and certificates that run out: what is known of their ends, told a month before."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import structlog
from cryptography.x509 import load_pem_x509_certificates

from market.rounds import Rounds, beside
from market.settings import Settings
from market.venue import Venue

log = structlog.get_logger()

WARNED = timedelta(days=30)
LOOK_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Expiry:
    """When something of ours that others rely on stops being good. Never the thing itself."""

    name: str
    at: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days; negative once it is over."""
        return (self.at - now) // timedelta(days=1)

    def runs_out(self, now: datetime) -> bool:
        return self.at - now < WARNED


def known(settings: Settings) -> list[Expiry]:
    """The ends that the settings name and those of the certificates that they point at, the soonest first.

    Raises:
        OSError: a certificate can't be read.
        ValueError: a file holds none.
    """
    days = [
        Expiry(name, datetime.combine(day + timedelta(days=1), time(), UTC))
        for name, day in settings.secrets_until.items()
    ]
    return sorted([*days, *(_certificate(path) for path in settings.certificates)], key=lambda each: each.at)


def _certificate(path: Path) -> Expiry:
    """Of a chain, the certificate that ends first counts."""
    ends = [each.not_valid_after_utc for each in load_pem_x509_certificates(path.read_bytes())]
    return Expiry(f"certificate_{path.stem}", min(ends))


def watching(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Say in the log, every hour, what runs out within a month."""
    return beside(venue, Rounds("expiries", look, LOOK_SECONDS))


async def look(venue: Venue) -> int:
    """One round; says how many run out."""
    now = datetime.now(UTC)
    found = [each for each in known(venue.settings) if each.runs_out(now)]
    for each in found:
        log.error("secret_runs_out", secret=each.name, days_left=each.days_left(now))
    return len(found)
