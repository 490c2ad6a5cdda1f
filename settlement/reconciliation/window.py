"""The time that one comparison is about."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import pairwise

MARGIN = timedelta(hours=1)
"""How far beyond the day the other side's books are read: clocks differ, and an answer takes its time."""
SLICES = 24


@dataclass(frozen=True, slots=True)
class Window:
    """One day by the clock of ``zone``, as far as it has passed at ``now``."""

    day: date
    zone: tzinfo
    now: datetime

    @property
    def since(self) -> datetime:
        return datetime.combine(self.day, time(), self.zone)

    @property
    def until(self) -> datetime:
        return min(datetime.combine(self.day + timedelta(days=1), time(), self.zone), self.now)

    @property
    def reaches_now(self) -> bool:
        """Whether what is read of it, margin included, ends at the present."""
        return self.until + MARGIN >= self.now

    def slices(self) -> Iterator[tuple[datetime, datetime]]:
        """The spans that are read beside one another, margins included; the present second is read to its end."""
        first, last = self.since - MARGIN, min(self.until + MARGIN, self.now + timedelta(seconds=1))
        step = (last - first) / SLICES
        edges = [first + step * number for number in range(SLICES)] + [last]
        return pairwise(edges)
