"""People who give data and get it, with an engine and a settlement worker at work around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from market.custody import month_start
from market.installation import mark
from market.parties import Member
from market.settling import outside_of, settle
from market.tables import LineRow
from tests.faults.judging import broken_invariants
from tests.faults.waiting import until
from tests.market.town import Town

SYMBOL = "CMCC-CN-3001"


@dataclass(frozen=True)
class Somebody:
    """A member with one line, and its number."""

    member: Member
    number: str
    line_id: int


async def somebody(town: Town, carrier: str = "CMCC", **line: object) -> Somebody:
    number = await town.line(carrier, **line)  # type: ignore[arg-type]
    member = await town.enter(number)
    async with town.venue.sessions() as session:
        line_id = await session.scalar(select(LineRow.id).where(LineRow.party_id == member.party_id))
    assert line_id is not None
    return Somebody(member, number, line_id)


@asynccontextmanager
async def settling(town: Town) -> AsyncIterator[None]:
    """A settlement worker with all steps of the product."""
    async with town.venue.sessions() as session:
        outside = outside_of(town.venue, await mark(session))
    stop = asyncio.Event()
    task = asyncio.create_task(settle(town.venue, outside, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def data_of(town: Town, number: str, carrier: str = "CMCC") -> tuple[int, int, int]:
    """What a line has at its carrier: MB of its own, MB set aside, and MB that it received and can't pass on."""
    buckets = await town.venue.carriers[carrier].buckets(number)
    own = sum(bucket.remaining_mb for bucket in buckets if bucket.transferable)
    got = sum(bucket.remaining_mb for bucket in buckets if not bucket.transferable)
    return own, sum(bucket.reserved_mb for bucket in buckets), got


async def comes_to(town: Town, number: str, wanted: tuple[int, int, int]) -> None:
    """Wait until a line has this at its carrier."""

    async def has() -> bool:
        return await data_of(town, number) == wanted

    try:
        await until(has)
    except TimeoutError:
        assert await data_of(town, number) == wanted


async def told(town: Town, member: Member) -> list[str]:
    """The kinds of what a member was told, in order."""
    rows = await town.rows("select kind from notice where party_id = :id order by id", id=member.party_id)
    return [row.kind for row in rows]


async def assert_sound(town: Town) -> None:
    assert await broken_invariants(town.venue.settings.database_dsn) == {}


def late_in_the_month() -> datetime:
    """A moment of this month at which the tank is open."""
    return month_start(datetime.now(UTC)) + timedelta(days=24, hours=12)
