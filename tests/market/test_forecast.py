"""The forecast: never below nothing or above all, wide when little is known, and right about as often as it says."""

from datetime import date, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from market.forecast import DayUsage, Forecast, is_weekend, surplus, use

TODAY = date(2026, 11, 16)
MONTH_END = date(2026, 12, 1)
amounts = st.lists(st.integers(0, 5_000), min_size=1, max_size=40)


def history(*used_mb: int) -> list[DayUsage]:
    """The days before today, the newest last."""
    return [DayUsage(TODAY - timedelta(days=len(used_mb) - at), each) for at, each in enumerate(used_mb)]


def told(remaining_mb: int, used_mb: list[int], days: int = 15) -> Forecast:
    found = surplus(remaining_mb, history(*used_mb), TODAY, TODAY + timedelta(days=days))
    assert found is not None
    return found


@given(st.integers(0, 100_000), amounts, st.integers(0, 200))
def test_what_is_left_lies_between_nothing_and_all_in_the_right_order(
    remaining: int, used: list[int], days: int
) -> None:
    forecast = told(remaining, used, days)

    assert 0 <= forecast.low_mb <= forecast.likely_mb <= forecast.high_mb <= remaining


@given(st.integers(0, 100_000), amounts, st.data(), st.integers(1, 10_000))
def test_more_usage_on_any_day_never_raises_what_is_left(
    remaining: int, used: list[int], data: st.DataObject, more: int
) -> None:
    at = data.draw(st.integers(0, len(used) - 1))
    heavier = [each + more * (number == at) for number, each in enumerate(used)]

    before, after = told(remaining, used), told(remaining, heavier)

    assert after.low_mb <= before.low_mb
    assert after.likely_mb <= before.likely_mb
    assert after.high_mb <= before.high_mb


@given(st.integers(0, 100_000), amounts, st.integers(0, 100))
def test_a_later_end_leaves_less_likely_data(remaining: int, used: list[int], days: int) -> None:
    assert told(remaining, used, days + 7).likely_mb <= told(remaining, used, days).likely_mb


def test_without_a_known_day_nothing_is_told() -> None:
    assert surplus(10_000, [], TODAY, MONTH_END) is None


def test_few_days_make_a_wide_span_and_many_a_narrow_one() -> None:
    few, many = told(20_000, [400, 420, 380]), told(20_000, [400, 420, 380] * 11)

    assert few.high_mb - few.low_mb > 2 * (many.high_mb - many.low_mb)
    assert few.likely_mb == 20_000 - 15 * 400
    assert abs(many.likely_mb - few.likely_mb) <= 2  # each kind of day is rounded by itself


def test_one_known_day_is_not_taken_for_certain() -> None:
    forecast = told(20_000, [400])

    assert forecast.low_mb <= forecast.likely_mb - 2_000
    assert forecast.high_mb >= forecast.likely_mb + 2_000


def test_weekends_to_come_are_told_from_past_weekends() -> None:
    past = [TODAY - timedelta(days=ago) for ago in range(1, 29)]
    days = [DayUsage(day, 900 if is_weekend(day) else 100) for day in past]
    friday = date(2026, 11, 20)

    weekend = use(days, friday + timedelta(days=1), friday + timedelta(days=3))
    week = use(days, TODAY, friday + timedelta(days=1))

    assert weekend is not None
    assert week is not None
    assert (weekend.likely_mb, week.likely_mb) == (1_800, 500)


def test_data_already_gone_on_its_last_day_is_used_no_more() -> None:
    forecast = surplus(5_000, history(300, 500), TODAY, TODAY)

    assert forecast is not None
    assert forecast.low_mb == forecast.high_mb == 5_000


def test_what_is_missing_is_told_when_more_is_used_than_is_left() -> None:
    forecast = told(3_000, [400] * 30)

    assert forecast.likely_mb == 0
    assert forecast.likely_short_mb == 3_000


def test_of_many_people_at_least_eight_in_ten_end_within_their_span() -> None:
    draw = Random(7)
    inside = 0
    for _ in range(400):
        typical, spread = draw.randrange(100, 900), draw.uniform(0.2, 0.8)
        days = [round(typical * draw.lognormvariate(0, spread)) for _ in range(28 + 15)]
        forecast, left = told(60_000, days[:28]), 60_000 - sum(days[28:])
        inside += forecast.low_mb <= left <= forecast.high_mb

    assert 0.8 <= inside / 400 <= 0.95
