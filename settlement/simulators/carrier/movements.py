"""Data changing hands: settling a reservation, transferring, topping up and correcting."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec

from settlement.simulators.carrier import buckets, ledger, lines, memory, reservations, shapes
from settlement.simulators.carrier.bodies import AdjustCreate, Body, Create, TopupCreate, TransferCreate
from settlement.simulators.carrier.database import Connection, Page, fetch_page
from settlement.simulators.carrier.refusals import Refusal

Row = Any
CREDITS = frozenset({"goodWillCredit", "oneTimeChargeCredit"})

# What a movement writes beside its act; with the last of what it holds a reservation is complete.
BESIDES = """, used AS (
    UPDATE reservation SET open_mb = open_mb - $6, status = CASE WHEN open_mb = $6 THEN 'completed' ELSE status END
    WHERE id = $32
), kept AS (
    INSERT INTO movement (id, carrier, resource, external_id, digest, answer, amount_mb, sender_msisdn, receiver_msisdn,
                          requested_at)
    VALUES ($4, $2, $3, $5, $33, $34, $6, $35, $36, $9)
)"""
# All that a settlement has to know, what was done under its external identifier included.
TO_SETTLE = """
SELECT reservation, bucket, target, known.digest, known.answer
FROM (SELECT) AS settlement
LEFT JOIN reservation ON reservation.carrier = $1 AND reservation.id = $2
LEFT JOIN bucket ON bucket.id = reservation.bucket_id
LEFT JOIN bucket AS target ON target.carrier = $1 AND target.msisdn = $3 AND target.scope = bucket.scope
    AND target.app_scope IS NOT DISTINCT FROM bucket.app_scope AND target.expires_at = bucket.expires_at
    AND NOT target.transferable AND target.distributable = $4
LEFT JOIN LATERAL (
    SELECT digest, answer FROM movement WHERE carrier = $1 AND external_id = $5 ORDER BY seq LIMIT 1
) AS known ON true
"""
LISTED = """
movement WHERE carrier = $1 AND resource = $2
  AND ($3::text IS NULL OR external_id = $3)
  AND ($4::text IS NULL OR sender_msisdn = $4 OR receiver_msisdn = $4)
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which movements a list shows."""

    carrier: str
    resource: str
    external_id: str | None = None
    msisdn: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """Where and when a movement is ordered, and the carrier's terms for it."""

    connection: Connection
    carrier: str
    now: datetime
    transfer_limit_mb: int
    idempotent: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A movement decided on: what changes, what it takes out of a reservation, and what the answer shows besides."""

    resource: str
    amount_mb: int
    changes: Sequence[ledger.Change]
    details: Mapping[str, Any]
    reservation_id: str | None = None
    sender_msisdn: str | None = None
    receiver_msisdn: str | None = None


async def transfer(desk: Desk, body: Body[TransferCreate]) -> Mapping[str, Any]:
    if known := await _recall(desk, body):
        return known
    order = body.value
    amount_mb, receiver = order.amount.amount, order.receiver_logical_resource.value
    source = await buckets.find(desk.connection, desk.carrier, order.bucket.id)
    sender = source["msisdn"]
    if order.logical_resource is not None and order.logical_resource.value != sender:
        raise Refusal("BUCKET_NOT_FOUND", "This line has no such bucket.")
    if sender == receiver:
        raise Refusal("SAME_SUBSCRIBER")
    locked = await lines.lock(desk.connection, desk.carrier, sender, receiver)
    await reservations.expire(desk.connection, desk.carrier, [sender], desk.now)
    source = await buckets.find(desk.connection, desk.carrier, source["id"])
    _may_move(desk, source, locked, receiver)
    buckets.may_be_given(source)
    _within_limit(desk, amount_mb)
    buckets.enough(source["remaining_mb"], amount_mb, "The bucket")

    target = await buckets.open_for(desk.connection, desk.carrier, receiver, buckets.received_kind(source), desk.now)
    plan = Plan(
        resource="transferBalance",
        amount_mb=amount_mb,
        changes=[
            ledger.Change(source, ledger.REMAINING, -amount_mb),
            ledger.Change(target, ledger.REMAINING, amount_mb, received=True),
        ],
        details={
            "costOwner": order.cost_owner,
            "transferCost": shapes.quantity(0),
            "bucket": shapes.reference(desk.carrier, "bucket", source["id"]),
            "receiverBucket": shapes.reference(desk.carrier, "bucket", target["id"]),
            "receiverBucketUsageType": "data",
        },
        sender_msisdn=sender,
        receiver_msisdn=receiver,
    )
    return await _carry_out(desk, body, plan)


async def adjust(desk: Desk, body: Body[AdjustCreate]) -> Mapping[str, Any]:
    """A reservation's debit, with or without the receiver it is settled to; or a plain credit or debit."""
    order = body.value
    debits = order.adjust_type == "reservationDebit"
    if debits and order.reserve_balance is not None and order.receiver_logical_resource is not None:
        return await _settle(desk, body, order.reserve_balance.id, order.receiver_logical_resource.value)
    if known := await _recall(desk, body):
        return known
    if not debits:
        return await _carry_out(desk, body, await _correction(desk, order))
    if order.reserve_balance is None:
        raise Refusal("INVALID_REQUEST", "reserveBalance: missing for a reservationDebit.")
    return await _carry_out(desk, body, await _consumption(desk, order, order.reserve_balance.id))


