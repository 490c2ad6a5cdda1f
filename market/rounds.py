"""Work that a program does again and again beside its own, whatever goes wrong in one round."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from market.refusals import Refusal
from market.venue import Venue
from settlement.waiting import end

log = structlog.get_logger()

PASSING = (SQLAlchemyError, asyncpg.PostgresError, RedisError, OSError, Refusal)
"""What may be better by the next round."""


@dataclass(frozen=True)
class Rounds:
    """One kind of work, and how long it rests after each round. ``name`` is what the log calls it."""

    name: str
    work: Callable[[Venue], Awaitable[object]]
    seconds: float


@asynccontextmanager
async def beside(venue: Venue, *kinds: Rounds) -> AsyncIterator[None]:
    """Do the rounds of each kind until the block ends."""
    tasks = [asyncio.create_task(_again_and_again(venue, kind)) for kind in kinds]
    try:
        yield
    finally:
        await end(tasks)


async def _again_and_again(venue: Venue, kind: Rounds) -> None:
    while True:
        try:
            await kind.work(venue)
        except PASSING as error:
            log.warning("round_interrupted", work=kind.name, error=type(error).__name__)
        except Exception:  # a mistake of ours in one round must not end all that would follow
            log.exception("round_broken", work=kind.name)
        await asyncio.sleep(kind.seconds)
