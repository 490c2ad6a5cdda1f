"""Trades settled over the second dialect: a gateway that accepts first, ends later and pushes (F13 to F20)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import custody, pushes, reversals
from settlement.carriers.client import Carrier
from settlement.carriers.errors import ForgedPush
from settlement.carriers.port import CarrierPort
from settlement.carriers.recharge.client import RechargeCarrier
from settlement.carriers.recharge.signing import sign
from settlement.claims import Steps
from settlement.naming import external_id
from settlement.payments.port import Payments
from settlement.push_tables import CarrierPushRow
from settlement.reopening_tables import ReopeningRow
from settlement.simulators.gateway.faults import FAULT_OF_NUMBER, Fault
from settlement.steps import Outside
from settlement.tables import CustodyRow, DeliveryRow
from tests.carrier.gateway import PARTNER, SECRET, GatewayProcess
from tests.carrier.simulator import CarrierProcess, free_port, only_bucket
from tests.settlement.making import a_custody, a_trade, balance, imbalance
from tests.settlement.world import World, until

SUFFIX = {fault: number for number, fault in FAULT_OF_NUMBER.items()}


@dataclass
class Callbacks:
    """Takes the gateway's pushes as the web does: checked, stored, answered."""

    port: int = field(default_factory=free_port)
    answers: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks/carriers/CMCC"

    async def serve(self, world: "GatewayWorld") -> asyncio.Server:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            status = await self._take(world, await reader.readexactly(length))
            self.answers.append(status)
            body = b"ok" if status == httpx.codes.OK else b"no"
            writer.write(b"HTTP/1.1 %d -\r\nContent-Length: 2\r\nConnection: close\r\n\r\n%s" % (status, body))
            await writer.drain()
            writer.close()

        return await asyncio.start_server(take, "127.0.0.1", self.port)

    async def _take(self, world: "GatewayWorld", body: bytes) -> int:
        try:
            push = world.carrier.read_push(body, datetime.now(UTC))
        except ForgedPush:
            return 400
        async with world.sessions.begin() as session:
            await pushes.record(session, "CMCC", push, world.mark)
            due = await pushes.handle(session)
        if due:
            world.wake.set()
        return 200


@dataclass
class GatewayWorld(World):
    """The same world, but CMCC is reached through the gateway."""

    others: dict[str, CarrierPort] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    callbacks: Callbacks = field(default_factory=Callbacks)

    @property
    def outside(self) -> Outside:
        plain = super().outside
        return replace(plain, carriers={**plain.carriers, **self.others})

    async def _run(self, wake: asyncio.Event, stop: asyncio.Event, name: str, steps: Steps) -> None:
        await super()._run(self.wake, stop, name, steps)

    async def traded_to(self, row: CustodyRow, receiver: int, **terms: int | None) -> DeliveryRow:
        """The worker hears of a trade at once, as it does from the engine."""
        trade = await super().traded_to(row, receiver, **terms)
        self.wake.set()
        return trade

    async def pushed(self, delivery_id: int) -> list[str | None]:
        """What became of the pushes about a delivery."""
        query = select(CarrierPushRow.outcome).where(CarrierPushRow.subject_id == delivery_id)
        async with self.sessions() as session:
            return list(await session.scalars(query))


@pytest.fixture(scope="module")
def gateway(new_database: Callable[[str], str]) -> Iterator[GatewayProcess]:
    process = GatewayProcess(new_database("settlement_gateway"), free_port())
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture
async def world(
    sessions: async_sessionmaker[AsyncSession], gateway: GatewayProcess, payments_port: Payments, database_url: str
) -> AsyncIterator[GatewayWorld]:
    gateway.settings(finish_ms=50, hang_ms=900)
    callbacks = Callbacks()
    profile = gateway.profile(timeout_seconds=0.6, max_in_flight_seconds=1.2, notify_url=callbacks.url)
    mark = database_url.partition("?")[0].rpartition("_")[2]
    async with RechargeCarrier(profile) as port:
        simulator: Any = gateway  # the world names the other dialect's
        carrier: Any = port
        world = GatewayWorld(sessions, simulator, carrier, payments_port, mark=mark, callbacks=callbacks)
        async with await callbacks.serve(world):
            yield world


