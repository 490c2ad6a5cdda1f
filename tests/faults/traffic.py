"""How many requests are on their way, and how many were answered: what a fault has to be timed by."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

KNOWING_SECONDS = 60
"""No request may stay open for longer, whatever has died."""


@dataclass
class Traffic:
    """Counts for one crowd of clients."""

    in_flight: int = 0
    answered: int = 0
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def heard_one(self) -> None:
        self.answered += 1
        self._heard.set()

    async def hear(self, answers: int = 1) -> None:
        """Wait until so many more answers have come; it returns with the very message that brought the last."""
        wanted = self.answered + answers
        async with asyncio.timeout(KNOWING_SECONDS):
            while self.answered < wanted:
                self._heard.clear()
                await self._heard.wait()
