"""Every fault fires, is counted, and reaches the port as refused or unknown; asking by our id settles the doubt."""

import pytest

from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierRefused, CarrierUnknown
from settlement.carriers.values import Bucket, Movement, MovementStatus
from tests.carrier.simulator import CarrierProcess, a_number, an_id, only_bucket, until_async


async def given(sim: CarrierProcess, carrier: Carrier, receiver_suffix: str = "0000") -> tuple[Bucket, str]:
    """A seller's bucket of 1,000 MB, and a receiver without data."""
    seller, receiver = sim.a_line(remaining_mb=1000), sim.a_line(receiver_suffix, remaining_mb=None)
    return await only_bucket(carrier, seller), receiver


async def send(carrier: Carrier, bucket: Bucket, receiver: str, external_id: str) -> Movement:
    return await carrier.transfer(bucket.id, bucket.msisdn, receiver, 100, external_id)


async def received_mb(carrier: Carrier, receiver: str) -> int:
    return sum(bucket.remaining_mb for bucket in await carrier.buckets(receiver))


async def test_9001_refuses_for_good(carrier: Carrier, sim: CarrierProcess) -> None:
    bucket, receiver = await given(sim, carrier, "9001")
    before = sim.counts()["refuse"]
    external_id = an_id()

    with pytest.raises(CarrierRefused, match="RECEIVER_NOT_ELIGIBLE"):
        await send(carrier, bucket, receiver, external_id)

    assert sim.counts()["refuse"] == before + 1
    assert await carrier.find_movement(external_id) is None


async def test_9002_fails_once_and_works_the_second_time(carrier: Carrier, sim: CarrierProcess) -> None:
    bucket, receiver = await given(sim, carrier, "9002")
    before = sim.counts()["error_once"]
    external_id = an_id()

    with pytest.raises(CarrierUnknown, match="HTTP 503"):
        await send(carrier, bucket, receiver, external_id)
    assert await carrier.find_movement(external_id) is None
    await send(carrier, bucket, receiver, external_id)

    assert sim.counts()["error_once"] == before + 1
    assert await received_mb(carrier, receiver) == 100


async def test_9003_works_but_never_says_so_and_asking_finds_it(
    carrier: Carrier,
    hasty: Carrier,
    sim: CarrierProcess,
) -> None:
    sim.faults(hang_ms=3_000)
    bucket, receiver = await given(sim, carrier, "9003")
    before = sim.counts()["timeout_after_work"]
    external_id = an_id()

    with pytest.raises(CarrierUnknown, match=r"no answer within 0\.5 s"):
        await send(hasty, bucket, receiver, external_id)

    found = await carrier.find_movement(external_id)
    assert found is not None
    assert (found.amount_mb, found.receiver_msisdn, found.status) == (100, receiver, MovementStatus.DONE)
    assert await received_mb(carrier, receiver) == 100
    assert sim.counts()["timeout_after_work"] == before + 1


async def test_9003_as_the_seller_hangs_a_settlement_too(carrier: Carrier, hasty: Carrier, sim: CarrierProcess) -> None:
    sim.faults(hang_ms=3_000)
    seller, buyer = sim.a_line("9003"), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 100, bucket.expires_at, an_id(), seller)
    external_id = an_id()

    with pytest.raises(CarrierUnknown):
        await hasty.settle(reservation.id, buyer, 100, external_id)

    found = await carrier.find_movement(external_id)
    assert found is not None
    assert found.reservation_id == reservation.id


async def test_9004_answers_duplicate_and_the_port_compares(carrier: Carrier, sim: CarrierProcess) -> None:
    bucket, receiver = await given(sim, carrier, "9004")
    before = sim.counts()["duplicate"]
    external_id = an_id()

    movement = await send(carrier, bucket, receiver, external_id)

    assert (movement.external_id, movement.amount_mb) == (external_id, 100)
    assert await received_mb(carrier, receiver) == 100
    assert sim.counts()["duplicate"] == before + 1