async def ended(world: GatewayWorld, fault: Fault | None = None) -> DeliveryRow:
    """A trade through the gateway, to its end; the books agree with each other afterwards."""
    row = await world.reserved()
    async with world.working():
        trade = await world.traded(row, SUFFIX[fault] if fault else "0000")
        over = await world.ended(trade.id)
    async with world.sessions() as session:
        assert await imbalance(session) == {}
    return over


async def test_what_was_only_accepted_is_settled_when_it_is_done(world: GatewayWorld, gateway: GatewayProcess) -> None:
    row = await world.reserved()
    before = gateway.admin("totals")

    async with world.working():
        trade = await world.traded(row)
        over = await world.ended(trade.id)

    assert over.status == "settled"
    assert await world.received_mb(over) == over.quantity
    assert gateway.admin("totals") == before, "nothing is made and nothing lost"
    async with world.sessions() as session:
        assert await imbalance(session) == {}


async def test_a_push_makes_us_ask_at_once(world: GatewayWorld, gateway: GatewayProcess) -> None:
    """By itself we would ask after five seconds."""
    patient = gateway.profile(timeout_seconds=0.6, max_in_flight_seconds=60.0, notify_url=world.callbacks.url)
    gateway.settings(finish_ms=300, hang_ms=900)
    async with RechargeCarrier(patient) as port:
        world.carrier = port  # type: ignore[assignment]  # as in the fixture
        row = await world.reserved()
        began = time.monotonic()
        async with world.working():
            trade = await world.traded(row)
            over = await world.ended(trade.id)
            took_seconds = time.monotonic() - began

    assert over.status == "settled"
    assert took_seconds < 4
    assert await world.pushed(over.id) == ["asked"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.LOSE_ANSWER, id="F13"),
        pytest.param(Fault.LATE, id="F13-late"),
        pytest.param(Fault.LOSE_REQUEST_ONCE, id="F14"),
        pytest.param(Fault.BAD_ANSWER, id="F15"),
        pytest.param(Fault.STRANGE_CODE, id="F15-code"),
    ],
)
async def test_whatever_becomes_of_the_answer_it_is_delivered_once(world: GatewayWorld, fault: Fault) -> None:
    over = await ended(world, fault)

    assert over.status == "settled"
    assert await world.received_mb(over) == over.quantity


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.REFUSE, id="F16"),
        pytest.param(Fault.FAIL_AFTER_ACCEPT, id="F16-later"),
        pytest.param(Fault.LOSE_THEN_REFUSE, id="F17"),
    ],
)
async def test_what_was_never_delivered_is_refunded_and_stays_frozen(world: GatewayWorld, fault: Fault) -> None:
    row = await world.reserved(400)

    async with world.working():
        trade = await world.traded(row, SUFFIX[fault])
        over = await world.ended(trade.id)

    assert over.status == "refunded"
    assert await world.received_mb(over) == 0
    async with world.sessions() as session:
        buyer = await balance(session, over.money_account_id)
        assert (buyer.available, buyer.held) == (over.amount_minor, 0)
        assert await imbalance(session) == {}
    assert (await only_bucket(world.carrier, world.numbers[row.line_id])).reserved_mb == 400


async def test_f18_a_known_serial_number_is_fetched_and_compared(world: GatewayWorld) -> None:
    trade = await world.traded(row := await world.reserved())
    assert row.reservation_id is not None
    assert trade.receiver_line_id is not None
    name, number = external_id(world.mark, "deliver", trade.id), world.numbers[trade.receiver_line_id]
    await world.carrier.settle(row.reservation_id, number, trade.quantity, name)

    async with world.working():
        over = await world.ended(trade.id)

    assert over.status == "settled"
    assert await world.received_mb(over) == over.quantity


async def test_f18_a_known_serial_number_with_another_amount_stops_for_a_person(world: GatewayWorld) -> None:
    trade = await world.traded(row := await world.reserved())
    assert row.reservation_id is not None
    assert trade.receiver_line_id is not None
    name, number = external_id(world.mark, "deliver", trade.id), world.numbers[trade.receiver_line_id]
    await world.carrier.settle(row.reservation_id, number, trade.quantity - 1, name)

    async with world.working():
        await world.status("deliver", trade.id, "dead")

    assert (await world.delivery(trade.id)).ended_at is None


async def test_f19_another_amount_stops_for_a_person_and_moves_no_money(world: GatewayWorld) -> None:
    row = await world.reserved()

    async with world.working():
        trade = await world.traded(row, SUFFIX[Fault.OTHER_AMOUNT])
        await world.status("deliver", trade.id, "dead")

    async with world.sessions() as session:
        buyer = await balance(session, trade.money_account_id)
    assert (buyer.available, buyer.held) == (0, trade.amount_minor)


