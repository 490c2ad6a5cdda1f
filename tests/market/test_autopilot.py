"""The autopilot on a real market: its orders once each whatever dies in between, gone at once when it is paused."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from market import autopilot
from market.autopilot import switch, switch_on
from market.autopilot_rounds import finish, fly, outlook
from market.autopilot_rule import Wish
from market.autopilot_tables import AutopilotRow
from market.parties import Member, member
from market.refusals import BadInput, NotFound
from market.settings import Settings
from market.trading import mass_cancel
from market.usage_days import SHANGHAI
from market.venue import open_venue
from settlement.failpoints import VARIABLE
from tests.engine.factories import running_engine
from tests.market.town import Town, a_key, a_number

SYMBOL = "CMCC-CN-SOON"
SELLING = Wish(sells=True, buys=False, sell_down_to_mb=1_000, buy_up_to_mb=0, floor_minor=120, cap_minor=300)
BUYING = Wish(sells=False, buys=True, sell_down_to_mb=2_000, buy_up_to_mb=1_000, floor_minor=120, cap_minor=250)


def midnight(days: int) -> datetime:
    local = datetime.now(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    return local + timedelta(days=days)


@pytest.fixture(autouse=True, scope="module")
async def _engine(town: Town) -> AsyncIterator[None]:
    """An engine for data that ends in five days."""
    async with town.venue.sessions.begin() as session:
        values = {"symbol": SYMBOL, "ends": midnight(5)}
        await session.execute(
            text("""
                insert into asset (code, kind, carrier, scope, expires_at)
                values (:symbol, 'data', 'CMCC', 'CN', :ends)
            """),
            values,
        )
        await session.execute(
            text("""
                insert into instrument (symbol, asset_id, currency, lot_units, tick_minor, floor_minor, ceiling_minor,
                    reference_minor, maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at)
                select code, id, 'CNY', 100, 5, 5, 300, 150, 1000, 500, 1, '2020-01-01',
                    expires_at - interval '2 hours' from asset where code = :symbol
            """),
            values,
        )
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield


@pytest.fixture(autouse=True)
async def _off(town: Town) -> AsyncIterator[None]:
    """Leave neither a line nor an order of this test to the next."""
    yield
    for (party,) in await town.rows("select distinct party_id from open_order"):
        async with town.venue.sessions() as session:
            owner = await member(session, party)
        await mass_cancel(town.venue, owner, a_key())
    async with town.venue.sessions.begin() as session:
        await session.execute(text("update autopilot set state = 'off'"))
        await session.execute(text("update autopilot_action set outcome = 'test over' where outcome is null"))


async def somebody(town: Town, *, remaining_mb: int, daily_mb: int) -> tuple[Member, int]:
    """A member whose line has 20 known days, and the line."""
    number = a_number()
    await town.line(
        number=number, remaining_mb=remaining_mb, expires_at=midnight(5).isoformat(), daily_mb=daily_mb,
        used_since=midnight(-20).isoformat(),
    )  # fmt: skip
    owner = await town.enter(number)
    await town.put(owner.party_id, "CNY", 100_000)
    return owner, await town.value("select id from line where party_id = :party", party=owner.party_id)


async def orders(town: Town, owner: Member) -> list[Any]:
    return await town.rows(
        "select side, open, price_minor from open_order where party_id = :party order by id", party=owner.party_id
    )


async def actions(town: Town, line: int) -> list[tuple[str, str | None]]:
    rows = await town.rows("select kind, outcome from autopilot_action where line_id = :line order by id", line=line)
    return [tuple(row) for row in rows]


async def begin(town: Town, owner: Member, line: int, wish: Wish = SELLING) -> None:
    await switch_on(town.venue, owner, line, wish, datetime.now(UTC))


async def test_what_will_not_be_used_is_put_on_sale_once_a_day(town: Town) -> None:
    seller, line = await somebody(town, remaining_mb=12_000, daily_mb=200)
    await begin(town, seller, line)

    for _ in range(3):
        await fly(town.venue, datetime.now(UTC))

    ((side, open_lots, price),) = await orders(town, seller)
    assert side == 2
    assert 60 <= open_lots <= 100
    assert 120 <= price <= 300
    assert await actions(town, line) == [("sell", "done")]
    assert await town.rows("select id from notice where party_id = :p and kind = 'pilot_sell'", p=seller.party_id)


async def test_what_will_be_missing_is_bid_for_within_the_cap(town: Town) -> None:
    buyer, line = await somebody(town, remaining_mb=300, daily_mb=400)
    await begin(town, buyer, line, BUYING)

    await fly(town.venue, datetime.now(UTC))

    assert await actions(town, line) == [("buy", "done")]
    ((side, open_lots, price),) = await orders(town, buyer)
    assert (side, price) == (1, 250)
    assert 10 <= open_lots <= 60


async def test_the_preview_is_what_is_done(town: Town) -> None:
    seller, line = await somebody(town, remaining_mb=12_000, daily_mb=200)
    await begin(town, seller, line)
    async with town.venue.sessions() as session:
        row = await session.get_one(AutopilotRow, line)
    shown = await outlook(town.venue, seller, row, datetime.now(UTC))

    await fly(town.venue, datetime.now(UTC))

    (move,) = shown.moves
    assert [tuple(each) for each in await orders(town, seller)] == [(2, move.lots, move.price_minor)]


async def test_a_pause_cancels_its_orders_at_once_and_going_on_begins_anew(town: Town) -> None:
    seller, line = await somebody(town, remaining_mb=12_000, daily_mb=200)
    await begin(town, seller, line)
    await fly(town.venue, datetime.now(UTC))

    ending = await switch(town.venue, seller, line, "paused", datetime.now(UTC))
    await finish(town.venue, ending, datetime.now(UTC))
    await fly(town.venue, datetime.now(UTC))

    assert await orders(town, seller) == []
    assert await actions(town, line) == [("sell", "done"), ("cancel", "done")]


async def test_a_pause_whose_process_dies_is_carried_out_by_the_next_round(town: Town) -> None:
    seller, line = await somebody(town, remaining_mb=12_000, daily_mb=200)
    await begin(town, seller, line)
    await fly(town.venue, datetime.now(UTC))

    await switch(town.venue, seller, line, "off", datetime.now(UTC))
    await fly(town.venue, datetime.now(UTC))

    assert await orders(town, seller) == []


async def test_only_orders_of_the_autopilot_are_ended_by_it(town: Town) -> None:
    seller, line = await somebody(town, remaining_mb=12_000, daily_mb=200)
    stranger, _ = await somebody(town, remaining_mb=12_000, daily_mb=200)
    await begin(town, seller, line)
    await fly(town.venue, datetime.now(UTC))

    with pytest.raises(NotFound):
        await switch(town.venue, stranger, line, "off", datetime.now(UTC))

    assert len(await orders(town, seller)) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sells": False, "buys": False}, "sells"),
        ({"buy_up_to_mb": 3_000}, "sell_down_to"),
        ({"floor_minor": 0}, "floor"),
        ({"cap_minor": 0}, "cap"),
        ({"buy_up_to_mb": -1}, "buy_up_to"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused(town: Town, changes: dict[str, Any], field: str) -> None:
    owner, line = await somebody(town, remaining_mb=1_000, daily_mb=0)
    values = {name: getattr(SELLING, name) for name in Wish.__slots__} | changes

    with pytest.raises(BadInput) as refusal:
        await begin(town, owner, line, Wish(**values))

    assert refusal.value.field == field


def die(settings: Settings, failpoint: str) -> None:
    """One round in a process of its own, which kills itself at a failpoint."""
    os.environ[VARIABLE] = f"{failpoint}:kill"

    async def once() -> None:
        async with open_venue(settings, pool_size=6) as venue:
            await fly(venue, datetime.now(UTC))

    asyncio.run(once())


async def killed(town: Town, failpoint: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die, args=(town.venue.settings, failpoint))
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("failpoint", ["autopilot.planned", "autopilot.placed", "autopilot.done"])
async def test_a_round_killed_anywhere_leaves_each_order_once(town: Town, failpoint: str) -> None:
    seller, line = await somebody(town, remaining_mb=12_000, daily_mb=200)
    await begin(town, seller, line)

    await killed(town, failpoint)
    assert await actions(town, line) == [("sell", None)], "the plan was written before anything was asked for"
    await fly(town.venue, datetime.now(UTC))
    await fly(town.venue, datetime.now(UTC))

    assert len(await orders(town, seller)) == 1
    assert await actions(town, line) == [("sell", "done")]
    assert await custodies(town, seller) == 1


async def custodies(town: Town, seller: Member) -> int:
    found: int = await town.value("select count(*) from custody where party_id = :party", party=seller.party_id)
    return found


async def test_without_the_written_plan_the_same_death_would_double_the_order(town: Town) -> None:
    """The control: a round that forgets what it had begun places a second order."""
    seller, line = await somebody(town, remaining_mb=20_000, daily_mb=200)
    await begin(town, seller, line)

    await killed(town, "autopilot.placed")
    async with town.venue.sessions.begin() as session:
        await session.execute(text("delete from autopilot_action where line_id = :line"), {"line": line})
        await session.execute(
            text("update autopilot set planned_on = null, version = version + 1 where line_id = :line"), {"line": line}
        )
    await fly(town.venue, datetime.now(UTC))

    assert len(await orders(town, seller)) == 2


async def test_an_order_that_a_pause_overtook_is_taken_back(town: Town) -> None:
    seller, line = await somebody(town, remaining_mb=12_000, daily_mb=200)
    await begin(town, seller, line)

    await killed(town, "autopilot.placed")
    assert len(await orders(town, seller)) == 1
    ending = await switch(town.venue, seller, line, "paused", datetime.now(UTC))
    await finish(town.venue, ending, datetime.now(UTC))
    await fly(town.venue, datetime.now(UTC))

    assert await orders(town, seller) == []
    assert await actions(town, line) == [("sell", "paused")]


async def test_the_log_is_read_a_page_at_a_time(town: Town) -> None:
    seller, line = await somebody(town, remaining_mb=12_000, daily_mb=200)
    await begin(town, seller, line)
    await fly(town.venue, datetime.now(UTC))
    await switch(town.venue, seller, line, "paused", datetime.now(UTC))

    async with town.venue.sessions() as session:
        newest = await autopilot.log_of(session, seller, line, None, 1)
        older = await autopilot.log_of(session, seller, line, newest[0].id, 5)

    assert [each.kind for each in newest] == ["cancel"]
    assert [each.kind for each in older] == ["sell"]
