"""New rules of a carrier: told ahead, brought in once, and kept through restarts and replays."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market import enacting
from market.database import connect, raw_dsn, sessions
from market.engine import lines
from market.engine.caps import Line
from market.engine.commands import Conditions, LineFacts, party_channel
from market.engine.desk import Desk
from market.engine.store import add_instruments
from market.replay import replayed
from market.rules import RuleProfile
from market.verify import verify
from tests.engine.factories import Floor, Member, fresh_database, open_floor, running_engine
from tests.web.making import settings_of

DATA = 2
GD = LineFacts("prepaid", "GD")
SH = LineFacts("postpaid", "SH")
OPEN_RULES = RuleProfile(sales_a_month=None, received_a_month_mb=None)


@pytest.fixture
async def floor(new_database: Callable[[str], str], valkey_url: str) -> AsyncIterator[Floor]:
    """A floor without an engine yet."""
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    url = await fresh_database(new_database, "enacting")
    async with open_floor(url, valkey_url) as floor:
        yield floor


@pytest.fixture
async def reader(floor: Floor) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    engine = connect(floor.dsn.replace("postgresql://", "postgresql+asyncpg://"))
    yield sessions(engine)
    await engine.dispose()


async def _announce(floor: Floor, terms: RuleProfile, since: datetime) -> int:
    number: int = await floor.connection.fetchval(
        "insert into rule_profile (carrier, effective_from, terms) values ('CMCC', $1, $2::jsonb) returning id",
        since,
        msgspec.json.encode(terms).decode(),
    )
    return number


async def _bring_in(floor: Floor, reader: async_sessionmaker[AsyncSession], now: datetime) -> int:
    """What the scheduler does; gives the number of orders that ended."""
    async with reader() as session:
        due = await enacting.due(session, now)
    answers = [await floor.gateway.submit(command) for command in due]
    assert all(answer.accepted for answer in answers)
    return sum(answer.ended_orders for answer in answers)


async def _sell(floor: Floor, who: Member, price: int, lots: int, **more: Any) -> Any:
    parts = {"line_id": who.id, "line": GD} | more
    return await floor.place(who, "sell", price, lots, instrument_id=DATA, **parts)


async def _buy(floor: Floor, who: Member, price: int, lots: int, **more: Any) -> Any:
    parts = {"line_id": who.id, "line": GD} | more
    return await floor.place(who, "buy", price, lots, instrument_id=DATA, **parts)


async def _enacted(floor: Floor, number: int) -> None:
    query = "select rule_profile_id from instrument where id = $1"
    for _ in range(200):
        if await floor.connection.fetchval(query, DATA) == number:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the engine does not match by the profile")


async def test_an_engine_that_starts_matches_by_the_rules_in_force(floor: Floor) -> None:
    now = datetime.now(UTC)
    await _announce(floor, OPEN_RULES, now - timedelta(days=2))
    strict = await _announce(floor, RuleProfile(sales_a_month=0), now - timedelta(days=1))
    await _announce(floor, OPEN_RULES, now + timedelta(days=1))
    seller = await floor.member()

    async with running_engine(floor.dsn, floor.redis):
        await _enacted(floor, strict)
        refused = await _sell(floor, seller, 90, 5)

    assert refused.code == "sales_used_up"
    assert await floor.connection.fetchval("select count(*) from enactment") == 1


async def test_a_profile_comes_in_when_its_time_has_come_and_only_once(
    floor: Floor, reader: async_sessionmaker[AsyncSession]
) -> None:
    now = datetime.now(UTC)
    await _announce(floor, RuleProfile(resale="forbidden"), now + timedelta(hours=1))
    seller = await floor.member()
    async with running_engine(floor.dsn, floor.redis), floor.redis.pubsub() as heard:
        await heard.subscribe(party_channel(seller.id))
        placed = await _sell(floor, seller, 90, 5)

        early = await _bring_in(floor, reader, now)
        ended = await _bring_in(floor, reader, now + timedelta(hours=2))
        again = await _bring_in(floor, reader, now + timedelta(hours=2))

        said = [await heard.get_message(timeout=5) for _ in range(3)]

    row = await floor.connection.fetchrow("select state, reason from orders where id = $1", placed.order_id)
    assert (early, ended, again) == (0, 1, 0)
    assert tuple(row) == ("cancelled", "rules_changed")
    assert await floor.balance(seller.data) == (100_000, 0)
    assert [message["type"] for message in said if message] == ["subscribe", "message", "message"]
    assert await floor.connection.fetchval("select count(*) from enactment") == 1


async def test_a_change_of_rules_ends_exactly_what_the_preview_said(
    floor: Floor, reader: async_sessionmaker[AsyncSession]
) -> None:
    draw, now = random.Random(5), datetime.now(UTC)
    members = [await floor.member() for _ in range(12)]
    strict = RuleProfile(
        sales_a_month=1, receipts_a_month=2, received_a_month_mb=1_500, largest_transfer_mb=300,
        plans=(("prepaid", "prepaid"), ("prepaid", "postpaid")),
    )  # fmt: skip
    await _announce(floor, OPEN_RULES, now - timedelta(days=1))
    async with running_engine(floor.dsn, floor.redis):
        await _bring_in(floor, reader, now)
        for _ in range(60):
            who = draw.choice(members)
            price, lots = draw.randint(18, 22) * 5, draw.randint(1, 9)
            facts = SH if members.index(who) % 3 == 0 else GD
            whole = Conditions(all_or_none=True) if draw.random() < 0.2 else None
            place = _sell if draw.random() < 0.5 else _buy
            await place(floor, who, price, lots, line=facts, conditions=whole)
        before = {row[0] for row in await floor.connection.fetch("select id from open_order")}
        async with reader() as session:
            told = await enacting.preview(session, "CMCC", strict, now)
        number = await _announce(floor, strict, now)

        ended = await _bring_in(floor, reader, now)

    rows = await floor.connection.fetch("select id from ended_order where reason = 'rules_changed'")
    assert {row[0] for row in rows} == set(told.ending)
    assert told.open_orders == len(before)
    assert ended == len(told.ending)
    assert {"sales_used_up", "receipts_used_up", "plan_not_eligible"} <= set(told.reasons)
    assert sum(told.reasons.values()) < told.open_orders
    await _enacted(floor, number)


async def test_what_lines_have_moved_is_the_same_after_a_restart_and_in_a_replay(
    floor: Floor, reader: async_sessionmaker[AsyncSession]
) -> None:
    draw, now = random.Random(7), datetime.now(UTC)
    members = [await floor.member() for _ in range(8)]
    tight = RuleProfile(
        sales_a_month=5, receipts_a_month=6, received_a_day_mb=2_500, largest_transfer_mb=400,
        plans=(("prepaid", "prepaid"), ("postpaid", "postpaid"), ("prepaid", "postpaid")),
    )  # fmt: skip
    await _announce(floor, tight, now)

    for part in range(3):
        async with running_engine(floor.dsn, floor.redis):
            if part:  # the first trades happen before there are rules
                await _bring_in(floor, reader, now + timedelta(hours=1))
            for _ in range(30):
                who = draw.choice(members)
                facts = SH if members.index(who) % 3 == 0 else GD
                place = _sell if draw.random() < 0.5 else _buy
                await place(floor, who, draw.randint(19, 21) * 5, draw.randint(1, 6), line=facts)

    async with floor.connection.transaction():
        again = await replayed(floor.connection)
        desk = Desk(0)
        await floor.connection.execute("update instrument set shard = 0")
        await add_instruments(floor.connection, desk)
        await lines.meet(floor.connection, desk, [floor.order(who, "buy", 100, 1, instrument_id=DATA, line_id=who.id)
                                                  for who in members])  # fmt: skip
    assert again.differences == []
    assert again.trades > 20
    kept = {line_id: (line.facts, line.day, line.today, line.month) for line_id, line in desk.caps.lines.items()}
    made = {line_id: (line.facts, line.day, line.today, line.month) for line_id, line in again.caps.lines.items()}
    assert kept == made
    assert {finding.id for finding in await verify(floor.dsn) if finding.breaches} <= {"D1"}
    reasons = {row[0] for row in await floor.connection.fetch("select distinct reason from ended_order")}
    assert reasons & {"sales_used_up", "receipts_used_up", "receive_cap_today", "plans_do_not_match"}


async def test_a_line_that_is_used_up_stays_so_after_a_restart(floor: Floor) -> None:
    number = await _announce(floor, RuleProfile(sales_a_month=1), datetime.now(UTC) - timedelta(days=1))
    seller, buyer = await floor.member(), await floor.member()
    async with running_engine(floor.dsn, floor.redis):
        await _enacted(floor, number)
        await _sell(floor, seller, 90, 5)
        await _buy(floor, buyer, 90, 2)

    async with running_engine(floor.dsn, floor.redis):
        refused = await _sell(floor, seller, 90, 5)
        left_over = await _buy(floor, buyer, 90, 2)

    assert refused.code == "sales_used_up"
    assert (left_over.state, left_over.filled) == ("open", 0)
    reason = await floor.connection.fetchval("select reason from ended_order where side = 2")
    assert reason == "sales_used_up"


async def test_lines_are_read_anew_when_their_instruments_come_back_from_another_engine(floor: Floor) -> None:
    await floor.connection.execute("update instrument set shard = 0")
    await floor.connection.execute(
        "insert into line_usage values (7, 'prepaid', 'GD', 20000, 1, 0, 0, 1, 0, 0),"
        " (8, null, null, 20000, 2, 0, 0, 2, 0, 0)"
    )
    desk = Desk(0)
    desk.caps.lines = {7: Line("CMCC", day=20_000), 9: Line("CTCC", day=20_000)}

    async with floor.connection.transaction():
        await add_instruments(floor.connection, desk)
        assert desk.caps.lines.keys() == {9}
        wanted = [SimpleNamespace(line_id=number, instrument_id=DATA) for number in (7, 8)]
        await lines.bring(floor.connection, desk, wanted)  # type: ignore[arg-type]

    assert [desk.caps.lines[number].month.sent for number in (7, 8)] == [1, 2]
    assert (desk.caps.lines[7].facts, desk.caps.lines[8].facts) == (GD, None)


async def test_an_operator_sees_what_a_file_of_rules_would_end(floor: Floor) -> None:
    seller = await floor.member()
    async with running_engine(floor.dsn, floor.redis):
        await _sell(floor, seller, 90, 5)
        await _sell(floor, seller, 95, 5, line=None, line_id=None)
    settings = settings_of(database_url=floor.dsn.replace("postgresql://", "postgresql+asyncpg://"))
    file = """
        [[rules]]
        carrier = "CMCC"
        effective_from = 2040-01-01T00:00:00+08:00
        [rules.terms]
        sales_a_month = 0
        [[rules]]
        carrier = "CTCC"
        effective_from = 2040-01-01T00:00:00+08:00
        [rules.terms]
    """

    said = await asyncio.to_thread(enacting.preview_programme, settings, file)

    assert said.splitlines() == [
        "CMCC: 2 of 2 open orders would end.",
        "         1 sales_used_up",
        "         1 line_unknown",
        "CTCC: 0 of 0 open orders would end.",
    ]


async def test_a_profile_never_changes_once_it_is_written(new_database: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(raw_dsn(await fresh_database(new_database, "profiles")))
    await connection.execute("insert into rule_profile (carrier, effective_from, terms) values ('CMCC', now(), '{}')")

    for change in ("update rule_profile set terms = '{}'", "delete from rule_profile"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await connection.execute(change)

    await connection.close()
