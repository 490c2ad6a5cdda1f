"""The recharge dialect's own: signatures, codes, and answers that are about something else."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest

from settlement.carriers.errors import CarrierMismatch, CarrierRefused, CarrierUnknown, CarrierUnreachable
from settlement.carriers.recharge.client import RechargeCarrier
from settlement.carriers.recharge.signing import is_genuine, sign
from settlement.carriers.values import MovementStatus
from settlement.simulators.gateway.faults import FAULT_OF_NUMBER, Fault
from tests.carrier.gateway import GatewayProcess
from tests.carrier.simulator import an_id, free_port, only_bucket

SUFFIX = {fault: number for number, fault in FAULT_OF_NUMBER.items()}


@pytest.fixture(scope="module")
def gateway(new_database: Callable[[str], str]) -> Iterator[GatewayProcess]:
    process = GatewayProcess(new_database("gateway"), free_port())
    try:
        process.start()
        process.settings(hang_ms=800)
        yield process
    finally:
        process.stop()


@pytest.fixture
async def carrier(gateway: GatewayProcess) -> AsyncIterator[RechargeCarrier]:
    async with RechargeCarrier(gateway.profile(timeout_seconds=0.5)) as port:
        yield port


async def settled(carrier: RechargeCarrier, gateway: GatewayProcess, fault: Fault) -> MovementStatus:
    """Settle to a receiver whose number calls up a fault."""
    seller, buyer = gateway.a_line(), gateway.a_line(SUFFIX[fault], remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    made = await carrier.reserve(bucket.id, 200, bucket.expires_at, an_id(), seller)
    return (await carrier.settle(made.id, buyer, 100, an_id())).status


def test_a_signature_covers_every_field_and_no_other_split_of_them() -> None:
    form = {"a": "1", "b": "2"}
    signed = {**form, "sign": sign(form, "secret")}

    assert is_genuine(signed, "secret")
    assert not is_genuine(signed, "another")
    assert not is_genuine({**signed, "b": "3"}, "secret")
    assert not is_genuine({**signed, "c": ""}, "secret")
    assert sign({"a": "1&b=2"}, "secret") != sign({"a": "1", "b": "2"}, "secret")


async def test_being_accepted_is_not_done(carrier: RechargeCarrier, gateway: GatewayProcess) -> None:
    assert await settled(carrier, gateway, Fault.NO_PUSH) is MovementStatus.PENDING


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.REFUSE, CarrierRefused),
        (Fault.LOSE_ANSWER, CarrierUnknown),
        (Fault.BAD_ANSWER, CarrierUnknown),
        (Fault.STRANGE_CODE, CarrierUnknown),
        (Fault.OTHER_AMOUNT, CarrierMismatch),
    ],
)
async def test_only_a_code_of_the_manual_is_an_answer(
    carrier: RechargeCarrier, gateway: GatewayProcess, fault: Fault, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await settled(carrier, gateway, fault)


@pytest.mark.parametrize("change", [{"credential": "another"}, {"partner_no": "P9"}])
async def test_a_secret_that_is_wrong_is_our_own_fault(gateway: GatewayProcess, change: dict[str, str]) -> None:
    async with RechargeCarrier(replace(gateway.profile(), **change)) as stranger:  # type: ignore[arg-type]  # texts
        with pytest.raises(CarrierRefused, match="UNAUTHENTICATED"):
            await stranger.find_movement(an_id())


async def test_a_gateway_that_is_not_there_was_sent_nothing(gateway: GatewayProcess) -> None:
    nowhere = replace(gateway.profile(), base_url=f"http://127.0.0.1:{free_port()}")
    async with RechargeCarrier(nowhere) as carrier:
        with pytest.raises(CarrierUnreachable):
            await carrier.find_movement(an_id())


async def test_a_number_abroad_is_refused_before_anything_is_sent(carrier: RechargeCarrier) -> None:
    with pytest.raises(CarrierRefused, match="RECEIVER_NOT_ELIGIBLE"):
        await carrier.buckets("+85291234567")
