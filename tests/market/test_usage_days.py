"""Usage told from readings: what fell is what was used, what cannot be told is left out, a journal fills the past."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from market.forecast import DayUsage
from market.usage_days import DAY, Kind, Reading, Sort, backwards, by_day, used
from settlement.carriers.line_usage import Deduction

MONDAY = date(2026, 11, 2)
MONTH_END = datetime(2026, 11, 30, 16, tzinfo=UTC)
NATIONAL = Kind("CN", "", MONTH_END)


def readings(*whole_mb: int) -> list[Reading]:
    """One a day from Monday on, of a line that trades nothing."""
    return [Reading(MONDAY + DAY * at, each, 0) for at, each in enumerate(whole_mb)]


def test_what_fell_from_one_day_to_the_next_was_used() -> None:
    assert used(readings(5_000, 4_700, 4_700, 4_000)) == (
        {MONDAY + DAY: 300, MONDAY + 2 * DAY: 0, MONDAY + 3 * DAY: 700},
        set(),
    )


def test_what_our_trades_moved_was_not_used() -> None:
    before, after = Reading(MONDAY, 5_000, 1_000), Reading(MONDAY + DAY, 3_800, 2_000)

    assert used([before, after]) == ({MONDAY + DAY: 200}, set())


def test_what_was_bought_hides_no_usage() -> None:
    before, after = Reading(MONDAY, 1_000, 0), Reading(MONDAY + DAY, 1_700, -1_000)

    assert used([before, after]) == ({MONDAY + DAY: 300}, set())


def test_days_without_a_reading_share_what_was_used_meanwhile() -> None:
    known, _ = used([Reading(MONDAY, 5_000, 0), Reading(MONDAY + 3 * DAY, 4_000, 0)])

    assert list(known.values()) == [334, 333, 333]


def test_a_top_up_from_elsewhere_leaves_its_days_unknown() -> None:
    found = by_day({NATIONAL: readings(1_000, 800, 5_800, 5_500)}, MONDAY + 9 * DAY)

    assert found[Sort("CN", "")] == [DayUsage(MONDAY + DAY, 200), DayUsage(MONDAY + 3 * DAY, 300)]


def test_the_day_that_is_not_over_is_not_told() -> None:
    found = by_day({NATIONAL: readings(1_000, 800, 700)}, MONDAY + 2 * DAY)

    assert found[Sort("CN", "")] == [DayUsage(MONDAY + DAY, 200)]


def test_buckets_that_end_at_other_times_add_up_and_apps_do_not() -> None:
    later, video = Kind("CN", "", MONTH_END + timedelta(days=31)), Kind("CN", "VIDEO", MONTH_END)
    found = by_day(
        {NATIONAL: readings(1_000, 800), later: readings(3_000, 2_950), video: readings(500, 100)}, MONDAY + 9 * DAY
    )

    assert found == {
        Sort("CN", ""): [DayUsage(MONDAY + DAY, 250)],
        Sort("CN", "VIDEO"): [DayUsage(MONDAY + DAY, 400)],
    }


@given(st.lists(st.integers(0, 2_000), min_size=2, max_size=40), st.integers(0, 50_000))
def test_readings_made_from_a_journal_tell_the_same_days_as_the_journal(amounts: list[int], left_mb: int) -> None:
    today = MONDAY + DAY * (len(amounts) - 1)
    until = Kind("CN", "", MONTH_END + timedelta(days=60))
    at = datetime(2026, 11, 2, 4, tzinfo=UTC)
    journal = [
        Deduction("bucket", amount, at + timedelta(days=number)) for number, amount in enumerate(amounts) if amount
    ]

    made = backwards({until: (left_mb, 0)}, {"bucket": until}, journal, today)

    rows = [Reading(day, mb, 0) for day, mb in reversed(made.get(until, []))] + [Reading(today, left_mb, 0)]
    known, hidden = used(rows)
    assert not hidden
    assert [amount for day, amount in sorted(known.items()) if amount] == [amount for amount in amounts if amount]


def test_a_bucket_that_is_over_is_told_of_until_its_last_day() -> None:
    over = Kind("CN", "", datetime(2026, 10, 31, 16, tzinfo=UTC))
    last = date(2026, 10, 31)
    journal = [Deduction("old", 200, datetime(2026, 10, 30, 4, tzinfo=UTC))]

    made = backwards({over: (700, 0)}, {"old": over}, journal, MONDAY)

    assert made[over] == [(last, 700), (date(2026, 10, 30), 700), (date(2026, 10, 29), 900)]
