"""Subscribers who use their data, day by day: how much follows from number and day, so that it can be told again.

A day's usage is taken at once, in the morning of that day, out of the bucket that ends first. It goes through the
journal like every other change of a balance.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from settlement.simulators.carrier.database import Connection, Database
from settlement.simulators.carrier.office import clock
from settlement.simulators.carrier.refusals import Refusal

BEIJING = ZoneInfo("Asia/Shanghai")
MORNING = timedelta(hours=4)
"""When a day's usage is taken, by Beijing time."""
DAY = timedelta(days=1)
LOOK_SECONDS = 60.0
KIND = "deductBalance"
SATURDAY = 5
LEAST_PERCENT, SPREAD_PERCENT, WEEKEND_PERCENT = 40, 121, 140
MOST_DAYS = 40
"""Days that are made good after the program was away."""

# The rows of the lines are locked first, as every movement does.
DUE = """
SELECT msisdn, daily_mb, used_on FROM line
WHERE carrier = $1 AND status = 'active' AND daily_mb > 0 AND used_on < $2 ORDER BY msisdn FOR UPDATE
"""
TAKE = """
WITH wanted AS (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::text[]) AS wanted (msisdn, amount_mb, action_id)
), picked AS (
    SELECT DISTINCT ON (msisdn) bucket.id, wanted.msisdn, action_id, least(amount_mb, remaining_mb) AS taken_mb
    FROM wanted JOIN bucket USING (msisdn)
    WHERE carrier = $1 AND app_scope IS NULL AND remaining_mb > 0 AND expires_at > $5 AND NOT distributable
    ORDER BY msisdn, expires_at, transferable, bucket.id
), taken AS (
    UPDATE bucket SET remaining_mb = remaining_mb - taken_mb FROM picked WHERE picked.id = bucket.id
    RETURNING bucket.id, picked.msisdn, action_id, taken_mb, remaining_mb
), noted AS (
    INSERT INTO action (id, carrier, kind, subject_id, amount_mb, msisdn, at)
    SELECT action_id, $1, $6, id, taken_mb, msisdn, $5 FROM taken RETURNING id
)
INSERT INTO entry (action_id, position, bucket_id, account, change_mb, before_mb, after_mb)
SELECT action_id, 0, taken.id, 'remaining', -taken_mb, remaining_mb + taken_mb, remaining_mb
FROM taken JOIN noted ON noted.id = action_id
UNION ALL SELECT action_id, 1, NULL, 'issued', taken_mb, NULL, NULL FROM taken JOIN noted ON noted.id = action_id
"""
USED = "UPDATE line SET used_on = $3 WHERE carrier = $1 AND msisdn = ANY($2::text[])"


def used_mb(msisdn: str, day: date, daily_mb: int) -> int:
    """MB that a line uses on a day: 40 to 160 percent of what is usual for it, and more on weekends."""
    dice = int.from_bytes(hashlib.sha256(f"{msisdn} {day.isoformat()}".encode()).digest()[:4], "big")
    percent = LEAST_PERCENT + dice % SPREAD_PERCENT
    if day.weekday() >= SATURDAY:
        percent = percent * WEEKEND_PERCENT // 100
    return daily_mb * percent // 100


def last_used_day(now: datetime) -> date:
    """The newest day whose usage has been taken."""
    return (now.astimezone(BEIJING) - MORNING).date()


def taken_at(day: date) -> datetime:
    """The moment at which a day's usage is taken."""
    return datetime.combine(day, time(), BEIJING) + MORNING


def days(first: date, last: date) -> Iterator[date]:
    """Every day from one to another."""
    for number in range((last - first).days + 1):
        yield first + DAY * number


async def consume(connection: Connection, carrier: str, now: datetime) -> int:
    """Take what has not been taken up to now, and say of how many lines."""
    last = last_used_day(now)
    rows = await connection.fetch(DUE, carrier, last)
    if not rows:
        return 0
    for day in days(max(min(row["used_on"] for row in rows), last - DAY * MOST_DAYS) + DAY, last):
        await _take(connection, carrier, [row for row in rows if row["used_on"] < day], day)
    await connection.execute(USED, carrier, [row["msisdn"] for row in rows], last)
    return len(rows)


async def _take(connection: Connection, carrier: str, rows: Sequence[Any], day: date) -> None:
    msisdns = [row["msisdn"] for row in rows]
    amounts = [used_mb(row["msisdn"], day, row["daily_mb"]) for row in rows]
    actions = [uuid4().hex for _ in rows]
    await connection.execute(TAKE, carrier, msisdns, amounts, actions, taken_at(day), KIND)


async def keep_consuming(database: Database, carriers: Sequence[str]) -> None:
    """Look once a minute whether a day's usage is due, until cancelled."""
    while True:
        for carrier in carriers:
            with contextlib.suppress(Refusal):  # a database that is away is asked again in a minute
                async with database.transaction() as connection:
                    await consume(connection, carrier, clock())
        await asyncio.sleep(LOOK_SECONDS)
