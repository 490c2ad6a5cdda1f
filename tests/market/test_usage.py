"""Daily readings on a real market: kept once a day, corrected by deliveries, and begun from the carrier's journal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from market import autopilot_tables, usage, usage_tables
from market.forecast import DayUsage
from market.parties import Member
from market.usage import Told, note
from market.usage_days import Sort, day_of
from settlement.base import Base
from settlement.carriers.values import Bucket
from settlement.simulators.carrier.consuming import BEIJING, last_used_day, used_mb
from tests.market.town import BUCKET_END, Town, a_number

NATIONAL = Sort("CN", "")
DESCRIBED = (usage_tables.DataReadingRow, autopilot_tables.AutopilotRow, autopilot_tables.AutopilotActionRow)


async def line_of(town: Town, member: Member) -> int:
    found: int = await town.value("select id from line where party_id = :party", party=member.party_id)
    return found


def a_bucket(remaining_mb: int, **changes: Any) -> Bucket:
    values = {
        "id": "b", "carrier": "CMCC", "msisdn": "+8613900000000", "scope": "CN", "app_scope": None,
        "expires_at": BUCKET_END, "remaining_mb": remaining_mb, "reserved_mb": 0, "transferable": True,
    }  # fmt: skip
    return Bucket(**{**values, **changes})


async def noted(town: Town, member: Member, line: int, at: datetime, *buckets: Bucket) -> None:
    async with town.venue.sessions.begin() as session:
        await note(session, member.party_id, {line: Told(buckets)}, at)


async def told(town: Town, line: int, at: datetime) -> list[DayUsage]:
    async with town.venue.sessions() as session:
        return list((await usage.daily(session, [line], at))[line].get(NATIONAL, []))


async def test_a_line_that_is_looked_at_is_read_once_a_day(town: Town) -> None:
    member = await town.a_member()
    now = datetime.now(UTC)

    for _ in range(3):
        (seen,) = await usage.look(town.venue, member, now, patience_seconds=5)

    assert seen.buckets is not None
    assert [each.remaining_mb for each in seen.buckets] == [20_000]
    rows = await town.rows("select day, remaining_mb from data_reading where line_id = :line", line=seen.line.id)
    assert [tuple(row) for row in rows] == [(day_of(now), 20_000)]
    assert not seen.daily.get(NATIONAL)


async def test_the_last_reading_of_a_day_counts(town: Town) -> None:
    member = await town.a_member()
    line, day = await line_of(town, member), datetime(2026, 11, 3, 2, tzinfo=UTC)

    await noted(town, member, line, day, a_bucket(9_000))
    await noted(town, member, line, day + timedelta(days=1, hours=3), a_bucket(8_800))
    await noted(town, member, line, day + timedelta(days=1, hours=9), a_bucket(8_500))
    await noted(town, member, line, day + timedelta(days=1, hours=1), a_bucket(8_900))

    assert await told(town, line, day + timedelta(days=2)) == [DayUsage(day_of(day + timedelta(days=1)), 500)]


async def test_what_is_reserved_is_not_used_and_what_is_delivered_neither(town: Town) -> None:
    """A delivery of 2,000 MB out of the line and one of 300 MB to it, between two readings."""
    seller, other = await town.a_member(), await town.a_member()
    line, now = await line_of(town, seller), datetime.now(UTC)
    await noted(town, seller, line, now - timedelta(days=2), a_bucket(9_000))
    await delivered(town, seller, other, 2_000, line=line, at=now - timedelta(hours=3))
    await delivered(town, other, seller, 300, line=line, at=now - timedelta(hours=2))
    await delivered(town, seller, other, 5_000, line=line, at=now - timedelta(days=3))

    await noted(town, seller, line, now - timedelta(days=1, minutes=-1), a_bucket(9_000 - 100))
    await noted(town, seller, line, now, a_bucket(7_000 - 2_000 - 250 + 300, reserved_mb=2_000))

    days = await told(town, line, now + timedelta(days=1))
    assert [each.used_mb for each in days] == [100, 150]


async def delivered(town: Town, seller: Member, buyer: Member, amount_mb: int, *, line: int, at: datetime) -> None:
    """A trade that the carrier has carried out, as engine and settlement write it; ``line`` is the side looked at."""
    number = await town.value("select coalesce(max(id), 0) + 1 from trade")
    selling = await town.value("select party_id from line where id = :line", line=line) == seller.party_id
    async with town.venue.sessions.begin() as session:
        account = await session.scalar(text("select id from account limit 1"))
        custody = await session.scalar(
            text("""
                insert into custody (party_id, key, line_id, account_id, carrier, bucket_id, quantity_mb, status,
                    expires_at)
                values (:party, :key, :line, :account, 'CMCC', 'b', :amount, 'reserved', :end) returning id
            """),
            {
                "party": seller.party_id, "key": f"usage-{number}", "line": line if selling else 0,
                "account": account, "amount": amount_mb, "end": BUCKET_END,
            },
        )  # fmt: skip
        await session.execute(
            text("""
                insert into trade (id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id, buyer_id,
                    seller_id, taker_side, fee_minor, at)
                select :id, id, 100, :lots, 0, 0, :buyer, :seller, 1, 1, :at from instrument
                where symbol = 'CMCC-CN-3001'
            """),
            {
                "id": number, "lots": amount_mb // 100, "buyer": buyer.party_id, "seller": seller.party_id, "at": at,
            },
        )  # fmt: skip
        await session.execute(
            text("""
                insert into delivery (id, carrier, custody_id, custody_account_id, quantity, money_account_id,
                    amount_minor, fee_minor, proceeds_account_id, receiver_line_id, status, delivered_at)
                values (:id, 'CMCC', :custody, :account, :amount, :account, 100, 1, :account, :receiver, 'settled', :at)
            """),
            {
                "id": number, "custody": custody, "account": account, "amount": amount_mb,
                "receiver": 0 if selling else line, "at": at,
            },
        )  # fmt: skip


async def test_a_line_whose_carrier_keeps_a_journal_has_its_past_at_once(town: Town) -> None:
    now, number = datetime.now(UTC), a_number()
    since = (now.astimezone(BEIJING) - timedelta(days=20)).replace(hour=0, minute=0, second=0, microsecond=0)
    await town.line(number=number, daily_mb=400, used_since=since.isoformat())
    member = await town.enter(number)

    (seen,) = await usage.look(town.venue, member, now, patience_seconds=5)

    days = seen.daily[NATIONAL]
    whole = [since.date() + timedelta(days=at) for at in range(20)]
    last = min(last_used_day(now), day_of(now) - timedelta(days=1))
    assert days == [DayUsage(day, used_mb(number, day, 400)) for day in whole if day <= last]


async def test_a_carrier_that_does_not_answer_in_time_keeps_nobody_waiting(town: Town) -> None:
    member = await town.a_member("CTCC")
    await town.at_carrier("PUT", "/admin/faults", "CTCC", json={"latency_ms": 2_000})
    try:
        (seen,) = await usage.look(town.venue, member, datetime.now(UTC), patience_seconds=0.2)
    finally:
        await town.at_carrier("PUT", "/admin/faults", "CTCC", json={})

    assert seen.buckets is None


@pytest.mark.parametrize("table", [each.__tablename__ for each in DESCRIBED])
async def test_the_migration_makes_the_tables_that_the_models_describe(town: Town, table: str) -> None:
    def is_of_the_table(thing: Any, name: str, kind: str, *_: object) -> bool:
        return bool((name if kind == "table" else thing.table.name) == table)

    def differences(connection: Connection) -> Any:
        context = MigrationContext.configure(connection, opts={"include_object": is_of_the_table})
        return compare_metadata(context, Base.metadata)

    async with town.venue.engine.connect() as connection:
        found = await connection.run_sync(differences)

    assert found == []