@pytest.mark.parametrize("fault", [Fault.EARLY_PUSH, Fault.PUSH_TWICE, Fault.NO_PUSH, Fault.FORGED_PUSH])
async def test_f20_however_the_push_comes_the_trade_settles_once(world: GatewayWorld, fault: Fault) -> None:
    over = await ended(world, fault)

    assert over.status == "settled"
    assert await world.received_mb(over) == over.quantity
    outcomes = await world.pushed(over.id)
    assert len(outcomes) <= 1, "it is stored once"
    assert (400 in world.callbacks.answers) == (fault is Fault.FORGED_PUSH)


async def test_f20_an_early_push_waits_until_the_request_is_answered(world: GatewayWorld) -> None:
    over = await ended(world, Fault.EARLY_PUSH)

    assert await world.pushed(over.id) == ["asked"]


async def test_f20_a_push_that_lies_is_not_believed(world: GatewayWorld) -> None:
    over = await ended(world, Fault.WRONG_PUSH)

    assert over.status == "refunded", "it said done, and twice as much; asked, they say that it failed"
    assert await world.received_mb(over) == 0


async def test_f20_a_push_about_nothing_of_ours_is_put_aside(world: GatewayWorld) -> None:
    over = await ended(world, Fault.STRAY_PUSH)

    async def put_aside() -> bool:
        query = select(CarrierPushRow.outcome).where(CarrierPushRow.external_id.like("nobody-%"))
        async with world.sessions() as session:
            return list(await session.scalars(query)) == ["quarantined"]

    assert over.status == "settled"
    await until(put_aside)


async def test_f20_a_late_push_changes_nothing(world: GatewayWorld) -> None:
    over = await ended(world, Fault.NO_PUSH)
    form = {
        "partner_no": PARTNER,
        "order_no": over.carrier_reference or "",
        "serial_no": external_id(world.mark, "deliver", over.id),
        "status": "3",
        "timestamp": str(int(time.time())),
    }

    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(world.callbacks.url, data={**form, "sign": sign(form, SECRET)})

    assert answer.text == "ok"
    assert await world.pushed(over.id) == ["not_needed"]
    assert (await world.delivery(over.id)).status == "settled"


async def test_what_the_gateway_takes_back_opens_the_trade_again(world: GatewayWorld, gateway: GatewayProcess) -> None:
    over = await ended(world)

    name = external_id(world.mark, "deliver", over.id)
    await asyncio.to_thread(gateway.admin, "reverse", serial_no=name)  # its push is taken by this loop
    await reversals.look(world.sessions, world.outside, world.announce)

    query = select(ReopeningRow.cause, ReopeningRow.returned_mb).where(ReopeningRow.trade_id == over.id)
    async with world.sessions() as session:
        assert list(await session.execute(query)) == [("carrier_reversed", over.quantity)]
        assert await imbalance(session) == {}
    assert await world.received_mb(over) == 0


async def test_one_worker_settles_over_both_dialects(
    world: GatewayWorld, carrier_simulator: CarrierProcess, carrier_port: Carrier
) -> None:
    carrier_simulator.faults()
    world.others["CUCC"] = carrier_port
    seller, buyer = carrier_simulator.a_line(), carrier_simulator.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier_port, seller)
    receiver = world.a_line(remaining_mb=0)
    world.numbers[receiver] = buyer
    async with world.sessions.begin() as session:
        other = await a_custody(session, carrier="CUCC", bucket_id=bucket.id)
    name = external_id(world.mark, "reserve", other.id)
    reservation = await carrier_port.reserve(bucket.id, 1000, bucket.expires_at, name, seller)
    async with world.sessions.begin() as session:
        other = await custody.book_reservation(session, other.id, reservation)
        plain = await a_trade(session, other, receiver_line_id=receiver)
    gated = await world.traded(await world.reserved())

    async with world.working():
        over = [await world.ended(trade.id) for trade in (plain, gated)]

    assert [(one.carrier, one.status) for one in over] == [("CUCC", "settled"), ("CMCC", "settled")]
    assert (await only_bucket(carrier_port, buyer)).remaining_mb == plain.quantity
    assert await world.received_mb(gated) == gated.quantity
    async with world.sessions() as session:
        assert await imbalance(session) == {}
