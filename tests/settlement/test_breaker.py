"""The breaker of a lane: it opens after calls in a row that came to nothing, lets single ones through, and closes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from settlement import queues
from settlement.breaker import WAITING, Breaker, Limits, Standing, forget, show
from settlement.carriers.client import Carrier
from settlement.instructions import Absent, Contradicted, Done, Lost, Outcome, Refused, Undone
from settlement.lane_tables import LaneStateRow
from tests.carrier.simulator import CarrierProcess, free_port
from tests.settlement.making import imbalance
from tests.settlement.world import World, until

LIMITS = Limits(failures=3, pause_seconds=5, longest_pause_seconds=20)
LOST = Lost("no answer")
ANSWERS: list[Outcome] = [Done("m"), Refused("no"), Absent(), Contradicted("another"), Lost("at work", soon=True)]


def after(*outcomes: Outcome, at: float = 100) -> Breaker:
    breaker = Breaker()
    for outcome in outcomes:
        breaker = breaker.after(outcome, LIMITS, at)
    return breaker


def test_it_opens_after_so_many_in_a_row_and_not_before() -> None:
    assert after(LOST, LOST).state is Standing.CLOSED
    assert after(LOST, LOST, Undone("unreachable")).state is Standing.OPEN


@pytest.mark.parametrize("answer", ANSWERS)
def test_any_answer_begins_the_count_anew_and_closes_what_was_open(answer: Outcome) -> None:
    assert after(LOST, LOST, answer, LOST, LOST).state is Standing.CLOSED
    assert after(LOST, LOST, LOST, answer) == Breaker()


def test_while_it_is_open_nothing_goes_through_until_the_pause_is_over_and_then_one() -> None:
    breaker = after(LOST, LOST, LOST)

    assert breaker.places(16, 0, 104.9) == 0
    assert breaker.places(16, 0, 105) == 1
    assert breaker.places(16, 1, 105) == 0


def test_pauses_double_with_each_failed_trial_up_to_the_longest() -> None:
    breaker, pauses = after(LOST, LOST, LOST), []
    for _ in range(4):
        now = breaker.next_try
        breaker = breaker.trying().after(LOST, LIMITS, now)
        pauses.append(breaker.next_try - now)

    assert pauses == [10, 20, 20, 20]


def test_what_we_refuse_ourselves_is_nobodys_answer_and_leaves_the_trial_to_the_next() -> None:
    ours = Refused("we never reserved it", ours=True)

    assert after(LOST, LOST, ours, LOST).state is Standing.OPEN
    breaker = after(LOST, LOST, LOST)
    tried = breaker.trying().after(ours, LIMITS, breaker.next_try)
    assert tried == breaker
    assert tried.places(16, 0, breaker.next_try) == 1
    assert tried.trying().after(LOST, LIMITS, 105).next_try == 115


@given(st.lists(st.sampled_from([LOST, Undone("unreachable"), *ANSWERS])))
def test_it_is_open_exactly_when_the_last_calls_all_came_to_nothing(outcomes: list[Outcome]) -> None:
    nothing = 0
    for outcome in outcomes:
        nothing = 0 if outcome in ANSWERS else nothing + 1

    assert (after(*outcomes).state is Standing.CLOSED) == (nothing < LIMITS.failures)


async def shown(world: World) -> LaneStateRow | None:
    async with world.sessions() as session:
        return await session.scalar(select(LaneStateRow).where(LaneStateRow.lane == "CMCC"))


async def stands(world: World, state: str) -> bool:
    row = await shown(world)
    return row is not None and row.state == state


@asynccontextmanager
async def away(world: World, carrier_simulator: CarrierProcess) -> AsyncIterator[World]:
    """A worker whose carrier is not there."""
    nowhere = carrier_simulator.profile(timeout_seconds=0.6, max_in_flight_seconds=1.2)
    nowhere = replace(nowhere, base_url=f"http://127.0.0.1:{free_port()}/cmcc")
    async with Carrier(nowhere) as carrier:
        elsewhere = replace(world, carrier=carrier)
        async with elsewhere.working():
            yield elsewhere


def test_one_question_goes_out_now_and_then_while_nothing_is_sent() -> None:
    breaker = after(LOST, LOST, LOST)

    assert not breaker.may_ask(0, 104.9)
    assert breaker.may_ask(0, 105)
    assert not breaker.may_ask(1, 105)
    assert not breaker.asking(LIMITS, 105).may_ask(0, 109.9)
    assert breaker.asking(LIMITS, 105).may_ask(0, 110)
    assert not after(LOST).may_ask(0, 1000), "while it is closed, asks take their turn"


async def test_what_waits_says_why_until_the_carrier_is_back(world: World, carrier_simulator: CarrierProcess) -> None:
    custody = await world.reserved(3000)
    trades = [await world.traded(custody, quantity=100, amount_minor=10, fee_minor=1) for _ in range(30)]

    async def all_say_why() -> bool:
        found = [await world.instruction("deliver", trade.id) for trade in trades]
        return all(one is not None and one.reason == WAITING for one in found)

    async with away(world, carrier_simulator):
        await until(all_say_why)
    async with world.sessions() as session:
        (queue,) = await queues.of_lanes(session, "CMCC")
        assert (queue.state, queue.is_carrier) == ("open", True)
        assert queue.waiting >= 30
    async with world.working():
        for trade in trades:
            assert (await world.ended(trade.id, 30)).status == "settled"

    for trade in trades:
        ended = await world.instruction("deliver", trade.id)
        assert ended is not None
        assert ended.reason is None


async def test_a_worker_stops_promptly_while_its_lane_is_open(world: World, carrier_simulator: CarrierProcess) -> None:
    custody = await world.reserved(3000)
    trades = [await world.traded(custody, quantity=100, amount_minor=10, fee_minor=1) for _ in range(12)]

    async with away(world, carrier_simulator):
        await until(lambda: stands(world, "open"))
        stopped_at = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - stopped_at < 2

    async with world.working():
        for trade in trades:
            await world.ended(trade.id, 30)


async def test_the_call_on_trial_is_written_down_before_it_is_answered(
    world: World, carrier_simulator: CarrierProcess
) -> None:
    custody = await world.reserved(3000)
    trades = [await world.traded(custody, quantity=100, amount_minor=10, fee_minor=1) for _ in range(10)]
    async with world.sessions.begin() as session:
        await session.execute(text("create table if not exists lane_history (state text)"))
        await session.execute(
            text(
                "create or replace function note_lane() returns trigger language plpgsql as "
                "$$ begin insert into lane_history values (new.state); return new; end $$"
            )
        )
        await session.execute(
            text(
                "create or replace trigger note before insert or update on lane_state "
                "for each row execute function note_lane()"
            )
        )

    async def tried_in_vain() -> bool:
        async with world.sessions() as session:
            states = list(await session.scalars(text("select state from lane_history")))
        return "half_open" in states and states[-1] == "open"

    async with away(world, carrier_simulator):
        await until(tried_in_vain, 20)
    async with world.sessions.begin() as session:
        await session.execute(text("drop trigger note on lane_state"))
    async with world.working():
        for trade in trades:
            await world.ended(trade.id, 30)


async def test_what_a_worker_that_is_gone_left_open_is_closed_at_the_next_start(world: World) -> None:
    stale = Breaker(Standing.OPEN, failures=9, next_try=10**6, reason="no connection")
    async with world.sessions.begin() as session:
        await show(session, "CMCC", stale, 0)
    assert await stands(world, "open")

    async with world.working():
        await until(lambda: stands(world, "closed"))

    async with world.sessions.begin() as session:
        await forget(session)
    row = await shown(world)
    assert row is not None
    assert (row.failures, row.reason, row.next_try_at) == (0, None, None)


async def test_a_carrier_that_is_away_is_left_alone_and_everything_settles_when_it_is_back(
    world: World, carrier_simulator: CarrierProcess
) -> None:
    custody = await world.reserved(3000)
    trades = [await world.traded(custody, quantity=100, amount_minor=10, fee_minor=1) for _ in range(20)]

    async with away(world, carrier_simulator):
        await until(lambda: stands(world, "open"))
    row = await shown(world)
    assert row is not None
    assert "no connection" in str(row.reason)
    async with world.working():
        for trade in trades:
            assert (await world.ended(trade.id, 30)).status == "settled"

    closed = await shown(world)
    assert closed is not None
    assert (closed.state, closed.reason, closed.failures) == ("closed", None, 0)
    async with world.sessions() as session:
        assert await imbalance(session) == {}
