"""Usage by day, told from readings of buckets and from a journal of deductions. Pure: no clock, no I/O."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from market.forecast import DayUsage
from settlement.carriers.line_usage import Deduction
from settlement.carriers.values import Bucket

SHANGHAI = ZoneInfo("Asia/Shanghai")
"""Carriers count their days by this clock."""
DAY = timedelta(days=1)


class Sort(NamedTuple):
    """What data may be used for: where, and by which app (empty for every app)."""

    scope: str
    app_scope: str


class Kind(NamedTuple):
    """Data that is used up together: the buckets of one sort that end at one time, received ones included."""

    scope: str
    app_scope: str
    expires_at: datetime

    @property
    def sort(self) -> Sort:
        return Sort(self.scope, self.app_scope)


class Reading(NamedTuple):
    """What buckets of one kind showed at the end of a day, in MB; ``moved_mb`` is what our trades had taken by then."""

    day: date
    whole_mb: int
    moved_mb: int


def day_of(moment: datetime) -> date:
    """The carrier's day of a moment."""
    return moment.astimezone(SHANGHAI).date()


def kind_of(bucket: Bucket) -> Kind:
    """What a bucket's data is used up with."""
    return Kind(bucket.scope, bucket.app_scope or "", bucket.expires_at)


def kinds(buckets: Iterable[Bucket]) -> dict[Kind, tuple[int, int]]:
    """MB remaining and reserved of each kind of data."""
    found: dict[Kind, tuple[int, int]] = {}
    for each in buckets:
        kind = kind_of(each)
        remaining, reserved = found.get(kind, (0, 0))
        found[kind] = remaining + each.remaining_mb, reserved + each.reserved_mb
    return found


def used(readings: Sequence[Reading]) -> tuple[dict[date, int], set[date]]:
    """MB used on each day that the readings of one kind tell of, and the days of which they can't tell.

    What was used between readings that are days apart is shared out evenly. Data that came
    from elsewhere, a top-up at the carrier, hides what was used meanwhile.
    """
    known: dict[date, int] = {}
    hidden: set[date] = set()
    for before, after in itertools.pairwise(readings):
        days = [before.day + DAY * number for number in range(1, (after.day - before.day).days + 1)]
        fallen_mb = (before.whole_mb - after.whole_mb) - (after.moved_mb - before.moved_mb)
        if fallen_mb < 0:
            hidden.update(days)
            continue
        each_mb, rest_mb = divmod(fallen_mb, len(days))
        known |= {day: each_mb + (number < rest_mb) for number, day in enumerate(days)}
    return known, hidden


def by_day(readings: Mapping[Kind, Sequence[Reading]], before: date) -> dict[Sort, list[DayUsage]]:
    """What was used of each sort of data on each whole day, oldest first; days that can't be told of are left out."""
    totals: dict[Sort, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    hidden: dict[Sort, set[date]] = defaultdict(set)
    for kind, rows in readings.items():
        known, unknown = used(rows)
        hidden[kind.sort] |= unknown
        for day, amount_mb in known.items():
            totals[kind.sort][day] += amount_mb
    return {
        sort: [DayUsage(day, days[day]) for day in sorted(days) if day < before and day not in hidden[sort]]
        for sort, days in totals.items()
    }


def backwards(
    left: Mapping[Kind, tuple[int, int]], sources: Mapping[str, Kind], deductions: Sequence[Deduction], today: date
) -> dict[Kind, list[tuple[date, int]]]:
    """What the buckets would have shown at the end of earlier days: what is left now and what was used since."""
    spent: dict[Kind, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for each in deductions:
        if each.bucket_id in sources:
            spent[sources[each.bucket_id]][day_of(each.at)] += each.amount_mb
    rows: dict[Kind, list[tuple[date, int]]] = {}
    for kind, days in spent.items():
        remaining_mb, last, first = left[kind][0], min(today, day_of(kind.expires_at - DAY)), min(days) - DAY
        shown: list[tuple[date, int]] = []
        for number in range((last - first).days + 1):
            day = last - DAY * number
            if day < today:
                shown.append((day, remaining_mb))
            remaining_mb += days.get(day, 0)
        rows[kind] = shown
    return rows
