"""The circuit breaker of a lane: when calls come to nothing one after the other, nothing more is sent for a while.

What waits keeps its place and its reason; a single call goes through now and then, and the first that is answered
opens the lane again. The rules are pure: time comes as seconds of any clock that never goes back.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.instructions import Lost, Outcome, Refused, Undone

_SHOW = text("""
    insert into lane_state (lane, state, since, failures, next_try_at, reason)
    values (:lane, :state, now(), :failures,
        now() + make_interval(secs => cast(:pause as double precision)), cast(:reason as text))
    on conflict (lane) do update set state = excluded.state, failures = excluded.failures,
        next_try_at = excluded.next_try_at, reason = excluded.reason,
        since = case
            when (lane_state.state = 'closed') = (excluded.state = 'closed') then lane_state.since else now()
        end
""")


_TELL = text("""
    update instruction set reason = :reason where id in (
        select id from instruction
        where lane = :lane and status = 'ready' and (reason is null or (attempt > 0 and reason <> :reason))
        order by not_before, id limit :limit for no key update skip locked
    )
""")
_TAKE_BACK = text("""
    update instruction set reason = null where id in (
        select id from instruction where lane = :lane and status = 'ready' and reason = :reason
        order by id for no key update skip locked
    )
""")
_FORGET = text("""
    update lane_state set state = 'closed', since = now(), failures = 0, next_try_at = null, reason = null
    where state <> 'closed'
""")
WAITING = "The carrier does not answer. Nothing is sent until it does, and it is tried again from time to time."
"""The reason of instructions that wait because their lane is open, for both parties of a trade to read."""
TOLD_AT_ONCE = 1000
"""Instructions that get the reason in one go; the others get it at the next trial."""


class Standing(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One call is on trial."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls in a row may come to nothing, and how long the pauses are that follow, in seconds."""

    failures: int = 8
    pause_seconds: float = 5.0
    longest_pause_seconds: float = 60.0
    ask_seconds: float = 5.0
    """How often one question goes out meanwhile: it moves nothing, and any answer to it ends the waiting."""

    def pause_after(self, trials: int) -> float:
        """The pause doubles with each trial that failed."""
        doubled: float = self.pause_seconds * 2.0 ** min(trials, 10)
        return min(doubled, self.longest_pause_seconds)


@dataclass(frozen=True, slots=True)
class Breaker:
    """How a lane stands. ``next_try`` is when a single call may go through, if it is open."""

    state: Standing = Standing.CLOSED
    failures: int = 0
    trials: int = 0
    next_try: float = 0.0
    next_ask: float = 0.0
    reason: str | None = None

    def places(self, at_once: int, in_the_air: int, now: float) -> int:
        """How many more calls may be made at this moment."""
        if self.state is Standing.CLOSED:
            return max(0, at_once - in_the_air)
        return 1 if now >= self.next_try and not in_the_air else 0

    def may_ask(self, in_the_air: int, now: float) -> bool:
        """Whether one question may go out although nothing is sent."""
        return self.state is Standing.OPEN and not in_the_air and now >= self.next_ask

    def asking(self, limits: Limits, now: float) -> "Breaker":
        """One question goes out, or there was none to be asked."""
        return replace(self, next_ask=now + limits.ask_seconds)

    def next_look(self) -> float:
        """When something may go out again, if it is not closed."""
        return min(self.next_try, self.next_ask) if self.state is Standing.OPEN else self.next_try

    def trying(self) -> "Breaker":
        """A single call goes through."""
        return self if self.state is Standing.CLOSED else replace(self, state=Standing.HALF_OPEN)

    def after(self, outcome: Outcome, limits: Limits, now: float) -> "Breaker":
        """What a call's outcome makes of it. Any answer will do, a refusal as well: somebody is there.

        What we refused ourselves says nothing of anybody; a trial that it was is still to come.
        """
        if isinstance(outcome, Refused) and outcome.ours:
            return replace(self, state=Standing.OPEN) if self.state is Standing.HALF_OPEN else self
        if not came_to_nothing(outcome):
            return Breaker()
        assert isinstance(outcome, Lost | Undone)
        failed = replace(self, failures=self.failures + 1, reason=outcome.reason)
        match self.state:
            case Standing.OPEN:
                return failed  # it left before the lane was opened
            case Standing.HALF_OPEN:
                trials = self.trials + 1
                pause = limits.pause_after(trials)
                return replace(failed, state=Standing.OPEN, trials=trials, next_try=now + pause).asking(limits, now)
            case Standing.CLOSED if failed.failures >= limits.failures:
                return replace(failed, state=Standing.OPEN, next_try=now + limits.pause_after(0)).asking(limits, now)
            case Standing.CLOSED:
                return failed


def came_to_nothing(outcome: Outcome) -> bool:
    """Nobody was reached, or nobody answered. "We are at work" is an answer."""
    return isinstance(outcome, Undone) or (isinstance(outcome, Lost) and not outcome.soon)


async def show(session: AsyncSession, lane: str, breaker: Breaker, now: float) -> None:
    """Write down how a lane stands, and why its instructions wait, for pages to read; the caller commits."""
    closed = breaker.state is Standing.CLOSED
    await session.execute(
        _SHOW,
        {
            "lane": lane,
            "state": breaker.state.value,
            "failures": breaker.failures,
            "pause": None if closed else max(0.0, breaker.next_try - now),
            "reason": None if closed else breaker.reason,
        },
    )
    told = {"lane": lane, "reason": WAITING}
    if closed:
        await session.execute(_TAKE_BACK, told)
    else:
        await session.execute(_TELL, {**told, "limit": TOLD_AT_ONCE})


async def forget(session: AsyncSession) -> None:
    """Call every lane closed: whoever finds one open writes it again. The caller commits."""
    await session.execute(_FORGET)
