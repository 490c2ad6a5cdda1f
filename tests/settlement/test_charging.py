"""Cards are asked for money through instructions: at once by whoever waits, by a worker when that one is gone."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from settlement import at_once, dead_letters, funding
from settlement.charging import CREDIT, KINDS, Charge
from settlement.claims import Claim, Steps, take_this
from settlement.failpoints import VARIABLE
from settlement.instructions import Absent, Done, Lost, Outcome, Refused, State
from settlement.lane import Lane
from settlement.naming import external_id
from settlement.payments.values import Payment, PaymentStatus
from settlement.steps import PROVIDER_LANE, Numbers, Outside
from settlement.tables import InstructionRow, PaymentRow
from settlement.worker import STEPS
from tests.carrier.simulator import ROOT
from tests.payment.making import Http, Provider, fresh, settings_for
from tests.settlement.making import Balance, a_payment_row, balance, imbalance
from tests.settlement.world import World

NO_FAULTS = {"timeout_percent": 0, "error_percent": 0, "error_after_percent": 0}


async def asked(world: World, kind: str = "top_up", card: str = "pm_card_visa") -> PaymentRow:
    """A payment that its owner has asked for, and that nobody has begun with."""
    customer = await world.payments.create_customer("buyer", fresh("key"))
    async with world.sessions.begin() as session:
        row = await a_payment_row(session, kind)
        row.customer, row.payment_method, row.return_url = customer, card, "https://market.example/returned"
        await funding.instruct(session, KINDS[kind], row.id, PROVIDER_LANE)
    return row


async def taken(world: World, row: PaymentRow) -> Claim | None:
    async with world.sessions.begin() as session:
        return await at_once.claim(session, world.outside, KINDS[row.kind], row.id)


async def done_at_once(world: World, row: PaymentRow) -> Outcome:
    claim = await taken(world, row)
    assert claim is not None
    return await at_once.do(world.sessions, world.outside, world.announce, claim)


async def stands(world: World, row: PaymentRow) -> PaymentRow:
    async with world.sessions() as session:
        return await session.get_one(PaymentRow, row.id)


async def lapse(world: World, kind: str, row: PaymentRow) -> None:
    """Let the time of whoever has the instruction in hands be over."""
    one = update(InstructionRow).where(InstructionRow.kind == kind, InstructionRow.subject_id == row.id)
    async with world.sessions.begin() as session:
        await session.execute(one.values(not_before=func.now(), claim_deadline=func.now()))


async def at_the_provider(world: World, row: PaymentRow) -> list[Payment]:
    """Every payment that the provider has of this customer, whatever it is called."""
    listed = await world.payments._client.v1.payment_intents.list_async({"customer": row.customer or ""})
    return [await world.payments.payment(intent.id) for intent in listed.data]


async def test_a_claim_is_written_down_before_the_first_byte_leaves(world: World) -> None:
    row = await asked(world)

    claim = await taken(world, row)

    written = await world.instruction("credit", row.id)
    assert claim is not None
    assert written is not None
    assert (written.status, written.attempt, written.claimed_by) == ("claimed", 1, claim.holder)
    assert written.claim_deadline is not None
    assert written.request_hash is not None
    assert await at_the_provider(world, row) == []


async def test_what_one_has_in_hands_no_other_takes(world: World) -> None:
    row = await asked(world)

    assert await taken(world, row) is not None
    assert await taken(world, row) is None


@pytest.mark.parametrize(("kind", "status"), [("top_up", "succeeded"), ("card_hold", "authorised")])
async def test_who_waits_has_it_done_at_once(world: World, kind: str, status: str) -> None:
    row = await asked(world, kind)

    outcome = await done_at_once(world, row)

    ended = await world.instruction(KINDS[kind], row.id)
    assert isinstance(outcome, Done)
    assert ended is not None
    assert ended.status == "done"
    assert (await stands(world, row)).status == status
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)


async def test_a_declined_card_takes_nothing(world: World) -> None:
    row = await asked(world, card="pm_card_visa_chargeDeclined")

    outcome = await done_at_once(world, row)

    assert isinstance(outcome, Refused)
    assert (await stands(world, row)).status == "declined"


@pytest.mark.parametrize("kind", ["top_up", "card_hold"])
@pytest.mark.parametrize("failpoint", ["settle.after_claim", "settle.after_send", "settle.before_write"])
async def test_a_program_killed_while_its_user_waits_leaves_one_payment_and_a_worker_ends_it(
    world: World, database_url: str, payment_simulator: Provider, kind: str, failpoint: str
) -> None:
    row = await asked(world, kind)
    described = {
        "database_url": database_url,
        "payment": asdict(settings_for(payment_simulator)),
        "mark": world.mark,
        "kind": KINDS[kind],
        "payment_id": row.id,
    }
    environment = {**os.environ, VARIABLE: f"{failpoint}:kill", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.settlement.one_payer", json.dumps(described)]
    program = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)

    assert await asyncio.wait_for(program.wait(), 30) == -signal.SIGKILL
    await lapse(world, KINDS[kind], row)
    never_sent = failpoint == "settle.after_claim"
    async with world.working():
        await world.status(KINDS[kind], row.id, "refused" if never_sent and kind == "card_hold" else "done")

    ended = await stands(world, row)
    if never_sent and kind == "card_hold":
        assert ended.status == "declined", "nobody waits for a hold that was never asked for"
        assert await at_the_provider(world, row) == []
    else:
        assert ended.status == ("succeeded" if kind == "top_up" else "authorised")
        assert [payment.id for payment in await at_the_provider(world, row)] == [ended.provider_id]
    async with world.sessions() as session:
        assert await imbalance(session) == {}


async def test_an_answer_that_was_lost_is_asked_for_and_credited_once(world: World, provider_http: Http) -> None:
    row = await asked(world)
    await provider_http.control("PUT", "faults", {"timeout_percent": 100})
    try:
        outcome = await done_at_once(world, row)
    finally:
        await provider_http.control("PUT", "faults", NO_FAULTS)

    assert isinstance(outcome, Lost)
    assert (await stands(world, row)).status == "requested", "no answer is no reason to say anything"
    async with world.working():
        await world.status("credit", row.id, "done")
    assert (await stands(world, row)).status == "succeeded"
    assert len(await at_the_provider(world, row)) == 1


async def test_its_owner_may_ask_before_the_worker_does(world: World, provider_http: Http) -> None:
    row = await asked(world)
    await provider_http.control("PUT", "faults", {"timeout_percent": 100})
    try:
        await done_at_once(world, row)
    finally:
        await provider_http.control("PUT", "faults", NO_FAULTS)

    claim = await taken(world, row)
    assert claim is not None
    assert claim.attempt.asking
    await at_once.do(world.sessions, world.outside, world.announce, claim)

    assert (await stands(world, row)).status == "succeeded"
    assert len(await at_the_provider(world, row)) == 1


async def test_charging_again_without_asking_takes_the_money_twice_and_is_noticed(
    world: World, provider_http: Http
) -> None:
    """The negative control: the same fault, and a policy that neither asks nor keeps its name."""

    async def never_asks(outside: Outside, charge: Charge, numbers: Numbers) -> Outcome:
        return Absent()

    async def renamed(outside: Outside, charge: Charge, numbers: Numbers) -> Outcome:
        return await CREDIT.send(outside, replace(charge, external_id=fresh("again")), numbers)

    row = await asked(world)
    await provider_http.control("PUT", "faults", {"timeout_percent": 100})
    try:
        await done_at_once(world, row)
    finally:
        await provider_http.control("PUT", "faults", NO_FAULTS)
    reckless = {"credit": replace(CREDIT, send=renamed, ask=never_asks)}
    for _ in ("asks", "sends again"):
        await lapse(world, "credit", row)
        await _worked(replace(world, patience=timedelta()), reckless, row)

    assert len(await at_the_provider(world, row)) == 2


async def _worked(world: World, steps: Steps, row: PaymentRow) -> None:
    """One turn of a lane that hears nothing from the provider by itself."""
    async with world.sessions.begin() as session:
        claim = await take_this(
            session, steps, "credit", row.id, holder="reckless", budget=timedelta(seconds=15), mark=world.mark
        )
    assert claim is not None
    lane = Lane(PROVIDER_LANE, world.outside, steps, world.sessions, world.announce, "reckless", lambda: None)
    await lane.do(claim)


async def test_a_top_up_that_never_arrives_is_declined_in_the_end(world: World, provider_http: Http) -> None:
    row = await asked(world)
    await provider_http.control("PUT", "faults", {"error_percent": 100})
    try:
        assert isinstance(await done_at_once(world, row), Lost)
    finally:
        await provider_http.control("PUT", "faults", NO_FAULTS)

    async with world.working():
        await world.status("credit", row.id, "refused", 20)  # the provider repeats its error under our name

    assert (await stands(world, row)).status == "declined"
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(0, 0)


async def test_a_confirmation_that_never_comes_is_called_off_after_a_day(world: World) -> None:
    row = await asked(world, card="pm_card_threeDSecure2Required")
    await done_at_once(world, row)
    waiting = await world.instruction("abandon", row.id)
    assert (await stands(world, row)).status == "requires_action"
    assert waiting is not None
    assert waiting.not_before - waiting.created_at == timedelta(hours=24)

    await lapse(world, "abandon", row)
    async with world.working():
        await world.status("abandon", row.id, "done")

    ended = await stands(world, row)
    assert ended.status == "declined"
    assert (await world.payments.payment(ended.provider_id or "")).status is PaymentStatus.CANCELED


async def test_who_confirms_at_the_last_moment_has_paid(world: World, provider_http: Http) -> None:
    row = await asked(world, card="pm_card_threeDSecure2Required")
    await done_at_once(world, row)
    url = (await stands(world, row)).action_url
    assert url is not None
    await provider_http.page("POST", url, {"answer": "confirm"})

    await lapse(world, "abandon", row)
    async with world.working():
        await world.status("abandon", row.id, "done")

    assert (await stands(world, row)).status == "succeeded"


@pytest.mark.parametrize(("kind", "status"), [("top_up", "succeeded"), ("card_hold", "authorised")])
async def test_a_dead_one_is_booked_when_two_persons_say_that_it_happened(world: World, kind: str, status: str) -> None:
    row = await asked(world, kind)
    dead = update(InstructionRow).where(InstructionRow.kind == KINDS[kind], InstructionRow.subject_id == row.id)
    async with world.sessions.begin() as session:
        await session.execute(dead.values(status=State.DEAD))
        number = await session.scalar(
            select(InstructionRow.id).where(InstructionRow.kind == KINDS[kind], InstructionRow.subject_id == row.id)
        )
        assert number is not None
        await dead_letters.end(session, STEPS, world.mark, number, reference=f"pi_found{row.id}", reason="seen there")

    assert (await stands(world, row)).status == status
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert await imbalance(session) == {}


async def test_our_name_at_the_provider_is_that_of_the_payment(world: World) -> None:
    row = await asked(world)
    await done_at_once(world, row)

    (payment,) = await at_the_provider(world, row)

    assert payment.reference == external_id(world.mark, "top_up", row.id)