async def top_up(desk: Desk, body: Body[TopupCreate]) -> Mapping[str, Any]:
    if known := await _recall(desk, body):
        return known
    order = body.value
    amount_mb, receiver = order.amount.amount, order.logical_resource.value
    lines.able_to_receive(await lines.lock(desk.connection, desk.carrier, receiver), receiver)
    if order.valid_for.end_date_time <= desk.now:
        raise Refusal("BUCKET_EXPIRED", "validFor: lies in the past.")
    _within_limit(desk, amount_mb)

    kind = buckets.Kind(order.scope, order.app_scope, order.valid_for.end_date_time, transferable=False)
    target = await buckets.open_for(desk.connection, desk.carrier, receiver, kind, desk.now)
    plan = Plan(
        resource="topupBalance",
        amount_mb=amount_mb,
        changes=[ledger.issued(-amount_mb), ledger.Change(target, ledger.REMAINING, amount_mb, received=True)],
        details={
            "bucket": shapes.reference(desk.carrier, "bucket", target["id"]),
            "isAutoTopup": False,
            "scope": order.scope,
            "appScope": order.app_scope,
            "validFor": {"endDateTime": shapes.moment(order.valid_for.end_date_time)},
        },
        receiver_msisdn=receiver,
    )
    return await _carry_out(desk, body, plan)


async def find(connection: Connection, carrier: str, resource: str, movement_id: str) -> Mapping[str, Any]:
    answer = await connection.fetchval(
        "SELECT answer FROM movement WHERE carrier = $1 AND resource = $2 AND id = $3",
        carrier,
        resource,
        movement_id,
    )
    if answer is None:
        raise Refusal("NOT_FOUND")
    document: Mapping[str, Any] = json.loads(answer)
    return document


async def listing(connection: Connection, wanted: Wanted, page: Page) -> tuple[list[shapes.Document], int]:
    values = (wanted.carrier, wanted.resource, wanted.external_id, wanted.msisdn)
    rows, total = await fetch_page(connection, LISTED, "seq", values, page)
    return [json.loads(row["answer"]) for row in rows], total


async def _settle(desk: Desk, body: Body[AdjustCreate], reservation_id: str, receiver: str) -> Mapping[str, Any]:
    amount_mb, external_id = body.value.amount.amount, body.value.external_identifier
    locked = await lines.lock_with_owner(desk.connection, desk.carrier, reservation_id, receiver)
    distributable = receiver in locked and locked[receiver]["distributes"]
    found = await desk.connection.fetchrow(
        TO_SETTLE, desk.carrier, reservation_id, receiver, distributable, external_id
    )
    if desk.idempotent and found["answer"] is not None:
        return memory.answered(found, body.digest)
    held, source = reservations.live(found["reservation"], desk.now), found["bucket"]
    if held["msisdn"] == receiver:
        raise Refusal("SAME_SUBSCRIBER")
    _may_move(desk, source, locked, receiver)
    buckets.may_be_sold(source)
    _within_limit(desk, amount_mb)
    buckets.enough(held["open_mb"], amount_mb, "The reservation")

    kind = buckets.received_kind(source, distributable=distributable)
    target = found["target"] or await buckets.open_new(desk.connection, desk.carrier, receiver, kind, desk.now)
    plan = Plan(
        resource="adjustBalance",
        amount_mb=amount_mb,
        changes=[
            ledger.Change(source, ledger.RESERVED, -amount_mb),
            ledger.Change(target, ledger.REMAINING, amount_mb, received=True),
        ],
        details={
            "adjustType": body.value.adjust_type,
            "reserveBalance": shapes.reference(desk.carrier, "reserveBalance", reservation_id),
            "bucket": shapes.reference(desk.carrier, "bucket", source["id"]),
            "receiverBucket": shapes.reference(desk.carrier, "bucket", target["id"]),
        },
        reservation_id=reservation_id,
        sender_msisdn=held["msisdn"],
        receiver_msisdn=receiver,
    )
    return await _carry_out(desk, body, plan)


