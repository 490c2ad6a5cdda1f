"""Carriers that are away or contradict us: their markets only let orders go (F19, F21). And frozen parties' orders."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import text

from market import frozen_orders, halting, stops
from market.parties import Member, Officer
from market.refusals import BadInput, Conflict, Forbidden, NotAllowed
from market.trading import OrderRequest, Placed, cancel, place
from settlement import freezing, pushes
from settlement.carriers.values import MovementStatus, Push
from tests.engine.factories import running_engine
from tests.market.town import Town, a_key

SALE = OrderRequest(symbol="CMCC-CN-3001", side="sell", lots=20, price_minor=900)


@pytest.fixture(autouse=True, scope="module")
async def _engine(town: Town) -> AsyncIterator[None]:
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield


async def change(town: Town, statement: str, **values: Any) -> None:
    async with town.venue.sessions.begin() as session:
        await session.execute(text(statement), values)


async def a_seller(town: Town) -> tuple[Member, Placed]:
    member = await town.enter(await town.line())
    return member, await place(town.venue, member, SALE, a_key())


async def market_of(town: Town, carrier: str = "CMCC") -> tuple[str, str | None]:
    query = "select state, stopped_by from instrument where symbol = :carrier || '-CN-3001'"
    (row,) = await town.rows(query, carrier=carrier)
    return row.state, row.stopped_by


async def away(town: Town, minutes: int, carrier: str = "CMCC") -> None:
    """As a worker shows it: the lane has been open for so long."""
    await change(
        town,
        "insert into lane_state (lane, state, since, failures, reason, next_try_at) values (:lane, 'open', now() -"
        " make_interval(mins => :minutes), 9, 'no connection', now()) on conflict (lane) do update set state = 'open',"
        " since = excluded.since, failures = 9, reason = excluded.reason, next_try_at = now()",
        lane=carrier, minutes=minutes,
    )  # fmt: skip


async def back(town: Town, carrier: str = "CMCC") -> None:
    closed = "update lane_state set state = 'closed', since = now(), failures = 0, reason = null where lane = :lane"
    await change(town, closed, lane=carrier)


async def test_a_carrier_that_is_away_too_long_only_lets_orders_go_and_opens_again_when_it_is_back(town: Town) -> None:
    member, placed = await a_seller(town)
    assert placed.answer is not None
    await away(town, minutes=9)
    await stops.look(town.venue)
    before = await market_of(town)
    await away(town, minutes=11)
    await stops.look(town.venue)
    during, others = await market_of(town), await market_of(town, "CTCC")

    with pytest.raises(NotAllowed):
        await place(town.venue, member, structs.replace(SALE, side="buy", price_minor=100), a_key())
    await cancel(town.venue, member, placed.answer.order_id or 0, a_key())
    await back(town)
    await stops.look(town.venue)

    assert (before, during, others) == (("open", None), ("cancel_only", "carrier"), ("open", None))
    assert await market_of(town) == ("open", None)


async def test_a_carrier_that_comes_back_opens_nothing_that_an_officer_has_stopped(town: Town) -> None:
    officer = Officer(7, "seven", "operations", None)
    symbol, reason = "CMCC-CN-3001", "I want to look."
    await halting.set_state(town.venue, officer, symbol=symbol, state="halted", reason=reason, key=a_key())
    await away(town, minutes=60)
    await stops.look(town.venue)
    await back(town)
    await stops.look(town.venue)

    stands = await market_of(town)
    await halting.set_state(town.venue, officer, symbol=symbol, state="open", reason=reason, key=a_key())
    assert stands == ("halted", "officer")
    assert await market_of(town) == ("open", None)


async def a_run(town: Town, breaks: int, cause: str = "missing_there") -> int:
    """A reconciliation that has found so many new breaks at the carrier."""
    await change(town, "insert into reconciliation (day, scope, status) values (current_date, 'all', 'done')")
    run_id: int = await town.value("select max(id) from reconciliation")
    await change(
        town,
        "insert into break_item (counterparty, kind, subject, cause, detail, unit, at, first_run_id, last_run_id)"
        " select 'CMCC', 'deliver', format('trd_%s_%s', cast(:run as bigint), number), :cause, '', 'MB', now(), :run,"
        " :run from generate_series(1, :breaks) number",
        run=run_id, cause=cause, breaks=breaks,
    )  # fmt: skip
    return run_id


async def test_a_carrier_that_contradicts_us_too_often_waits_for_an_officer(town: Town) -> None:
    officer = Officer(7, "seven", "operations", None)
    few, harmless = await a_run(town, 19), await a_run(town, 50, "in_flight")
    for run in (few, harmless):
        await stops.look_at_breaks(town.venue, run)
    await stops.look(town.venue)
    before = await market_of(town)

    await stops.look_at_breaks(town.venue, await a_run(town, 20))
    await stops.look(town.venue)
    during = await market_of(town)
    with pytest.raises(Forbidden):
        await stops.thaw(town.venue, replace(officer, carrier="CMCC"), "CMCC", "looked at")
    with pytest.raises(BadInput):
        await stops.thaw(town.venue, officer, "CMCC", "")
    await stops.thaw(town.venue, officer, "CMCC", "They have corrected their journal.")
    await stops.look(town.venue)

    assert (before, during) == (("open", None), ("cancel_only", "carrier"))
    assert await market_of(town) == ("open", None)
    with pytest.raises(Conflict):
        await stops.thaw(town.venue, officer, "CMCC", "again")


async def test_what_a_frozen_party_has_open_is_cancelled_and_its_owner_told_once(town: Town) -> None:
    (member, placed), (other, untouched) = await a_seller(town), await a_seller(town)
    async with town.venue.sessions.begin() as session:
        await freezing.freeze(session, member.party_id, freezing.DISPUTED, "because", "dp_frozen")

    cancelled = [await frozen_orders.take_off(town.venue) for _ in range(2)]

    assert placed.answer is not None
    assert untouched.answer is not None
    (row,) = await town.rows("select state, reason from orders where id = :id", id=placed.answer.order_id)
    assert (row.state, row.reason) == ("cancelled", "frozen")
    (row,) = await town.rows("select state from orders where id = :id", id=untouched.answer.order_id)
    assert row.state == "open"
    assert cancelled == [1, 0]
    told = await town.rows("select kind, facts from notice where party_id = :id", id=member.party_id)
    assert [(one.kind, one.facts) for one in told if one.kind == "orders_frozen"] == [("orders_frozen", {"orders": 1})]
    assert await town.value("select count(*) from notice where party_id = :id", id=other.party_id) == 0


async def test_pushes_are_forgotten_when_they_were_read_long_ago(town: Town) -> None:
    async with town.venue.sessions.begin() as session:
        for number in range(3):
            await pushes.record(session, "CMCC", Push(f"ref-{number}", "stranger", MovementStatus.DONE), "m")
    await change(
        town,
        "update carrier_push set outcome = 'asked', handled_at = now() -"
        " case reference when 'ref-0' then interval '40 days' else interval '5 days' end"
        " where reference in ('ref-0', 'ref-1')",
    )

    await stops.forget_pushes(town.venue)

    assert await town.rows("select reference from carrier_push where reference like 'ref-%' order by 1") == [
        ("ref-1",), ("ref-2",),
    ]  # fmt: skip
