"""How often somebody may ask: one counter a window in Redis, moved by one script."""

from dataclasses import dataclass

from redis.asyncio import Redis

# The counter is made with its end in one step, so that no crash leaves a counter without one.
_TAKE = """
local used = redis.call('INCRBY', KEYS[1], ARGV[1])
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left_ms = tonumber(ARGV[2])
end
return {used, left_ms}
"""


@dataclass(frozen=True)
class Limit:
    """So many requests in so many seconds."""

    name: str
    quota: int
    window_seconds: int

    @property
    def policy(self) -> str:
        """The value of the RateLimit-Policy header."""
        return f'"{self.name}";q={self.quota};w={self.window_seconds}'


@dataclass(frozen=True)
class Taken:
    """What is left after one more request."""

    limit: Limit
    remaining: int
    reset_seconds: int
    allowed: bool

    def headers(self) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers."""
        state = f'"{self.limit.name}";r={self.remaining};t={self.reset_seconds}'
        return {"RateLimit": state, "RateLimit-Policy": self.limit.policy}


class Limiter:
    """Counts against limits. The counters live in Redis, so that all processes count together."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)

    async def take(self, limit: Limit, who: str, cost: int = 1) -> Taken:
        """Count one request of `who`, an id of ours or an address, never a secret or a phone number."""
        key = f"surplusflow:limit:{limit.name}:{who}"
        used, left_ms = await self._take(keys=[key], args=[cost, limit.window_seconds * 1000])
        remaining = max(0, limit.quota - int(used))
        return Taken(limit, remaining, -(-int(left_ms) // 1000), int(used) <= limit.quota)
