"""What will be left of a line's data when it expires, told from what was used on past days. Pure: no clock, no I/O.

The days to come are laid out many times with days drawn from the past ones: working days from working days,
weekends from weekends. A day that was drawn goes back twice (a Pólya urn), which makes the answers differ more the
fewer days are known, as they should. Two days that nobody had are added to those of the past: one without any usage,
and one of twice the heaviest. They keep a short history from looking certain, and weigh less with each known day.
The middle eight tenths of all answers are what is told: it holds somewhat more often than that. When a day's usage
rises, nothing that is told rises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from random import Random

RECENT_DAYS = 35
"""Older days say less of a person than newer ones."""
ROUNDS = 200
OUTSIDE = ROUNDS // 10
"""Answers left out at each end: what is told holds in eight cases of ten."""
LAID_OUT = 62
"""Days that are laid out one by one; a longer time is taken as so much more of the same."""
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class DayUsage:
    """MB of data that a line used on one day of the carrier."""

    day: date
    used_mb: int

    @property
    def is_weekend(self) -> bool:
        return is_weekend(self.day)


@dataclass(frozen=True, slots=True)
class Use:
    """MB that will be used: in eight cases of ten between ``low_mb`` and ``high_mb``."""

    low_mb: int
    likely_mb: int
    high_mb: int
    known_days: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will be left of ``remaining_mb`` when it expires; never less than nothing and never more than all."""

    remaining_mb: int
    use: Use

    @property
    def low_mb(self) -> int:
        """In nine cases of ten at least so much is left."""
        return max(0, self.remaining_mb - self.use.high_mb)

    @property
    def likely_mb(self) -> int:
        return max(0, self.remaining_mb - self.use.likely_mb)

    @property
    def high_mb(self) -> int:
        """In nine cases of ten at most so much is left."""
        return max(0, self.remaining_mb - self.use.low_mb)

    @property
    def likely_short_mb(self) -> int:
        """What will probably be missing before the data expires."""
        return max(0, self.use.likely_mb - self.remaining_mb)


def surplus(remaining_mb: int, days: Sequence[DayUsage], today: date, expires_on: date) -> Forecast | None:
    """What will be left on ``expires_on``, the first day on which the data is gone; none when no day is known.

    Today counts as a whole day: who has used data this morning may use as much tonight.
    """
    expected = use(days, today, expires_on)
    return None if expected is None else Forecast(remaining_mb, expected)


def use(days: Sequence[DayUsage], first: date, end: date) -> Use | None:
    """What will be used from a day on and before another; none when no day is known."""
    recent = sorted(days, key=lambda each: each.day)[-RECENT_DAYS:]
    if not recent:
        return None
    ahead = max(0, (end - first).days)
    laid_out = min(ahead, LAID_OUT)
    weekends = sum(is_weekend(first + timedelta(days=number)) for number in range(laid_out))
    groups = [
        (_like(recent, weekend=False), laid_out - weekends, 1),
        (_like(recent, weekend=True), weekends, 2),
    ]

    totals = sorted(map(sum, zip(*(_totals(known, count, seed) for known, count, seed in groups), strict=True)))
    mean = sum(-(-count * sum(known) // len(known)) for known, count, _ in groups)

    low, likely, high = (
        -(-each * ahead // max(1, laid_out)) for each in (totals[OUTSIDE], mean, totals[ROUNDS - 1 - OUTSIDE])
    )
    return Use(min(low, likely), likely, max(high, likely), len(recent))


def told_mb(amount_mb: int, *, up: bool = False) -> int:
    """A figure as it is told: to 100 MB, and below a GB to 10, so that it does not look surer than it is."""
    step = 100 if amount_mb >= 1_000 else 10  # noqa: PLR2004 - MB of a GB
    return -(-amount_mb // step) * step if up else amount_mb // step * step


def daily_mb(days: Sequence[DayUsage]) -> int:
    """The mean of the recent days, rounded up; 0 when none is known."""
    recent = sorted(days, key=lambda each: each.day)[-RECENT_DAYS:]
    return -(-sum(each.used_mb for each in recent) // len(recent)) if recent else 0


def is_weekend(day: date) -> bool:
    return day.weekday() >= SATURDAY


def _like(recent: Sequence[DayUsage], *, weekend: bool) -> list[int]:
    """What was used on the days of one kind; on all days as long as none of that kind is known."""
    alike = [each.used_mb for each in recent if each.is_weekend == weekend]
    return alike or [each.used_mb for each in recent]


def _totals(known: Sequence[int], count: int, seed: int) -> list[int]:
    """So many days laid out, as often as there are rounds: what each round's days come to."""
    values = [*known, 0, 2 * max(known)]
    return [
        sum(times * value for times, value in zip(drawn, values, strict=True))
        for drawn in _draws(len(values), count, seed)
    ]


@lru_cache(maxsize=512)
def _draws(known: int, count: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """How often each round draws each of the known days. What was used on them does not matter here."""
    draw = Random(seed)
    rounds = []
    for _ in range(ROUNDS):
        urn = list(range(known))
        for _ in range(count):
            urn.append(urn[draw.randrange(len(urn))])
        rounds.append(tuple(urn.count(number) - 1 for number in range(known)))
    return tuple(rounds)
