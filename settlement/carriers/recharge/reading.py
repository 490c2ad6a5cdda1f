"""A gateway's answers and pushes made into our values, every figure checked on the way in."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec

from settlement.carriers.errors import CarrierMismatch, ForgedPush
from settlement.carriers.reading import MAX_MB
from settlement.carriers.recharge.signing import is_genuine
from settlement.carriers.values import (
    Action,
    ActionPage,
    Bucket,
    CarrierProfile,
    Impact,
    Movement,
    MovementKind,
    MovementStatus,
    Push,
    Reservation,
    ReservationStatus,
)

TOLERANCE_SECONDS = 600
"""How far a push may be from our clock."""
PUSH_FIELDS = 20
FREEZE_STATUSES: Mapping[int, ReservationStatus] = {
    10: ReservationStatus.HELD,
    11: ReservationStatus.CONSUMED,
    12: ReservationStatus.RELEASED,
    13: ReservationStatus.EXPIRED,
}
RECHARGE_STATUSES: Mapping[int, MovementStatus] = {
    0: MovementStatus.PENDING,
    1: MovementStatus.PENDING,
    2: MovementStatus.DONE,
    3: MovementStatus.FAILED,
    4: MovementStatus.REVERSED,
}

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Phone = Annotated[str, msgspec.Meta(pattern="^1[0-9]{10}$")]
Megabytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_MB)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=10**14)]
Read = TypeVar("Read")


class Order(msgspec.Struct, frozen=True):
    """What the gateway holds under one serial number. `left_mb` is what a freeze still holds."""

    order_no: Text
    serial_no: Text
    kind: Literal["freeze", "recharge"]
    status: int
    amount_mb: Megabytes
    phone: Phone
    at_ms: Milliseconds
    left_mb: Megabytes | None = None
    from_phone: Phone | None = None
    account_no: Text | None = None
    freeze_no: Text | None = None
    valid_until_ms: Milliseconds | None = None


class Account(msgspec.Struct, frozen=True):
    account_no: Text
    phone: Phone
    scope: Text
    valid_until_ms: Milliseconds
    free_mb: Megabytes
    frozen_mb: Megabytes
    transferable: bool
    app_scope: Text | None = None


class Change(msgspec.Struct, frozen=True):
    account_no: Text
    pot: Literal["free", "frozen"]
    before_mb: Megabytes
    after_mb: Megabytes


class Entry(msgspec.Struct, frozen=True):
    """A line of the statement."""

    entry_no: Text
    kind: Text
    order_no: Text
    serial_no: Text
    amount_mb: Megabytes
    phone: Phone
    at_ms: Milliseconds
    changes: list[Change]
    from_phone: Phone | None = None


class Statement(msgspec.Struct, frozen=True):
    total: Annotated[int, msgspec.Meta(ge=0)]
    entries: list[Entry]


def read(data: Any, shape: type[Read]) -> Read:
    """Take a document in, if it has the shape it is to have.

    Raises:
        CarrierMismatch: it has not.
    """
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise CarrierMismatch(str(error)) from error


def reservation(data: Any) -> Reservation:
    order = read(data, Order)
    if (
        order.status not in FREEZE_STATUSES
        or order.account_no is None
        or order.left_mb is None
        or order.valid_until_ms is None
    ):
        raise CarrierMismatch(f"{order.order_no}: a {order.kind} with status {order.status} is no freeze.")
    return Reservation(
        id=order.order_no,
        bucket_id=order.account_no,
        amount_mb=order.left_mb,
        expires_at=moment(order.valid_until_ms),
        status=FREEZE_STATUSES[order.status],
        external_id=order.serial_no,
    )


def movement(data: Any) -> Movement:
    """A recharge; what it is drawn from says which kind it is."""
    order = read(data, Order)
    if order.kind != "recharge" or order.status not in RECHARGE_STATUSES:
        raise CarrierMismatch(f"{order.order_no}: a {order.kind} with status {order.status} is no recharge.")
    if order.freeze_no is not None:
        kind = MovementKind.SETTLE
    else:
        kind = MovementKind.TOP_UP if order.account_no is None else MovementKind.TRANSFER
    return Movement(
        id=order.order_no,
        external_id=order.serial_no,
        kind=kind,
        amount_mb=order.amount_mb,
        sender_msisdn=None if order.from_phone is None else msisdn(order.from_phone),
        receiver_msisdn=msisdn(order.phone),
        status=RECHARGE_STATUSES[order.status],
        at=moment(order.at_ms),
        reservation_id=order.freeze_no,
    )


def buckets(data: Any, carrier: str) -> list[Bucket]:
    return [
        Bucket(
            id=account.account_no,
            carrier=carrier,
            msisdn=msisdn(account.phone),
            scope=account.scope,
            app_scope=account.app_scope,
            expires_at=moment(account.valid_until_ms),
            remaining_mb=account.free_mb,
            reserved_mb=account.frozen_mb,
            transferable=account.transferable,
        )
        for account in read(data, list[Account])
    ]


def statement(data: Any) -> ActionPage:
    found = read(data, Statement)
    return ActionPage([_action(entry) for entry in found.entries], found.total)


def _action(entry: Entry) -> Action:
    return Action(
        id=entry.entry_no,
        kind=entry.kind,
        subject_id=entry.order_no,
        external_id=entry.serial_no,
        amount_mb=entry.amount_mb,
        msisdn=None if entry.from_phone is None else msisdn(entry.from_phone),
        receiver_msisdn=msisdn(entry.phone),
        at=moment(entry.at_ms),
        impacts=[
            Impact(
                change.account_no,
                "remaining" if change.pot == "free" else "reserved",
                change.before_mb,
                change.after_mb,
            )
            for change in entry.changes
        ],
    )


def push(body: bytes, profile: CarrierProfile, now: datetime) -> Push:
    """A pushed status. Only whose it is counts; what became of the order is asked for.

    Raises:
        ForgedPush: it is not signed by this gateway, is too old, or makes no sense.
    """
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=PUSH_FIELDS)
    except ValueError as error:
        raise ForgedPush("The push is no form.") from error
    form = dict(pairs)
    if len(form) != len(pairs) or not is_genuine(form, profile.credential):
        raise ForgedPush("The signature of the push is wrong.")
    if form.get("partner_no") != profile.partner_no:
        raise ForgedPush("The push is for somebody else.")
    at = form.get("timestamp", "")
    if not re.fullmatch(r"[0-9]{1,11}", at) or abs(now.timestamp() - int(at)) > TOLERANCE_SECONDS:
        raise ForgedPush("The push is not of this moment.")
    status = RECHARGE_STATUSES.get(int(form["status"])) if re.fullmatch("[0-9]", form.get("status", "")) else None
    order_no, serial_no = form.get("order_no", ""), form.get("serial_no", "")
    if status is None or not 0 < len(order_no) <= 64 or not 0 < len(serial_no) <= 64:  # noqa: PLR2004 - as `Text` has it
        raise ForgedPush("The push names no order.")
    return Push(order_no, serial_no, status)


def msisdn(phone: str) -> str:
    """The number in the form that the rest of the product knows; such gateways serve Chinese numbers alone."""
    return f"+86{phone}"


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
