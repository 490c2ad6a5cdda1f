"""The port to a carrier's billing: CAMARA Carrier Billing 0.5 in two steps, and Carrier Billing Refund 0.3.

A payment is reserved first and charged when its owner confirms it, always whole: there is no partial capture. Our id
travels as `clientCorrelator`; the standard has no filter for it, so the payments since then are read and searched.
Each method raises the errors of `errors.py`. All amounts are minor units.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from settlement.carriers import reading
from settlement.carriers.errors import CarrierMismatch, CarrierRefused, CarrierUnknown
from settlement.carriers.values import CarrierProfile
from settlement.carriers.wire import Wire

PAYMENTS = "/carrier-billing/v0.5/payments"
REFUNDS = "/carrier-billing-refund/v0.3/payments"
DESCRIPTION = "Surplusflow wallet top-up"
PAGE = 100
MINOR_PER_UNIT = 100
MAX_MINOR = 10**12
CLOCKS_APART = timedelta(minutes=5)
"""How far the carrier's clock may be behind ours when a payment is searched by its time."""


class BillStatus(StrEnum):
    PROCESSING = "processing"
    PENDING_VALIDATION = "pending_validation"
    RESERVED = "reserved"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class BillPayment:
    """A payment on a phone bill as the carrier shows it."""

    id: str
    external_id: str | None
    msisdn: str
    amount_minor: int
    currency: str
    status: BillStatus
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BillRefund:
    """Money that the carrier takes off a bill again; `status` is the carrier's word for it."""

    id: str
    external_id: str | None
    status: str


class Billing:
    """One carrier's billing, over HTTP. Open it with `async with`, or call `aclose` when done."""

    def __init__(self, profile: CarrierProfile) -> None:
        self.profile = profile
        self._wire = Wire(profile)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._wire.close()

    async def prepare(self, msisdn: str, amount_minor: int, currency: str, external_id: str) -> BillPayment:
        """Reserve an amount on the line's bill. Nothing is charged before it is confirmed."""
        transaction = {
            "phoneNumber": msisdn,
            "clientCorrelator": external_id,
            "referenceCode": external_id,
            "paymentAmount": {"chargingInformation": _charge(amount_minor, currency)},
        }
        answer = await self._wire.call("POST", f"{PAYMENTS}/prepare", body={"amountTransaction": transaction})
        payment = _payment(reading.record(answer.body, "prepare"))
        said = (payment.external_id, payment.msisdn, payment.amount_minor, payment.currency)
        if said != (external_id, msisdn, amount_minor, currency):
            raise CarrierMismatch(f"prepare: {payment.amount_minor} {payment.currency} under {payment.external_id}.")
        return payment

    async def confirm(self, payment_id: str, msisdn: str) -> BillPayment:
        """Charge a reserved payment. Confirming it again charges nothing more."""
        return await self._second_step(payment_id, "confirm", msisdn, BillStatus.SUCCEEDED)

    async def cancel(self, payment_id: str, msisdn: str) -> BillPayment:
        """Let a reserved payment go."""
        return await self._second_step(payment_id, "cancel", msisdn, BillStatus.CANCELLED)

    async def payment(self, payment_id: str) -> BillPayment:
        """A payment as it stands."""
        answer = await self._wire.call("GET", f"{PAYMENTS}/{quote(payment_id, safe='')}")
        payment = _payment(reading.record(answer.body, "payment"))
        if payment.id != payment_id:
            raise CarrierMismatch(f"payment: {payment.id} was shown instead of {payment_id}.")
        return payment

    async def find(self, external_id: str, since: datetime) -> BillPayment | None:
        """The payment made under our id since then, or None when the carrier shows none."""
        created = (since - CLOCKS_APART).astimezone(UTC).isoformat(timespec="milliseconds")
        params = {"paymentCreationDate.gte": created, "order": "asc"}
        found = [one async for one in self._listed(PAYMENTS, params) if _correlator(one) == external_id]
        if len(found) > 1:
            raise CarrierMismatch(f"payments: {len(found)} payments under one id of ours.")
        return _payment(found[0]) if found else None

    async def listed(self, since: datetime, until: datetime) -> AsyncIterator[BillPayment]:
        """The payments first asked for in a span of time, oldest first, whatever became of them."""
        span = {
            "paymentCreationDate.gte": since.astimezone(UTC).isoformat(timespec="milliseconds"),
            "paymentCreationDate.lte": until.astimezone(UTC).isoformat(timespec="milliseconds"),
        }
        async for document in self._listed(PAYMENTS, {**span, "order": "asc"}):
            yield _payment(document)

    async def refunds(self, payment_id: str) -> list[BillRefund]:
        """All that was taken of a payment off the bill again."""
        path = f"{REFUNDS}/{quote(payment_id, safe='')}/refunds"
        return [_refund(document) async for document in self._listed(path, {})]

    async def refund(self, payment_id: str, external_id: str) -> BillRefund:
        """Take all of a charged payment off the bill again."""
        transaction = {"clientCorrelator": external_id, "referenceCode": external_id, "refundAmount": {}}
        body = {"type": "total", "amountTransaction": transaction}
        answer = await self._wire.call("POST", f"{REFUNDS}/{quote(payment_id, safe='')}/refunds", body=body)
        return _refund(reading.record(answer.body, "refund"))

    async def find_refund(self, payment_id: str, external_id: str) -> BillRefund | None:
        """The refund made of a payment under our id, or None when the carrier shows none."""
        path = f"{REFUNDS}/{quote(payment_id, safe='')}/refunds"
        found = [one async for one in self._listed(path, {}) if _correlator(one) == external_id]
        return _refund(found[0]) if found else None

    async def _second_step(self, payment_id: str, step: str, msisdn: str, wanted: BillStatus) -> BillPayment:
        """The carrier says only that it has accepted the step, so the payment is read: it alone says what became of it.

        Not being shown it is no refusal of the step, which the carrier may have taken.
        """
        body = {"phoneNumber": msisdn}
        try:
            await self._wire.call("POST", f"{PAYMENTS}/{quote(payment_id, safe='')}/{step}", body=body)
        except CarrierUnknown as unknown:
            try:
                payment = await self.payment(payment_id)
            except CarrierRefused as refusal:
                raise unknown from refusal
            if payment.status is not wanted:
                raise
            return payment
        return await self.payment(payment_id)

    async def _listed(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Mapping[str, Any]]:
        """All pages of a list. One that shows less than it counts proves nothing absent."""
        page, seen = 1, 0
        while True:
            answer = await self._wire.call("GET", path, params={**params, "page": page, "perPage": PAGE})
            documents = reading.records(answer.body, path)
            for document in documents:
                yield document
            page, seen = page + 1, seen + len(documents)
            if len(documents) < PAGE:
                break
        if answer.total_count is not None and answer.total_count > seen:
            raise CarrierMismatch(f"payments: {answer.total_count} counted, {seen} shown.")