async def _consumption(desk: Desk, order: AdjustCreate, reservation_id: str) -> Plan:
    amount_mb = order.amount.amount
    await lines.lock_with_owner(desk.connection, desk.carrier, reservation_id)
    held, source = await reservations.find_live_and_bucket(desk.connection, desk.carrier, reservation_id, desk.now)
    buckets.alive(source, desk.now)
    buckets.enough(held["open_mb"], amount_mb, "The reservation")

    return Plan(
        resource="adjustBalance",
        amount_mb=amount_mb,
        changes=[ledger.Change(source, ledger.RESERVED, -amount_mb), ledger.issued(amount_mb)],
        details={
            "adjustType": order.adjust_type,
            "reserveBalance": shapes.reference(desk.carrier, "reserveBalance", reservation_id),
            "bucket": shapes.reference(desk.carrier, "bucket", source["id"]),
        },
        reservation_id=reservation_id,
        sender_msisdn=held["msisdn"],
    )


async def _correction(desk: Desk, order: AdjustCreate) -> Plan:
    if order.bucket is None or order.receiver_logical_resource is not None or order.reserve_balance is not None:
        raise Refusal("INVALID_REQUEST", f"bucket: {order.adjust_type} names a bucket, no reservation and no receiver.")
    row = await buckets.find(desk.connection, desk.carrier, order.bucket.id)
    await lines.lock(desk.connection, desk.carrier, row["msisdn"])
    await reservations.expire(desk.connection, desk.carrier, [row["msisdn"]], desk.now)
    row = await buckets.find(desk.connection, desk.carrier, row["id"])
    buckets.alive(row, desk.now)
    change_mb = order.amount.amount if order.adjust_type in CREDITS else -order.amount.amount
    buckets.enough(row["remaining_mb"], -change_mb, "The bucket")

    return Plan(
        resource="adjustBalance",
        amount_mb=order.amount.amount,
        changes=[ledger.issued(-change_mb), ledger.Change(row, ledger.REMAINING, change_mb)],
        details={
            "adjustType": order.adjust_type,
            "bucket": shapes.reference(desk.carrier, "bucket", row["id"]),
        },
        sender_msisdn=row["msisdn"],
    )


def _may_move(desk: Desk, source: Row, locked: Mapping[str, Row], receiver: str) -> None:
    """What stands against any movement to this receiver, in the order in which it is reported."""
    lines.able_to_receive(locked, receiver)
    buckets.alive(source, desk.now)


def _within_limit(desk: Desk, amount_mb: int) -> None:
    if amount_mb > desk.transfer_limit_mb:
        raise Refusal("TRANSFER_LIMIT", f"One movement carries at most {desk.transfer_limit_mb} MB.")


async def _recall(desk: Desk, body: Body[Any]) -> Mapping[str, Any] | None:
    if not desk.idempotent:
        return None
    order: Create = body.value
    return await memory.recall(desk.connection, "movement", desk.carrier, order.external_identifier, body.digest)


async def _carry_out(desk: Desk, body: Body[Any], plan: Plan) -> Mapping[str, Any]:
    """Post a movement and keep its answer, which is what the same id is answered from then on."""
    movement_id, external_id = uuid4().hex, body.value.external_identifier
    action = ledger.Action(
        carrier=desk.carrier,
        kind=plan.resource,
        amount_mb=plan.amount_mb,
        at=desk.now,
        subject_id=movement_id,
        external_id=external_id,
        msisdn=plan.sender_msisdn or plan.receiver_msisdn,
        receiver_msisdn=plan.receiver_msisdn if plan.sender_msisdn else None,
    )
    answer = _answer(desk, plan, action, ledger.entries(plan.changes))
    await ledger.post(
        desk.connection,
        action,
        plan.changes,
        BESIDES,
        plan.reservation_id,
        body.digest,
        msgspec.json.encode(answer).decode(),
        plan.sender_msisdn,
        plan.receiver_msisdn,
    )
    return answer


def _answer(desk: Desk, plan: Plan, action: ledger.Action, entries: Sequence[ledger.Entry]) -> shapes.Document:
    return shapes.present(
        {
            **shapes.reference(desk.carrier, plan.resource, action.subject_id or ""),
            "@type": plan.resource[0].upper() + plan.resource[1:],
            "usageType": "data",
            "amount": shapes.quantity(plan.amount_mb),
            "logicalResource": shapes.msisdn(action.msisdn or ""),
            "receiverLogicalResource": shapes.msisdn(action.receiver_msisdn) if action.receiver_msisdn else None,
            **plan.details,
            "status": "confirmed",
            "requestedDate": shapes.moment(desk.now),
            "confirmationDate": shapes.moment(desk.now),
            "externalIdentifier": action.external_id,
            "impactedBucket": shapes.impacts(desk.carrier, entries),
        },
    )
