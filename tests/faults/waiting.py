"""Waiting for something to become true, with an end."""

import asyncio
from collections.abc import Awaitable, Callable

LOOK_SECONDS = 0.02


async def until(look: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Look again and again until it is so; fails when it does not become so in time."""
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(LOOK_SECONDS)
