"""CAMARA Carrier Billing 0.5 in two steps, and Carrier Billing Refund 0.3, over HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import Response, Router, get, post

from settlement.simulators.carrier import billing
from settlement.simulators.carrier.bodies import Msisdn, Standard, read_body, read_int, read_moment, read_query
from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.faults import Attempt
from settlement.simulators.carrier.office import CarrierRequest, authenticated, carrier_of, clock, office_of
from settlement.simulators.carrier.refusals import Refusal
from settlement.simulators.carrier.shapes import moment

PAYMENTS = "/carrier-billing/v0.5/payments"
REFUNDS = "/carrier-billing-refund/v0.3/payments/{payment_id:str}/refunds"
MINOR_PER_UNIT = 100
MAX_PAGE = 10**6
MAX_PER_PAGE = 100
STATUSES = frozenset({"processing", "pending_validation", "denied", "reserved", "succeeded", "cancelled"})

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Amount = Annotated[float, msgspec.Meta(ge=0.001, le=10**7)]
Result = TypeVar("Result")


class Charging(Standard, frozen=True, kw_only=True):
    amount: Amount
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    description: Word
    is_tax_included: bool = False
    tax_amount: Amount | None = None


class PaymentAmount(Standard, frozen=True, kw_only=True):
    charging_information: Charging
    charging_meta_data: dict[str, Any] | None = None
    payment_details: list[dict[str, Any]] | None = None


class Transaction(Standard, frozen=True, kw_only=True):
    payment_amount: PaymentAmount
    reference_code: Word
    phone_number: Msisdn | None = None
    client_correlator: Word | None = None


class Prepare(Standard, frozen=True, kw_only=True):
    """Notifications to a `sink` are taken note of and never sent: whoever asks is told."""

    amount_transaction: Transaction
    sink: str | None = None
    sink_credential: dict[str, Any] | None = None


class SecondStep(Standard, frozen=True, kw_only=True):
    phone_number: Msisdn | None = None


class RefundTransaction(Standard, frozen=True, kw_only=True):
    refund_amount: dict[str, Any]
    reference_code: Word
    client_correlator: Word | None = None


class CreateRefund(Standard, frozen=True, kw_only=True):
    """This carrier takes whole payments off a bill, not parts of them."""

    type: Literal["total"]
    amount_transaction: RefundTransaction
    reason: str | None = None
    sink: str | None = None
    sink_credential: dict[str, Any] | None = None


@post(f"{PAYMENTS}/prepare")
async def prepare(request: CarrierRequest) -> Response[Any]:
    transaction = (await read_body(request, Prepare)).value.amount_transaction
    if transaction.phone_number is None:
        raise Refusal("MISSING_IDENTIFIER")
    charging = transaction.payment_amount.charging_information
    order = billing.Order(
        transaction.phone_number, transaction.client_correlator, transaction.reference_code, charging.description,
        _minor(charging.amount), charging.currency,
    )  # fmt: skip
    carrier = carrier_of(request)

    async def work(connection: Connection) -> Any:
        return await billing.prepare(connection, carrier, order, clock())

    row = await _change(request, work, order.correlator, order.msisdn)
    return Response(_payment(row), status_code=201)


@post(f"{PAYMENTS}/{{payment_id:str}}/confirm")
async def confirm(request: CarrierRequest, payment_id: str) -> Response[Any]:
    msisdn = (await read_body(request, SecondStep)).value.phone_number

    async def work(connection: Connection) -> None:
        await billing.confirm(connection, carrier_of(request), payment_id, msisdn, clock())

    await _change(request, work, f"{payment_id}/confirm", msisdn)
    return Response(None, status_code=202)


@post(f"{PAYMENTS}/{{payment_id:str}}/cancel")
async def cancel(request: CarrierRequest, payment_id: str) -> Response[Any]:
    msisdn = (await read_body(request, SecondStep)).value.phone_number

    async def work(connection: Connection) -> None:
        await billing.cancel(connection, carrier_of(request), payment_id, msisdn, clock())

    await _change(request, work, f"{payment_id}/cancel", msisdn)
    return Response(None, status_code=202)


@get(PAYMENTS)
async def list_payments(request: CarrierRequest) -> Response[Any]:
    names = ("page", "perPage", "paymentCreationDate.gte", "paymentCreationDate.lte", "order", "paymentStatus")
    query = read_query(request, names)
    page, order, status = _page(query), query.get("order", "desc"), query.get("paymentStatus")
    if order not in {"asc", "desc"} or status not in {None, *STATUSES}:
        raise Refusal("INVALID_ARGUMENT")
    span = read_moment(query, "paymentCreationDate.gte"), read_moment(query, "paymentCreationDate.lte")

    async def work(connection: Connection) -> tuple[list[Any], int]:
        await billing.expire(connection, carrier_of(request), clock())
        carrier, ascending = carrier_of(request), order == "asc"
        return await billing.listing(connection, carrier, span, status, page, ascending=ascending)

    rows, total = await _read(request, work)
    return Response([_payment(row) for row in rows], headers={"X-Total-Count": str(total)})


@get(f"{PAYMENTS}/{{payment_id:str}}")
async def show_payment(request: CarrierRequest, payment_id: str) -> Response[Any]:
    async def work(connection: Connection) -> Any:
        await billing.expire(connection, carrier_of(request), clock())
        return await billing.show(connection, carrier_of(request), payment_id)

    return Response(_payment(await _read(request, work)))


@post(REFUNDS)
async def create_refund(request: CarrierRequest, payment_id: str) -> Response[Any]:
    order = (await read_body(request, CreateRefund)).value.amount_transaction
    async with office_of(request).database.connection() as connection:
        payment = await billing.show(connection, carrier_of(request), payment_id)

    async def work(connection: Connection) -> Any:
        names = (order.client_correlator, order.reference_code)
        return await billing.refund(connection, carrier_of(request), payment_id, names, clock())

    row = await _change(request, work, order.client_correlator, payment["msisdn"])
    return Response(_refund(row), status_code=201)


@get(REFUNDS)
async def list_refunds(request: CarrierRequest, payment_id: str) -> Response[Any]:
    _page(read_query(request, ("page", "perPage")))

    async def work(connection: Connection) -> list[Any]:
        return await billing.refunds(connection, carrier_of(request), payment_id)

    rows = await _read(request, work)
    return Response([_refund(row) for row in rows], headers={"X-Total-Count": str(len(rows))})


async def _change(
    request: CarrierRequest,
    work: Callable[[Connection], Awaitable[Result]],
    external_id: str | None,
    msisdn: str | None,
) -> Result:
    office = office_of(request)

    async def in_transaction() -> Result:
        async with office.database.transaction() as connection:
            return await work(connection)

    numbers = () if msisdn is None else (msisdn,)
    attempt = Attempt(carrier_of(request), changes=True, numbers=numbers, external_id=external_id)
    return await office.faults.perform(attempt, in_transaction)


async def _read(request: CarrierRequest, work: Callable[[Connection], Awaitable[Result]]) -> Result:
    office = office_of(request)

    async def in_connection() -> Result:
        async with office.database.connection() as connection:
            return await work(connection)

    return await office.faults.perform(Attempt(carrier_of(request)), in_connection)


def _page(query: Mapping[str, str]) -> tuple[int, int]:
    page = read_int(query, "page", default=1, low=1, high=MAX_PAGE)
    size = read_int(query, "perPage", default=10, low=1, high=MAX_PER_PAGE)
    return (page - 1) * size, size


def _minor(amount: float) -> int:
    """The shortest decimal of the number is what its sender wrote."""
    minor = Decimal(repr(amount)) * MINOR_PER_UNIT
    if minor != minor.to_integral_value():
        raise Refusal("CARRIER_BILLING.UNAUTHORIZED_AMOUNT")
    return int(minor)


def _payment(row: Any) -> dict[str, Any]:
    charging = {
        "amount": row["amount_minor"] / MINOR_PER_UNIT,
        "currency": row["currency"],
        "description": row["description"],
    }
    transaction = {
        "phoneNumber": row["msisdn"],
        "referenceCode": row["reference_code"],
        "paymentAmount": {"chargingInformation": charging},
    }
    if row["correlator"] is not None:
        transaction["clientCorrelator"] = row["correlator"]
    document = {
        "paymentId": row["id"],
        "paymentStatus": row["status"],
        "paymentCreationDate": moment(row["created_at"]),
        "amountTransaction": transaction,
    }
    return document if row["paid_at"] is None else {**document, "paymentDate": moment(row["paid_at"])}


def _refund(row: Any) -> dict[str, Any]:
    transaction = {"referenceCode": row["reference_code"], "refundAmount": {}}
    if row["correlator"] is not None:
        transaction["clientCorrelator"] = row["correlator"]
    return {
        "refundId": row["id"],
        "refundStatus": "succeeded",
        "type": "total",
        "refundCreationDate": moment(row["created_at"]),
        "refundDate": moment(row["created_at"]),
        "amountTransaction": transaction,
    }


router = Router(
    path="/{carrier:str}",
    guards=[authenticated],
    route_handlers=[prepare, confirm, cancel, list_payments, show_payment, create_refund, list_refunds],
)
