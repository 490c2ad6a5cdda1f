"""How much room the database's volumes have left, and what the market still takes: short of it, it only lets go.

The scheduler that sees the volumes says it through Redis (`market.volume`), and every gateway hears it: a database that
runs full is not told so by writing to it.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec
from redis.asyncio import Redis

from market.engine.commands import AmendOrder, Command, PlaceOrder, PlaceTogether, RenewOrder
from market.refusals import Unavailable

Level = Literal["ok", "low", "full"]
LEVELS: tuple[Level, ...] = ("ok", "low", "full")
"""From good to bad."""

LOW_PERCENT = 10
FULL_PERCENT = 5
BACK_PERCENT = 2
"""So much above a mark must be free before it is left, or the market would open and close with every file."""
COUNTED_BYTES = 50 * 2**30
"""Of a larger volume only so much counts: 5 GiB are room enough for the log to come, whatever share of it they are."""

TOLD = "surplusflow:storage"
GOOD_SECONDS = 300
"""How long the last word holds when nobody says another: a watch that is gone must not keep the market shut."""

GROWING = (PlaceOrder, PlaceTogether, AmendOrder, RenewOrder)
"""Commands that ask for something new. Baskets are refused before they begin: once begun, they come to their end."""


class ShortOfStorage(Unavailable):
    """There is too little room left to store it safely."""

    code = "short_of_storage"
    retry_seconds = 60


@dataclass(frozen=True, slots=True)
class Space:
    """A volume, in bytes."""

    free: int
    total: int

    @property
    def free_percent(self) -> float:
        """What is free, of that which counts; a volume without a size has no end."""
        counted = min(self.total, COUNTED_BYTES)
        return min(100.0, 100 * self.free / counted) if counted > 0 else 100.0


class Storage(msgspec.Struct, frozen=True):
    """What the watch says. Without a percentage nobody watches."""

    level: Level = "ok"
    free_percent: float | None = None

    @property
    def is_short(self) -> bool:
        return self.level != "ok"

    @property
    def is_full(self) -> bool:
        return self.level == "full"


def level_of(free_percent: float, was: Level = "ok") -> Level:
    """The level that a volume comes to, which also depends on where it was: a mark is left only well above it."""
    marks: tuple[tuple[Level, int], ...] = (("full", FULL_PERCENT), ("low", LOW_PERCENT))
    for level, mark in marks:
        stays = LEVELS.index(was) >= LEVELS.index(level)
        if free_percent < mark + BACK_PERCENT * stays:
            return level
    return "ok"


def check_room(storage: Storage) -> None:
    """Refuse what is new while the volumes run full.

    Raises:
        ShortOfStorage: only cancellations are taken.
    """
    if storage.is_short:
        raise ShortOfStorage(
            "The market is short of storage and takes no new orders just now. Your open orders stand and can be"
            " cancelled; try again in a few minutes."
        )


def check_command(storage: Storage, command: Command) -> None:
    """Let a command through unless it asks for something new.

    Raises:
        ShortOfStorage: it does, and the volumes run full.
    """
    if isinstance(command, GROWING):
        check_room(storage)


async def tell(redis: Redis, storage: Storage) -> None:
    """Say it to every process of the market."""
    await redis.set(TOLD, msgspec.json.encode(storage), ex=GOOD_SECONDS)


async def told(redis: Redis) -> Storage:
    """What the watch has said; all is well when there is none.

    Raises:
        RedisError: the transport does not answer.
    """
    found = await redis.get(TOLD)
    try:
        return Storage() if found is None else msgspec.json.decode(found, type=Storage)
    except msgspec.DecodeError:  # of a release that says it in other words
        return Storage()
