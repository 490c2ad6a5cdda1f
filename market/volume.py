"""The watch on the volumes that hold the database: what is free there decides what the market still takes."""

import asyncio
import os
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import structlog

from market.rounds import Rounds, beside
from market.storage import Level, Space, Storage, level_of, tell
from market.venue import Venue

log = structlog.get_logger()

LOOK_SECONDS = 1.0


@dataclass
class Watch:
    """Looks at the volumes that the settings name, and says when their level changes."""

    level: Level = "ok"

    async def look(self, venue: Venue) -> None:
        """One round. Where no volume is named, the database is on somebody else's machine, and nobody looks."""
        if not venue.settings.volumes:
            return
        free_percent = await asyncio.to_thread(least_free_percent, venue.settings.volumes)
        level = level_of(free_percent, self.level)

        if level != self.level:
            say = log.warning if level == "ok" else log.error
            say(f"storage_{level}", free_percent=round(free_percent, 1), before=self.level)
        self.level = level
        await tell(venue.redis, Storage(level, round(free_percent, 1)))


def watching(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Look every second, beside whatever else a program does."""
    return beside(venue, Rounds("storage", Watch().look, LOOK_SECONDS))


def least_free_percent(volumes: Iterable[Path]) -> float:
    """What is free on the fullest of them. What the system keeps back for its administrator is not free for us.

    Raises:
        OSError: one of them is not there.
    """
    return min(space_of(volume).free_percent for volume in volumes)


def space_of(volume: Path) -> Space:
    figures = os.statvfs(volume)
    return Space(free=figures.f_bavail * figures.f_frsize, total=figures.f_blocks * figures.f_frsize)
