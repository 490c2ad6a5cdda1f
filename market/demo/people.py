"""Made-up subscribers with lines, plans and what is left of them. The same seed makes the same people."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from market.demo.catalogue import APP, month_ends, month_start

SUBSCRIBERS = 2_000
PREFIXES = {"CMCC": "1390", "CUCC": "1310", "CTCC": "1330"}
SHARES = {"CMCC": 9, "CUCC": 5, "CTCC": 6}
SURNAMES = "王李张刘陈杨黄赵周吴徐孙马朱胡林郭何高罗"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰涛明超霞平刚桂英华玉萍红玲建国文斌宇浩然欣怡子涵雨桐"
PLANS_MB = (10_000, 20_000, 30_000, 40_000)
TRADER_MB = 400_000
DAILY_PERCENT = (25, 110)
"""What people use of a plan in a month of 30 days: most leave some of it, some run out."""
WITH_HISTORY = 10
"""One subscriber in so many has a carrier that tells of past days; all use data from now on."""


@dataclass(frozen=True, slots=True)
class Person:
    """One subscriber with one line. Buckets are what the carrier's loading office takes."""

    name: str
    carrier: str
    msisdn: str
    province: str
    plan: str
    base_mb: int
    buckets: tuple[dict[str, Any], ...]
    distributes: bool = False
    """Whether the carrier lets this line pass on what it buys."""
    daily_mb: int = 0
    """What the subscriber uses on a usual day."""
    used_since: datetime | None = None
    """From when on the carrier's journal tells of it."""

    def line(self) -> dict[str, Any]:
        """The line as the simulated carrier loads it."""
        return {
            "msisdn": self.msisdn,
            "name": self.name,
            "id_document": f"DEMO{self.msisdn[-8:]}",
            "plan_name": f"{self.base_mb // 1000} GB",
            "payment": self.plan,
            "province": self.province,
            "distributes": self.distributes,
            "daily_mb": self.daily_mb,
            "used_since": self.used_since.isoformat() if self.used_since else None,
            "buckets": list(self.buckets),
        }


def subscribers(now: datetime, *, seed: int = 1) -> Iterator[Person]:
    """The demonstration's crowd, without the people who have a part of their own."""
    draw = random.Random(seed)
    carriers = [carrier for carrier, share in SHARES.items() for _ in range(share)]
    for number in range(SUBSCRIBERS):
        carrier = carriers[number % len(carriers)]
        name = draw.choice(SURNAMES) + "".join(draw.choices(GIVEN, k=draw.choice((1, 2))))
        person = _person(draw, now, name, carrier, f"+86{PREFIXES[carrier]}{1_000_000 + number:07d}"[:14])
        yield person if number % WITH_HISTORY else _with_history(person, now)


def trader(now: datetime, carrier: str, number: int) -> Person:
    """A demonstration trader: a line with so much data that it can trade for days."""
    draw = random.Random(number)
    person = _person(draw, now, f"交易员{number:02d}", carrier, f"+86{PREFIXES[carrier][:3]}77{number:06d}")
    first, second = month_ends(now)
    plenty = tuple(
        _bucket(scope, app, expires_at, TRADER_MB)
        for expires_at in (first, second)
        for scope, app in (("CN", None), ("GD", None), ("SH", None), ("CN", APP))
    )
    return Person(person.name, carrier, person.msisdn, person.province, "postpaid", person.base_mb, plenty)


def character(now: datetime, name: str, carrier: str, msisdn: str, remaining_mb: int, *, daily_mb: int = 0) -> Person:
    """Somebody a visitor plays: national data of this and the next month, and a pack for one app."""
    first, second = month_ends(now)
    buckets = (
        _bucket("CN", None, first, remaining_mb),
        _bucket("CN", None, second, remaining_mb // 2),
        _bucket("CN", APP, first, 10_000),
    )
    person = Person(name, carrier, msisdn, "GD", "postpaid", 20_000, buckets, daily_mb=daily_mb)
    return _with_history(person, now) if daily_mb else person


def _with_history(person: Person, now: datetime) -> Person:
    """The same person, whose carrier tells of this and the last month: a little was left of the last one."""
    this_month = month_start(now)
    former = _bucket("CN", None, this_month, person.base_mb // 10, person.base_mb)
    return replace(person, buckets=(former, *person.buckets), used_since=month_start(this_month - timedelta(days=1)))


def charity(name: str, carrier: str) -> Person:
    """A charity's line at a carrier: it has nothing of its own, and receives what people give."""
    return Person(name, carrier, f"+86{PREFIXES[carrier][:3]}99000001", "GD", "postpaid", 0, ())


def _person(draw: random.Random, now: datetime, name: str, carrier: str, msisdn: str) -> Person:
    first, second = month_ends(now)
    province = draw.choice(("GD", "SH"))
    base_mb = draw.choice(PLANS_MB)
    buckets = [_bucket("CN", None, first, draw.randrange(base_mb // 20, base_mb), base_mb)]
    if draw.random() < 0.5:  # noqa: PLR2004 - half of them
        buckets.append(_bucket(province, None, first, draw.randrange(200, 5_000)))
    if draw.random() < 0.4:  # noqa: PLR2004 - some carry data over
        buckets.append(_bucket("CN", None, second, draw.randrange(500, 8_000)))
    if draw.random() < 0.3:  # noqa: PLR2004 - some have a pack for one app
        buckets.append(_bucket("CN", APP, first, draw.randrange(1_000, 15_000)))
    plan = draw.choice(("prepaid", "postpaid"))
    daily_mb = base_mb * draw.randrange(*DAILY_PERCENT) // 100 // 30
    return Person(name, carrier, msisdn, province, plan, base_mb, tuple(buckets), daily_mb=daily_mb)


def _bucket(
    scope: str, app_scope: str | None, expires_at: datetime, remaining_mb: int, total_mb: int | None = None
) -> dict[str, Any]:
    return {
        "scope": scope,
        "app_scope": app_scope,
        "expires_at": expires_at.isoformat(),
        "remaining_mb": remaining_mb,
        "total_mb": total_mb or remaining_mb,
        "transferable": True,
    }
