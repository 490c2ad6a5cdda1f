"""The phone bill over real HTTP: what the port makes of the answers, and both sides against the specification."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped] # it comes without types

from settlement.carriers.billing import PAYMENTS, REFUNDS, Billing, BillStatus
from settlement.carriers.errors import CarrierRefused, CarrierUnknown
from tests.carrier.simulator import CarrierProcess, an_id
from tests.carrier.test_shapes import SPECIFICATIONS

SPECS = {
    PAYMENTS: SPECIFICATIONS / "camara" / "carrier-billing-0.5.0.yaml",
    REFUNDS: SPECIFICATIONS / "camara" / "carrier-billing-refund-0.3.0.yaml",
}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def billing(sim: CarrierProcess) -> AsyncIterator[Billing]:
    sim.faults()
    async with Billing(sim.profile(phone_bill=True)) as port:
        yield port


@pytest.fixture
def payer(sim: CarrierProcess) -> str:
    return sim.a_line(remaining_mb=None, payment="postpaid")


async def test_a_prepared_payment_is_reserved_and_found_by_our_id(billing: Billing, payer: str) -> None:
    name, since = an_id(), datetime.now(UTC)

    payment = await billing.prepare(payer, 1234, "CNY", name)

    assert payment.status is BillStatus.RESERVED
    assert (payment.amount_minor, payment.msisdn, payment.external_id) == (1234, payer, name)
    assert await billing.find(name, since) == payment
    assert await billing.find(an_id(), since) is None


async def test_our_id_is_found_behind_many_others(billing: Billing, payer: str) -> None:
    since, name = datetime.now(UTC), an_id()
    for _ in range(101):
        other = await billing.prepare(payer, 100, "CNY", an_id())
        await billing.cancel(other.id, payer)

    ours = await billing.prepare(payer, 100, "CNY", name)

    assert await billing.find(name, since) == ours


async def test_the_same_id_reserves_once(billing: Billing, payer: str) -> None:
    name = an_id()
    first = await billing.prepare(payer, 100, "CNY", name)

    with pytest.raises(CarrierUnknown, match="ALREADY_EXISTS"):
        await billing.prepare(payer, 100, "CNY", name)

    assert await billing.find(name, LONG_AGO) == first


async def test_confirming_charges_and_cancelling_lets_go(billing: Billing, payer: str) -> None:
    kept = await billing.prepare(payer, 100, "CNY", an_id())
    dropped = await billing.prepare(payer, 100, "CNY", an_id())

    assert (await billing.confirm(kept.id, payer)).status is BillStatus.SUCCEEDED
    assert (await billing.cancel(dropped.id, payer)).status is BillStatus.CANCELLED
    assert (await billing.confirm(kept.id, payer)).status is BillStatus.SUCCEEDED
    with pytest.raises(CarrierUnknown, match="PAYMENT_CONFIRMED"):
        await billing.cancel(kept.id, payer)


async def test_a_strangers_number_confirms_nothing(billing: Billing, sim: CarrierProcess, payer: str) -> None:
    payment = await billing.prepare(payer, 100, "CNY", an_id())

    with pytest.raises(CarrierRefused, match="NOT_FOUND"):
        await billing.confirm(payment.id, sim.a_line(remaining_mb=None, payment="postpaid"))

    assert (await billing.payment(payment.id)).status is BillStatus.RESERVED


async def test_reservations_count_against_the_months_limit_and_refunds_do_not(billing: Billing, payer: str) -> None:
    full = await billing.prepare(payer, 100_000, "CNY", an_id())

    with pytest.raises(CarrierRefused, match="USER_AMOUNT_THRESHOLD_OVERPASSED"):
        await billing.prepare(payer, 1, "CNY", an_id())

    await billing.confirm(full.id, payer)
    await billing.refund(full.id, an_id())
    assert (await billing.prepare(payer, 1, "CNY", an_id())).amount_minor == 1


async def test_a_payment_is_refunded_once_and_only_when_it_was_charged(billing: Billing, payer: str) -> None:
    name, payment = an_id(), await billing.prepare(payer, 100, "CNY", an_id())
    with pytest.raises(CarrierRefused, match="INVALID_PAYMENT_STATUS"):
        await billing.refund(payment.id, name)
    await billing.confirm(payment.id, payer)

    refund = await billing.refund(payment.id, name)

    assert await billing.find_refund(payment.id, name) == refund
    with pytest.raises(CarrierUnknown, match="ALREADY_EXISTS"):
        await billing.refund(payment.id, an_id())


@pytest.mark.parametrize("amount_minor", [1, 29, 57, 113, 1999, 99_999])
async def test_amounts_come_back_as_they_were_sent(billing: Billing, payer: str, amount_minor: int) -> None:
    payment = await billing.prepare(payer, amount_minor, "CNY", an_id())

    assert (await billing.payment(payment.id)).amount_minor == amount_minor


async def test_the_phone_shows_what_stands_on_its_bill(billing: Billing, sim: CarrierProcess, payer: str) -> None:
    payment = await billing.prepare(payer, 1205, "CNY", an_id())
    reserved = sim.page(f"/phones/{payer[1:]}", params={"lang": "en"}).text
    await billing.confirm(payment.id, payer)
    charged = sim.page(f"/phones/{payer[1:]}", params={"lang": "en"}).text
    await billing.refund(payment.id, an_id())

    assert "¥12.05" in reserved
    assert "reserved, not charged" in reserved
    assert "reserved, not charged" not in charged
    assert "taken off again" in sim.page(f"/phones/{payer[1:]}", params={"lang": "en"}).text


async def test_a_payment_under_another_id_is_no_answer(billing: Billing) -> None:
    with pytest.raises(CarrierRefused, match="NOT_FOUND"):
        await billing.payment("nowhere")


async def test_a_fraction_of_a_minor_unit_is_not_read_as_money(sim: CarrierProcess, payer: str) -> None:
    answer = sim.raw("POST", f"{PAYMENTS}/prepare", json=prepare_body(payer, amount=1.005))

    assert (answer.status_code, answer.json()["code"]) == (422, "CARRIER_BILLING.UNAUTHORIZED_AMOUNT")


def prepare_body(msisdn: str, amount: float = 1.5) -> dict[str, Any]:
    charging = {"amount": amount, "currency": "CNY", "description": "Top-up"}
    transaction = {"phoneNumber": msisdn, "referenceCode": an_id(), "paymentAmount": {"chargingInformation": charging}}
    return {"amountTransaction": {**transaction, "clientCorrelator": an_id()}}


specified = pytest.mark.skipif(
    not all(path.exists() for path in SPECS.values()), reason="the specifications are not there"
)


@specified
async def test_answers_have_the_shape_of_the_specification(sim: CarrierProcess, billing: Billing, payer: str) -> None:
    made = await billing.prepare(payer, 1234, "CNY", an_id())
    check(PAYMENTS, "Payment", sim.raw("GET", f"{PAYMENTS}/{made.id}").text)
    await billing.confirm(made.id, payer)
    await billing.refund(made.id, an_id())

    check(PAYMENTS, "PaymentArray", sim.raw("GET", PAYMENTS).text)
    check(REFUNDS, "RefundArray", sim.raw("GET", f"{REFUNDS}/{made.id}/refunds").text)
    refused = sim.raw("POST", f"{PAYMENTS}/{made.id}/confirm", json={"phoneNumber": payer})
    assert refused.status_code == 409
    check(PAYMENTS, "ErrorInfo", refused.text)


@specified
async def test_requests_have_the_shape_of_the_specification(sim: CarrierProcess) -> None:
    bodies: list[str] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].partition("\r")[0] or 0)
        bodies.append((await reader.readexactly(length)).decode())
        writer.write(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Billing(sim.profile(base_url=f"http://127.0.0.1:{port}")) as billing:
            for call in (
                billing.prepare("+8613900000000", 1234, "CNY", "sf-1"),
                billing.refund("payment", "sf-2"),
            ):
                with pytest.raises(CarrierUnknown):
                    await call

    check(PAYMENTS, "BodyAmountReservationTransactionForReserveInput", bodies[0])
    check(REFUNDS, "CreateTotalRefund", bodies[1])
    assert json.loads(bodies[0])["amountTransaction"]["paymentAmount"]["chargingInformation"]["amount"] == 12.34


def check(api: str, name: str, text: str) -> None:
    """Check a body against a schema, its numbers as decimals: 0.57 is a multiple of 0.001 only as one."""
    document = decimal(yaml.safe_load(SPECS[api].read_text(encoding="utf-8")))
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.validate(json.loads(text, parse_float=Decimal), schema)


def decimal(value: Any) -> Any:
    match value:
        case dict():
            return {key: decimal(one) for key, one in value.items()}
        case list():
            return [decimal(one) for one in value]
        case float():
            return Decimal(str(value))
        case _:
            return value
