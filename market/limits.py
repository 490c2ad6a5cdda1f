"""Limits on how often: counted by all processes together in Redis, and by each in its own memory as well.

Redis may be flushed or gone. Then each process still keeps the same limits by
itself, so that the worst case is the limit times the number of processes, not
none. Redis sees keyed hashes only: no number and no address.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from market.refusals import TooMany
from market.vault import Vault

logger = structlog.get_logger("surplusflow.limits")

FLOOR_KEYS = 100_000
"""How many counts a process keeps in memory; when there are more, those that matter least go first."""
SHOWN_SECONDS = 90
"""Longer waits are told in minutes."""

TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local wait, due = 0, {}
for i, key in ipairs(KEYS) do
    local pause, count = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    due[i] = math.max(tonumber(redis.call('GET', key) or 0), now) + pause
    wait = math.max(wait, due[i] - count * pause - now)
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do redis.call('SET', key, string.format('%d', due[i]), 'PX', due[i] - now) end
return 0
"""
"""All uses or none, by the generic cell rate algorithm: a key holds the time when its last use is worked off."""

GIVE_BACK = """
for i, key in ipairs(KEYS) do
    local due, left = tonumber(redis.call('GET', key) or 0), redis.call('PTTL', key) - ARGV[2 * i - 1]
    if left > 0 then redis.call('SET', key, string.format('%d', due - ARGV[2 * i - 1]), 'PX', left)
    else redis.call('DEL', key) end
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``count`` at once; used up, they come back one by one, all of them within ``seconds``."""

    name: str
    count: int
    seconds: int

    @property
    def pause_ms(self) -> int:
        return self.seconds * 1000 // self.count

    def of(self, subject: str) -> "Use":
        return Use(self, subject)


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a limit by somebody: a number, a client, a login."""

    limit: Limit
    subject: str

    def key(self, vault: Vault) -> str:
        """The braces keep all keys of one question in one slot of a cluster."""
        return "{surplusflow:limit}:" + vault.lookup(f"limit {self.limit.name} {self.subject}").hex()[:32]


class LimitReached(TooMany):
    """Too often. The words are the same whichever limit it was."""

    def __init__(self, wait_ms: int) -> None:
        seconds = -(-wait_ms // 1000)
        words = f"That was too often. Please try again in {seconds} s."
        if seconds > SHOWN_SECONDS:
            words = f"That was too often. Please try again in {-(-seconds // 60)} min."
        super().__init__(words)
        self.retry_after_seconds = seconds
        self.headers = {"Retry-After": str(seconds)}


class Floor:
    """The same rule in this process's memory."""

    def __init__(self, most_keys: int = FLOOR_KEYS) -> None:
        self._due_ms: dict[str, int] = {}
        self._most_keys = most_keys

    def take(self, uses: Sequence[tuple[str, Limit]], now_ms: int) -> int:
        """Milliseconds to wait, or 0 when all were taken."""
        due = {key: max(self._due_ms.get(key, 0), now_ms) + limit.pause_ms for key, limit in uses}
        wait_ms = max(due[key] - limit.count * limit.pause_ms - now_ms for key, limit in uses)
        if wait_ms > 0:
            return wait_ms
        self._due_ms |= due
        if len(self._due_ms) > self._most_keys:
            self._forget(now_ms)
        return 0

    def give_back(self, uses: Sequence[tuple[str, Limit]]) -> None:
        for key, limit in uses:
            if key in self._due_ms:
                self._due_ms[key] -= limit.pause_ms

    def _forget(self, now_ms: int) -> None:
        """Drop what is worked off; if that is too little, keep the half that has most to work off."""
        running = {key: due for key, due in self._due_ms.items() if due > now_ms}
        if len(running) > self._most_keys:
            most_used = sorted(running, key=running.__getitem__, reverse=True)[: self._most_keys // 2]
            running = {key: running[key] for key in most_used}
        self._due_ms = running


_floor = Floor()
"""One for the process, which is what it speaks for; the vault's hashes keep installations apart."""


async def take(redis: Redis, vault: Vault, *uses: Use) -> None:
    """Count one use of each limit, or none at all when one of them is reached.

    Raises:
        LimitReached: saying how long to wait.
    """
    named = [(use.key(vault), use.limit) for use in uses]

    wait_ms = await _ask(redis, TAKE, named) or _floor.take(named, time.monotonic_ns() // 1_000_000)

    if wait_ms > 0:
        raise LimitReached(wait_ms)


async def give_back(redis: Redis, vault: Vault, *uses: Use) -> None:
    """Undo one use of each limit: it turned out to be an honest one."""
    named = [(use.key(vault), use.limit) for use in uses]

    await _ask(redis, GIVE_BACK, named)
    _floor.give_back(named)


async def _ask(redis: Redis, script: str, named: Sequence[tuple[str, Limit]]) -> int:
    """Run a script in one round trip. Without Redis the answer is 0 and the process's own count decides."""
    values: list[Any] = [value for _, limit in named for value in (limit.pause_ms, limit.count)]
    try:
        return int(await redis.register_script(script)(keys=[key for key, _ in named], args=values))
    except RedisError as error:
        logger.warning("limits_without_redis", error=type(error).__name__)
        return 0