def _charge(amount_minor: int, currency: str) -> dict[str, object]:
    """The standard wants a JSON number in whole units; the nearest float of two decimals is written with just those."""
    return {"amount": amount_minor / MINOR_PER_UNIT, "currency": currency, "description": DESCRIPTION}


def _correlator(document: Mapping[str, Any]) -> str | None:
    return reading.optional_text(
        reading.record(document.get("amountTransaction"), "amountTransaction"), "clientCorrelator"
    )


def _payment(document: Mapping[str, Any]) -> BillPayment:
    transaction = reading.record(document.get("amountTransaction"), "amountTransaction")
    amount = reading.record(transaction.get("paymentAmount"), "paymentAmount")
    charge = reading.record(amount.get("chargingInformation"), "chargingInformation")
    status = reading.text(document, "paymentStatus")
    if status not in set(BillStatus):
        raise CarrierMismatch(f"paymentStatus: {status!r} is not a status of a payment.")
    return BillPayment(
        id=reading.text(document, "paymentId"),
        external_id=reading.optional_text(transaction, "clientCorrelator"),
        msisdn=reading.text(transaction, "phoneNumber"),
        amount_minor=_minor(charge),
        currency=reading.text(charge, "currency"),
        status=BillStatus(status),
        created_at=reading.moment(document, "paymentCreationDate") if "paymentCreationDate" in document else None,
    )


def _refund(document: Mapping[str, Any]) -> BillRefund:
    return BillRefund(reading.text(document, "refundId"), _correlator(document), reading.text(document, "refundStatus"))


def _minor(charge: Mapping[str, Any]) -> int:
    """An amount in whole units made minor units; a fraction of a minor unit can't be ours."""
    amount = charge.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal) or not Decimal(amount).is_finite():
        raise CarrierMismatch(f"amount: {amount!r} is not a number.")
    minor = Decimal(amount) * MINOR_PER_UNIT
    if not 0 < minor <= MAX_MINOR or minor != minor.to_integral_value():
        raise CarrierMismatch(f"amount: {amount} is not a whole number of minor units.")
    return int(minor)
