"""Subscribers who use data: told by the journal, booked in full, and taken on from the day that was last taken."""

from datetime import UTC, date, datetime, timedelta

import asyncpg

from settlement.carriers.client import Carrier
from settlement.simulators.carrier.consuming import (
    BEIJING,
    consume,
    last_used_day,
    taken_at,
    used_mb,
)
from tests.carrier.simulator import CarrierProcess, a_number, line_of

UNEVEN = "SELECT action_id FROM entry GROUP BY action_id HAVING sum(change_mb) <> 0"
WRONG = """
SELECT bucket.id FROM bucket LEFT JOIN entry ON entry.bucket_id = bucket.id GROUP BY bucket.id
HAVING coalesce(sum(change_mb) FILTER (WHERE account = 'remaining'), 0) <> remaining_mb
"""


def midnight(day: date) -> datetime:
    return taken_at(day) - timedelta(hours=4)


def a_user(sim: CarrierProcess, now: datetime, *, days: int, left_mb: int = 3_000, former_days: int = 0) -> str:
    """A line whose data ends in 20 days, used for so many days, the first of them out of a bucket that is over."""
    number, today = a_number(), last_used_day(now)
    ends = [(today + timedelta(days=20), left_mb)]
    if former_days:
        ends.insert(0, (today - timedelta(days=days - former_days - 1), 700))
    buckets = [
        {"scope": "CN", "expires_at": midnight(end).isoformat(), "remaining_mb": left, "total_mb": left}
        for end, left in ends
    ]
    since = midnight(today - timedelta(days=days - 1)).isoformat()
    sim.load(line_of(number, buckets, daily_mb=300, used_since=since))
    return number


async def test_the_journal_tells_of_each_past_day_and_the_books_agree(carrier: Carrier, sim: CarrierProcess) -> None:
    now = datetime.now(UTC)
    number = a_user(sim, now, days=30, former_days=12)

    told = await carrier.deductions(number, now - timedelta(days=62), now)

    last = last_used_day(now)
    assert [(each.at.astimezone(BEIJING).date(), each.amount_mb) for each in told] == [
        (day, used_mb(number, day, 300)) for day in (last - timedelta(days=29 - at) for at in range(30))
    ]
    former, current = sorted(await carrier.buckets(number), key=lambda each: each.expires_at)
    assert {each.bucket_id for each in told[:12]} == {former.id}
    assert {each.bucket_id for each in told[12:]} == {current.id}
    assert (former.remaining_mb, current.remaining_mb) == (700, 3_000)
    connection = await asyncpg.connect(sim.database_url.replace("+asyncpg", ""))
    assert not await connection.fetch(UNEVEN)
    assert not await connection.fetch(WRONG)
    await connection.close()


async def test_days_that_were_missed_are_taken_once_and_only_what_is_left(
    carrier: Carrier, sim: CarrierProcess
) -> None:
    now = datetime.now(UTC)
    number, poor = a_user(sim, now, days=3), a_user(sim, now, days=3, left_mb=250)
    later, last = now + timedelta(days=4), last_used_day(now)
    wanted = sum(used_mb(number, last + timedelta(days=at), 300) for at in range(1, 5))
    connection = await asyncpg.connect(sim.database_url.replace("+asyncpg", ""))

    async with connection.transaction():
        taken = [await consume(connection, "CMCC", later), await consume(connection, "CMCC", later)]

    assert taken[0] >= 2
    assert taken[1] == 0
    (bucket,), (empty,) = await carrier.buckets(number), await carrier.buckets(poor)
    assert bucket.remaining_mb == 3_000 - wanted
    assert empty.remaining_mb == 0
    assert not await connection.fetch(UNEVEN)
    assert not await connection.fetch(WRONG)
    await connection.close()


def test_usage_follows_from_number_and_day_alone_and_is_heavier_on_weekends() -> None:
    friday = date(2026, 11, 20)
    numbers = [f"+86139{at:08d}" for at in range(500)]

    working, weekend = (sum(used_mb(each, day, 1_000) for each in numbers) for day in (friday, friday + timedelta(1)))

    assert used_mb(numbers[0], friday, 1_000) == used_mb(numbers[0], friday, 1_000)
    assert 1.2 < weekend / working < 1.6
