"""Waiting for whichever comes first, and for the end of what goes on."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

AGAIN_SECONDS = 0.5


async def first(*waits: Coroutine[Any, Any, Any], timeout_seconds: float | None = None) -> None:
    """Wait until one of these is over, or the time is, and let the others go."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: one that waits in a library may lose a cancellation there, and go on."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