async def test_9005_is_slow_but_works(carrier: Carrier, hasty: Carrier, sim: CarrierProcess) -> None:
    bucket, receiver = await given(sim, carrier, "9005")
    before = sim.counts()["slow"]

    with pytest.raises(CarrierUnknown):
        await send(hasty, bucket, receiver, an_id())

    assert await received_mb(carrier, receiver) == 100
    assert sim.counts()["slow"] == before + 1


async def test_9006_lands_after_the_port_has_given_up(carrier: Carrier, hasty: Carrier, sim: CarrierProcess) -> None:
    sim.faults(late_ms=1_500)
    bucket, receiver = await given(sim, carrier, "9006")
    before = sim.counts()["late"]
    external_id = an_id()

    with pytest.raises(CarrierUnknown):
        await send(hasty, bucket, receiver, external_id)
    asked_at_once = await carrier.find_movement(external_id)

    async def landed() -> bool:
        return await carrier.find_movement(external_id) is not None

    await until_async(landed)
    assert asked_at_once is None
    assert await received_mb(carrier, receiver) == 100
    assert sim.counts()["late"] == before + 1


@pytest.mark.parametrize(
    ("profile", "fault"),
    [
        ({"error_rate_percent": 100}, "error"),
        ({"timeout_after_work_percent": 100, "hang_ms": 3_000}, "timeout_after_work"),
        ({"late_percent": 100, "late_ms": 1_500}, "late"),
    ],
)
async def test_shares_of_faults_that_leave_a_doubt(
    carrier: Carrier,
    hasty: Carrier,
    sim: CarrierProcess,
    profile: dict[str, int],
    fault: str,
) -> None:
    bucket, receiver = await given(sim, carrier)
    before = sim.counts()[fault]
    sim.faults(**profile)

    with pytest.raises(CarrierUnknown):
        await send(hasty, bucket, receiver, an_id())

    assert sim.counts()[fault] == before + 1


async def test_a_share_of_refusals(carrier: Carrier, sim: CarrierProcess) -> None:
    bucket, receiver = await given(sim, carrier)
    before = sim.counts()["refuse"]
    sim.faults(refuse_percent=100)

    with pytest.raises(CarrierRefused):
        await send(carrier, bucket, receiver, an_id())
    with pytest.raises(CarrierRefused):
        await carrier.reserve(bucket.id, 100, bucket.expires_at, an_id(), bucket.msisdn)

    assert sim.counts()["refuse"] == before + 2


async def test_a_share_of_duplicates_is_settled_by_comparing(carrier: Carrier, sim: CarrierProcess) -> None:
    bucket, receiver = await given(sim, carrier)
    before = sim.counts()["duplicate"]
    sim.faults(duplicate_percent=100)

    reservation = await carrier.reserve(bucket.id, 200, bucket.expires_at, an_id(), bucket.msisdn)
    movement = await carrier.settle(reservation.id, receiver, 200, an_id())

    assert movement.amount_mb == 200
    assert await received_mb(carrier, receiver) == 200
    assert sim.counts()["duplicate"] == before + 2


async def test_latency_alone_makes_a_hasty_port_doubt(carrier: Carrier, hasty: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line()
    sim.faults(latency_ms=700)

    with pytest.raises(CarrierUnknown):
        await hasty.buckets(line)
    assert len(await carrier.buckets(line)) == 1


def test_the_profile_is_strict_and_put_replaces_it(sim: CarrierProcess) -> None:
    shown = sim.faults(latency_ms=5)

    assert (shown["latency_ms"], shown["idempotent"], shown["numbers"]["9001"]) == (5, True, "refuse")
    assert sim.faults()["latency_ms"] == 0
    for wrong in ({"error_rate_percent": 101}, {"latency_ms": -1}, {"latency_ms": 1.5}, {"colour": 1}):
        assert sim.raw("PUT", "/admin/faults", json=wrong).status_code == 400


def test_numbers_with_faults_are_ordinary_otherwise(sim: CarrierProcess) -> None:
    line = a_number("9003")
    sim.a_line(msisdn=line)

    assert sim.tmf("GET", "/bucket", params={"logicalResource.id": line}).status_code == 200
