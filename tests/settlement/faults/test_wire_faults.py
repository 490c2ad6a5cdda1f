"""What the network does to a request, and what becomes of the trade: one movement or none, and never a guess."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from settlement.carriers.client import Carrier
from tests.settlement.faults.mischief import AMBIGUOUS, Link, Mischief, open_link
from tests.settlement.making import Balance, balance, imbalance
from tests.settlement.world import World


@asynccontextmanager
async def linked(world: World, **changes: Any) -> AsyncIterator[tuple[World, Link]]:
    """The same world, its carrier reached through a link that can be spoilt."""
    terms: dict[str, Any] = {"timeout_seconds": 0.6, "max_in_flight_seconds": 1.2, **changes}
    async with open_link(world.sim.port) as link:
        profile = world.sim.profile(base_url=f"{link.url}/cmcc", **terms)
        async with Carrier(profile) as carrier:
            yield replace(world, carrier=carrier), link


@pytest.mark.parametrize("mischief", AMBIGUOUS)
async def test_an_answer_that_is_no_answer_is_waited_out_asked_about_and_settles_once(
    world: World, mischief: Mischief
) -> None:
    world.sim.faults(idempotent=False)  # a second request would move the data a second time
    trade = await world.traded(await world.reserved(500), quantity=200)
    before = world.sim.totals()["movements"]

    async with linked(world) as (spoilt, link):
        link.arm(mischief)
        async with spoilt.working():
            ended = await spoilt.ended(trade.id)

    assert link.met[mischief] == 1
    assert ended.status == "settled"
    assert world.sim.totals()["movements"] == before + 1
    assert await world.received_mb(trade) == 200
    async with world.sessions() as session:
        assert await imbalance(session) == {}


@pytest.mark.parametrize("mischief", [Mischief.OTHER_AMOUNT, Mischief.MISSING_FIELD])
async def test_an_answer_about_something_else_stops_for_a_person_and_moves_no_money(
    world: World, mischief: Mischief
) -> None:
    trade = await world.traded(await world.reserved(500), quantity=200, amount_minor=500)

    async with linked(world) as (spoilt, link):
        link.arm(mischief)
        async with spoilt.working():
            stopped = await spoilt.status("deliver", trade.id, "dead")

    assert stopped.reason
    assert (await world.delivery(trade.id)).status == "pending"
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(0, 500)
        assert await balance(session, trade.proceeds_account_id) == Balance(0, 0)


async def test_a_refusal_of_a_second_attempt_refunds_only_when_the_first_is_surely_gone(world: World) -> None:
    trade = await world.traded(await world.reserved(500), quantity=200)

    async with linked(world) as (spoilt, link):
        link.arm(Mischief.RESET_BEFORE)
        world.sim.faults(refuse_percent=100)
        async with spoilt.working():
            ended = await spoilt.ended(trade.id)

    row = await world.instruction("deliver", trade.id)
    assert row is not None
    assert (ended.status, row.attempt) == ("refunded", 2)
    assert await world.received_mb(trade) == 0


async def test_our_own_expired_credential_refunds_nobody_and_its_successor_settles(world: World) -> None:
    trade = await world.traded(await world.reserved(500), quantity=200)

    async with linked(world, credential="expired") as (locked_out, _), locked_out.working():
        doubted = await locked_out.status("deliver", trade.id, "unknown")
    async with world.working():
        ended = await world.ended(trade.id)

    assert doubted.attempt == 1
    assert ended.status == "settled"
    assert await world.received_mb(trade) == 200


async def test_data_that_the_carrier_gave_back_behind_our_back_is_not_sold(world: World) -> None:
    custody = await world.reserved(500)
    trade = await world.traded(custody, quantity=200, amount_minor=500)
    await world.carrier.release(str(custody.reservation_id))

    async with world.working():
        ended = await world.ended(trade.id)

    assert ended.status == "refunded"
    assert await world.received_mb(trade) == 0
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(500, 0)


async def test_a_number_that_left_the_carrier_gets_no_data_and_its_owner_the_money(world: World) -> None:
    receiver = world.a_line(remaining_mb=0)
    world.numbers[receiver] = "+8613999999999"  # ported: the carrier knows it no more
    trade = await world.traded_to(await world.reserved(500), receiver, quantity=200, amount_minor=500)

    async with world.working():
        ended = await world.ended(trade.id)

    assert ended.status == "refunded"
    async with world.sessions() as session:
        assert await balance(session, trade.money_account_id) == Balance(500, 0)
