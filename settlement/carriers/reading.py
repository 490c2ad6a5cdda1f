"""A carrier's JSON made into our values, every figure checked on the way in.

A carrier's amounts are JSON numbers, so floats by nature: only whole, non-negative megabytes with the unit "MB" pass.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from settlement.carriers.errors import CarrierMismatch
from settlement.carriers.values import (
    Action,
    Bucket,
    Impact,
    KycMatch,
    Movement,
    MovementKind,
    MovementStatus,
    Reservation,
    ReservationStatus,
)

MAX_MB = 10**12

# Both vocabularies of the standard: the samples of 4.1.0 say `confirmed`, the draft before it said `completed`.
MOVEMENT_STATUSES: Mapping[str, MovementStatus] = {
    "confirmed": MovementStatus.DONE,
    "completed": MovementStatus.DONE,
    "created": MovementStatus.PENDING,
    "requested": MovementStatus.PENDING,
    "acknowledged": MovementStatus.PENDING,
    "inProgress": MovementStatus.PENDING,
    "failed": MovementStatus.FAILED,
    "cancelled": MovementStatus.FAILED,
    "rejected": MovementStatus.FAILED,
    "reversed": MovementStatus.REVERSED,
}
RESERVATION_STATUSES: Mapping[str, ReservationStatus] = {
    "confirmed": ReservationStatus.HELD,
    "created": ReservationStatus.PENDING,
    "requested": ReservationStatus.PENDING,
    "completed": ReservationStatus.CONSUMED,
    "consumed": ReservationStatus.CONSUMED,
    "cancelled": ReservationStatus.RELEASED,
    "expired": ReservationStatus.EXPIRED,
}
YES_OR_NO: Mapping[str, bool | None] = {"true": True, "false": False, "not_available": None}


def record(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise CarrierMismatch(f"{what}: an object was expected, not {type(value).__name__}.")
    return value


def records(value: Any, what: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise CarrierMismatch(f"{what}: a list was expected, not {type(value).__name__}.")
    return [record(item, what) for item in value]


def text(document: Mapping[str, Any], field: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or not value:
        raise CarrierMismatch(f"{field}: missing or not a text.")
    return value


def optional_text(document: Mapping[str, Any], field: str) -> str | None:
    return None if document.get(field) is None else text(document, field)


def truth(document: Mapping[str, Any], field: str) -> bool:
    value = document.get(field)
    if not isinstance(value, bool):
        raise CarrierMismatch(f"{field}: true or false was expected.")
    return value


def whole_mb(document: Mapping[str, Any], field: str) -> int:
    """The MB of a TMF `Quantity`; another unit is refused, since MiB or KB taken for MB would move the wrong amount."""
    quantity = record(document.get(field), field)
    if quantity.get("units") != "MB":
        raise CarrierMismatch(f"{field}: the unit is {quantity.get('units')!r}, not MB.")
    amount = quantity.get("amount")
    if isinstance(amount, Decimal) and amount.is_finite() and amount == amount.to_integral_value():
        amount = int(amount) if abs(amount) <= MAX_MB else MAX_MB + 1
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 <= amount <= MAX_MB:
        raise CarrierMismatch(f"{field}: {amount!r} is not a whole number of MB.")
    return amount


def moment(document: Mapping[str, Any], field: str) -> datetime:
    value = text(document, field)
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise CarrierMismatch(f"{field}: {value!r} is not a time.") from error
    if at.tzinfo is None:
        raise CarrierMismatch(f"{field}: {value!r} has no time zone.")
    return at.astimezone(UTC)


def msisdn(document: Mapping[str, Any], field: str) -> str | None:
    """The number of a `LogicalResource`; carriers of the older draft send a list of one."""
    value = document.get(field)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return None if value is None else text(record(value, field), "value")


def reference(document: Mapping[str, Any], field: str) -> str | None:
    value = document.get(field)
    return None if value is None else text(record(value, field), "id")


def bucket(document: Mapping[str, Any], carrier: str) -> Bucket:
    owner = msisdn(document, "logicalResource")
    if owner is None:
        raise CarrierMismatch("logicalResource: a bucket without its line.")
    transferable, distributable = truth(document, "transferable"), _distributable(document)
    if transferable and distributable:
        raise CarrierMismatch("distributable: data that may only be handed out is said to be for sale too.")
    return Bucket(
        id=text(document, "id"),
        carrier=carrier,
        msisdn=owner,
        scope=text(document, "scope"),
        app_scope=optional_text(document, "appScope"),
        expires_at=moment(record(document.get("validFor"), "validFor"), "endDateTime"),
        remaining_mb=whole_mb(document, "remainingValue"),
        reserved_mb=whole_mb(document, "reservedValue"),
        transferable=transferable,
        distributable=distributable,
    )


def _distributable(document: Mapping[str, Any]) -> bool:
    """A carrier without distribution accounts does not know the field."""
    return "distributable" in document and truth(document, "distributable")


def reservation(document: Mapping[str, Any]) -> Reservation:
    status = text(document, "status")
    if status not in RESERVATION_STATUSES:
        raise CarrierMismatch(f"status: {status!r} is not a status of a reservation.")
    bucket_id = reference(document, "bucket")
    if bucket_id is None:
        raise CarrierMismatch("bucket: a reservation without its bucket.")
    return Reservation(
        id=text(document, "id"),
        bucket_id=bucket_id,
        amount_mb=whole_mb(document, "amount"),
        expires_at=moment(document, "expirationDate"),
        status=RESERVATION_STATUSES[status],
        external_id=optional_text(document, "externalIdentifier"),
    )


def adjustment(document: Mapping[str, Any]) -> Movement:
    kind = MovementKind.ADJUST if document.get("receiverLogicalResource") is None else MovementKind.SETTLE
    return _movement(document, kind, sender="logicalResource", receiver="receiverLogicalResource")


def transfer(document: Mapping[str, Any]) -> Movement:
    return _movement(document, MovementKind.TRANSFER, sender="logicalResource", receiver="receiverLogicalResource")


def top_up(document: Mapping[str, Any]) -> Movement:
    return _movement(document, MovementKind.TOP_UP, sender=None, receiver="logicalResource")


def _movement(document: Mapping[str, Any], kind: MovementKind, *, sender: str | None, receiver: str) -> Movement:
    status = text(document, "status")
    if status not in MOVEMENT_STATUSES:
        raise CarrierMismatch(f"status: {status!r} is not a status of a movement.")
    return Movement(
        id=text(document, "id"),
        external_id=optional_text(document, "externalIdentifier"),
        kind=kind,
        amount_mb=whole_mb(document, "amount"),
        sender_msisdn=msisdn(document, sender) if sender else None,
        receiver_msisdn=msisdn(document, receiver),
        status=MOVEMENT_STATUSES[status],
        at=moment(document, "requestedDate"),
        reservation_id=reference(document, "reserveBalance"),
    )


def action(document: Mapping[str, Any]) -> Action:
    return Action(
        id=text(document, "id"),
        kind=text(document, "actionType"),
        subject_id=reference(document, "subject"),
        external_id=optional_text(document, "externalIdentifier"),
        amount_mb=whole_mb(document, "amount"),
        msisdn=msisdn(document, "logicalResource"),
        receiver_msisdn=msisdn(document, "receiverLogicalResource"),
        at=moment(document, "requestedDate"),
        impacts=[_impact(item) for item in records(document.get("impactedBucket"), "impactedBucket")],
    )


def _impact(document: Mapping[str, Any]) -> Impact:
    bucket_id = reference(document, "bucket")
    if bucket_id is None:
        raise CarrierMismatch("impactedBucket: an entry without its bucket.")
    return Impact(
        bucket_id=bucket_id,
        account=text(document, "name"),
        before_mb=whole_mb(document, "amountBefore"),
        after_mb=whole_mb(document, "amountAfter"),
    )


def kyc_match(document: Mapping[str, Any]) -> KycMatch:
    score = document.get("nameMatchScore")
    if score is not None and (not isinstance(score, int) or isinstance(score, bool) or not 0 <= score <= 100):  # noqa: PLR2004 - a percentage
        raise CarrierMismatch(f"nameMatchScore: {score!r} is not a score from 0 to 100.")
    return KycMatch(
        name=_yes_or_no(document, "nameMatch"),
        id_document=_yes_or_no(document, "idDocumentMatch"),
        name_score_percent=score,
    )


def _yes_or_no(document: Mapping[str, Any], field: str) -> bool | None:
    value = document.get(field, "not_available")
    if value not in YES_OR_NO:
        raise CarrierMismatch(f"{field}: {value!r} is neither true, false nor not_available.")
    return YES_OR_NO[value]
