"""What every dialect must do: the same expectations of each, over HTTP. A new dialect gets a line in `CARRIERS`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from settlement.carriers.errors import CarrierRefused, ForgedPush
from settlement.carriers.opening import DIALECTS, open_carrier
from settlement.carriers.port import CarrierPort
from settlement.carriers.values import Movement, MovementKind, MovementStatus, Reservation, ReservationStatus
from tests.carrier.gateway import GatewayProcess
from tests.carrier.simulator import CarrierProcess, an_id, free_port, only_bucket, until_async

Simulator = CarrierProcess | GatewayProcess
CARRIERS = {"tmf654": "sim", "recharge": "gateway"}


@pytest.fixture(scope="module")
def gateway(new_database: Callable[[str], str]) -> Iterator[GatewayProcess]:
    process = GatewayProcess(new_database("gateway"), free_port())
    try:
        process.start()
        process.settings()
        yield process
    finally:
        process.stop()


@pytest.fixture(params=sorted(CARRIERS))
def simulator(request: pytest.FixtureRequest) -> Simulator:
    found: Simulator = request.getfixturevalue(CARRIERS[request.param])
    return found


@pytest.fixture
async def carrier(simulator: Simulator) -> AsyncIterator[CarrierPort]:
    async with open_carrier(simulator.profile()) as port:
        yield port


async def reserved(carrier: CarrierPort, msisdn: str, amount_mb: int = 100, external_id: str = "") -> Reservation:
    bucket = await only_bucket(carrier, msisdn)
    return await carrier.reserve(bucket.id, amount_mb, bucket.expires_at, external_id or an_id(), msisdn)


async def done(carrier: CarrierPort, external_id: str) -> Movement:
    """The movement under our id, once it has ended. Being accepted is not done."""

    async def over() -> bool:
        found = await carrier.find_movement(external_id)
        return found is not None and found.status is not MovementStatus.PENDING

    await until_async(over)
    found = await carrier.find_movement(external_id)
    assert found is not None
    return found


def test_every_dialect_is_held_to_this() -> None:
    assert set(CARRIERS) == set(DIALECTS)


async def test_a_reservation_is_set_aside_and_found_by_our_id(carrier: CarrierPort, simulator: Simulator) -> None:
    seller, name = simulator.a_line(), an_id()

    made = await reserved(carrier, seller, 300, name)

    assert (made.amount_mb, made.status) == (300, ReservationStatus.HELD)
    assert await carrier.find_reservation(name) == made
    bucket = await only_bucket(carrier, seller)
    assert (bucket.id, bucket.remaining_mb, bucket.reserved_mb) == (made.bucket_id, 700, 300)


async def test_reserving_again_under_our_id_reserves_once(carrier: CarrierPort, simulator: Simulator) -> None:
    seller, name = simulator.a_line(), an_id()

    first, again = await reserved(carrier, seller, 300, name), await reserved(carrier, seller, 300, name)

    assert first == again
    assert (await only_bucket(carrier, seller)).reserved_mb == 300


async def test_more_than_there_is_can_not_be_reserved(carrier: CarrierPort, simulator: Simulator) -> None:
    seller, name = simulator.a_line(), an_id()

    with pytest.raises(CarrierRefused, match="INSUFFICIENT_BALANCE"):
        await reserved(carrier, seller, 1001, name)

    assert await carrier.find_reservation(name) is None


async def test_a_release_gives_everything_back_and_may_be_repeated(carrier: CarrierPort, simulator: Simulator) -> None:
    seller, name = simulator.a_line(), an_id()
    made = await reserved(carrier, seller, 300, name)

    await carrier.release(made.id)
    await carrier.release(made.id)

    bucket = await only_bucket(carrier, seller)
    assert (bucket.remaining_mb, bucket.reserved_mb) == (1000, 0)
    found = await carrier.find_reservation(name)
    assert found is None or found.status is ReservationStatus.RELEASED


async def test_settling_moves_reserved_data_with_its_scope_and_end(carrier: CarrierPort, simulator: Simulator) -> None:
    seller, buyer, name = simulator.a_line(), simulator.a_line(remaining_mb=None), an_id()
    made, sold = await reserved(carrier, seller, 300), await only_bucket(carrier, seller)

    sent = await carrier.settle(made.id, buyer, 200, name)
    ended = await done(carrier, name)

    assert sent.external_id == ended.external_id == name
    assert (ended.status, ended.kind, ended.amount_mb) == (MovementStatus.DONE, MovementKind.SETTLE, 200)
    assert (ended.reservation_id, ended.receiver_msisdn) == (made.id, buyer)
    got, left = await only_bucket(carrier, buyer), await only_bucket(carrier, seller)
    assert (got.remaining_mb, got.scope, got.expires_at) == (200, sold.scope, sold.expires_at)
    assert not got.transferable, "received data is not sold again"
    assert (left.remaining_mb, left.reserved_mb) == (700, 100)


async def test_settling_again_under_our_id_moves_once(carrier: CarrierPort, simulator: Simulator) -> None:
    seller, buyer, name = simulator.a_line(), simulator.a_line(remaining_mb=None), an_id()
    made = await reserved(carrier, seller, 300)

    first = await carrier.settle(made.id, buyer, 200, name)
    again = await carrier.settle(made.id, buyer, 200, name)

    await done(carrier, name)
    assert first.id == again.id
    assert (await only_bucket(carrier, buyer)).remaining_mb == 200


async def test_no_more_is_settled_than_is_reserved(carrier: CarrierPort, simulator: Simulator) -> None:
    seller, buyer, name = simulator.a_line(), simulator.a_line(remaining_mb=None), an_id()
    made = await reserved(carrier, seller, 300)

    with pytest.raises(CarrierRefused, match="INSUFFICIENT_BALANCE"):
        await carrier.settle(made.id, buyer, 301, name)

    assert await carrier.find_movement(name) is None
    assert await carrier.buckets(buyer) == []


async def test_nothing_is_settled_out_of_what_was_released(carrier: CarrierPort, simulator: Simulator) -> None:
    seller, buyer = simulator.a_line(), simulator.a_line(remaining_mb=None)
    made = await reserved(carrier, seller, 300)
    await carrier.release(made.id)

    with pytest.raises(CarrierRefused, match="RESERVATION_NOT_FOUND"):
        await carrier.settle(made.id, buyer, 100, an_id())


async def test_an_id_that_they_never_saw_is_not_found(carrier: CarrierPort) -> None:
    assert await carrier.find_movement(an_id()) is None
    assert await carrier.find_reservation(an_id()) is None


async def test_a_transfer_moves_what_nobody_reserved(carrier: CarrierPort, simulator: Simulator) -> None:
    assert carrier.capabilities.transfers
    sender, receiver, name = simulator.a_line(), simulator.a_line(remaining_mb=None), an_id()

    await carrier.transfer((await only_bucket(carrier, sender)).id, sender, receiver, 250, name)

    assert (await done(carrier, name)).kind is MovementKind.TRANSFER
    assert (await only_bucket(carrier, receiver)).remaining_mb == 250
    assert (await only_bucket(carrier, sender)).remaining_mb == 750


async def test_a_top_up_makes_data_of_its_scope_and_end(carrier: CarrierPort, simulator: Simulator) -> None:
    receiver, name = simulator.a_line(remaining_mb=None), an_id()
    end = (datetime.now(UTC) + timedelta(days=9)).replace(microsecond=0)

    await carrier.top_up(receiver, 400, "CN", end, name)

    assert (await done(carrier, name)).kind is MovementKind.TOP_UP
    got = await only_bucket(carrier, receiver)
    assert (got.remaining_mb, got.scope, got.expires_at) == (400, "CN", end)


async def test_the_journal_tells_a_settlement_once_under_our_id(carrier: CarrierPort, simulator: Simulator) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    seller, buyer, name = simulator.a_line(), simulator.a_line(remaining_mb=None), an_id()
    made = await reserved(carrier, seller, 300)
    await carrier.settle(made.id, buyer, 200, name)
    await done(carrier, name)

    told = [one async for one in carrier.actions(began, datetime.now(UTC) + timedelta(seconds=1))]

    ours = [one for one in told if one.external_id == name]
    assert [(one.amount_mb, one.receiver_msisdn) for one in ours] == [(200, buyer)]
    assert ours[0].impacts


async def test_what_is_not_offered_is_refused_in_so_many_words(carrier: CarrierPort, simulator: Simulator) -> None:
    line = simulator.a_line()
    offers = carrier.capabilities
    asked: list[tuple[bool, Awaitable[object]]] = [
        (offers.codes, carrier.send_code(line, "{{code}}")),
        (offers.messages, carrier.send_sms(line, "words")),
        (offers.sim_swap, carrier.sim_swapped(line, 24)),
    ]
    for offered, answer in asked:
        if offered:
            await answer
        else:
            with pytest.raises(CarrierRefused, match="NOT_OFFERED"):
                await answer


@pytest.mark.parametrize("body", [b"", b"garbage", b"a=1&a=2", b"sign=00&status=2", b"\xff\xfe", b"a=1&" * 1000])
async def test_what_is_no_push_of_theirs_is_forged(carrier: CarrierPort, body: bytes) -> None:
    with pytest.raises(ForgedPush):
        carrier.read_push(body, datetime.now(UTC))
