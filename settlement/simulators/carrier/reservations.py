"""Data set aside: reserving, resizing, releasing, and the expiry of what nobody used."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from settlement.simulators.carrier import buckets, ledger, lines, memory, shapes
from settlement.simulators.carrier.bodies import Body, ReserveCreate
from settlement.simulators.carrier.database import Connection, Database, Page, fetch_page
from settlement.simulators.carrier.refusals import Refusal

DIGITS = 4

Row = Any

INSERT = """
INSERT INTO reservation (id, carrier, msisdn, bucket_id, external_id, digest, answer, open_mb, status, expires_at,
                         requested_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'confirmed', $9, $10)
"""
LISTED = """
reservation WHERE carrier = $1
  AND ($2::text IS NULL OR external_id = $2)
  AND ($3::text IS NULL OR msisdn = $3)
  AND ($4::text IS NULL OR status = $4)
"""
WITH_BUCKET = """
SELECT reservation, bucket FROM reservation JOIN bucket ON bucket.id = reservation.bucket_id
WHERE reservation.carrier = $1 AND reservation.id = $2
"""


def new_id(msisdn: str) -> str:
    """An id that tells the last digits of its line's number, by which faults are chosen."""
    return f"{uuid4().hex}-{msisdn[-DIGITS:]}"


def digits(reservation_id: str) -> str:
    return reservation_id.partition("-")[2]


async def sweep(database: Database, carrier: str, now: datetime) -> None:
    """Expire what is due before anybody looks: reservations expire by the clock, not by a job."""
    async with database.transaction() as connection:
        due = await connection.fetch(
            "SELECT DISTINCT msisdn FROM reservation WHERE carrier = $1 AND status = 'confirmed' AND expires_at <= $2",
            carrier,
            now,
        )
        if due:
            msisdns = [row["msisdn"] for row in due]
            await lines.lock(connection, carrier, *msisdns)
            await expire(connection, carrier, msisdns, now)


async def expire(connection: Connection, carrier: str, msisdns: list[str], now: datetime) -> None:
    """Give what is past its time back to its bucket. The lines are locked by the caller."""
    due = await connection.fetch(
        "SELECT * FROM reservation WHERE carrier = $1 AND msisdn = ANY($2::text[]) AND status = 'confirmed'"
        " AND expires_at <= $3 ORDER BY seq",
        carrier,
        msisdns,
        now,
    )
    for row in due:
        bucket = await buckets.find(connection, carrier, row["bucket_id"])
        await _give_back(connection, row, bucket, "expired", now)


async def reserve(
    connection: Connection,
    carrier: str,
    body: Body[ReserveCreate],
    now: datetime,
    *,
    idempotent: bool,
) -> Mapping[str, Any]:
    order, external_id = body.value, body.value.external_identifier
    if idempotent and (known := await memory.recall(connection, "reservation", carrier, external_id, body.digest)):
        return known
    bucket = await _lock_bucket(connection, carrier, order, now)
    _reservable(bucket, order, now)

    row = {
        "id": new_id(bucket["msisdn"]),
        "carrier": carrier,
        "msisdn": bucket["msisdn"],
        "bucket_id": bucket["id"],
        "external_id": external_id,
        "open_mb": order.amount.amount,
        "status": "confirmed",
        "expires_at": order.expiration_date,
        "requested_at": now,
    }
    await _post(connection, row, bucket, order.amount.amount, now)
    answer = shapes.reservation(row)
    await connection.execute(
        INSERT,
        row["id"],
        carrier,
        row["msisdn"],
        row["bucket_id"],
        external_id,
        body.digest,
        json.dumps(answer),
        row["open_mb"],
        row["expires_at"],
        now,
    )
    return answer


async def resize(
    connection: Connection,
    carrier: str,
    reservation_id: str,
    amount_mb: int,
    now: datetime,
) -> Mapping[str, Any]:
    await lines.lock_with_owner(connection, carrier, reservation_id)
    row = await find_live(connection, carrier, reservation_id, now)
    await expire(connection, carrier, [row["msisdn"]], now)
    bucket = await buckets.find(connection, carrier, row["bucket_id"])
    buckets.alive(bucket, now)
    more_mb = amount_mb - row["open_mb"]
    buckets.enough(bucket["remaining_mb"], more_mb, "The bucket")

    await connection.execute("UPDATE reservation SET open_mb = $2 WHERE id = $1", reservation_id, amount_mb)
    if more_mb:
        await _post(connection, row, bucket, more_mb, now)
    return shapes.reservation({**row, "open_mb": amount_mb})


async def release(connection: Connection, carrier: str, reservation_id: str, now: datetime) -> None:
    await lines.lock_with_owner(connection, carrier, reservation_id)
    row, bucket = await find_live_and_bucket(connection, carrier, reservation_id, now)
    await _give_back(connection, row, bucket, "cancelled", now)


async def find_live(connection: Connection, carrier: str, reservation_id: str, now: datetime) -> Row:
    """The reservation, if it is still live. Its line is locked by the caller."""
    return live(await find(connection, carrier, reservation_id), now)


async def find_live_and_bucket(
    connection: Connection, carrier: str, reservation_id: str, now: datetime
) -> tuple[Row, Row]:
    """The same, with the bucket that it holds data of."""
    found = await connection.fetchrow(WITH_BUCKET, carrier, reservation_id)
    return live(found and found["reservation"], now), found["bucket"]


def live(row: Row | None, now: datetime) -> Row:
    """The reservation, if it was found and is still live."""
    if row is None:
        raise Refusal("RESERVATION_NOT_FOUND")
    if row["status"] == "expired" or (row["status"] == "confirmed" and row["expires_at"] <= now):
        raise Refusal("RESERVATION_EXPIRED")
    if row["status"] != "confirmed":
        raise Refusal("RESERVATION_NOT_FOUND", "The reservation was released or used up.")
    return row


async def find(connection: Connection, carrier: str, reservation_id: str) -> Row:
    row = await connection.fetchrow("SELECT * FROM reservation WHERE carrier = $1 AND id = $2", carrier, reservation_id)
    if row is None:
        raise Refusal("RESERVATION_NOT_FOUND")
    return row


async def show(connection: Connection, carrier: str, reservation_id: str) -> shapes.Document:
    return shapes.reservation(await find(connection, carrier, reservation_id))


async def listing(
    connection: Connection,
    carrier: str,
    external_id: str | None,
    msisdn: str | None,
    page: Page,
    *,
    status: str | None,
) -> tuple[list[shapes.Document], int]:
    rows, total = await fetch_page(connection, LISTED, "seq", (carrier, external_id, msisdn, status), page)
    return [shapes.reservation(row) for row in rows], total


async def _lock_bucket(connection: Connection, carrier: str, order: ReserveCreate, now: datetime) -> Row:
    bucket = await buckets.find(connection, carrier, order.bucket.id)
    if order.logical_resource is not None and order.logical_resource.value != bucket["msisdn"]:
        raise Refusal("BUCKET_NOT_FOUND", "This line has no such bucket.")
    await lines.lock(connection, carrier, bucket["msisdn"])
    await expire(connection, carrier, [bucket["msisdn"]], now)
    return await buckets.find(connection, carrier, order.bucket.id)


def _reservable(bucket: Row, order: ReserveCreate, now: datetime) -> None:
    if order.expiration_date <= now:
        raise Refusal("INVALID_REQUEST", "expirationDate: lies in the past.")
    buckets.alive(bucket, now)
    buckets.may_be_sold(bucket)
    if order.expiration_date > bucket["expires_at"]:
        raise Refusal("EXPIRATION_BEYOND_BUCKET")
    buckets.enough(bucket["remaining_mb"], order.amount.amount, "The bucket")


async def _give_back(connection: Connection, row: Row, bucket: Row, status: str, now: datetime) -> None:
    await _post(connection, row, bucket, -row["open_mb"], now)
    await connection.execute("UPDATE reservation SET open_mb = 0, status = $2 WHERE id = $1", row["id"], status)


async def _post(connection: Connection, row: Mapping[str, Any], bucket: Row, amount_mb: int, now: datetime) -> None:
    """Move `amount_mb` of a bucket from remaining to reserved; a negative amount goes back."""
    action = ledger.Action(
        carrier=row["carrier"],
        kind="reserveBalance",
        amount_mb=abs(amount_mb),
        at=now,
        subject_id=row["id"],
        external_id=row["external_id"],
        msisdn=row["msisdn"],
    )
    changes = [
        ledger.Change(bucket, ledger.REMAINING, -amount_mb),
        ledger.Change(bucket, ledger.RESERVED, amount_mb),
    ]
    await ledger.post(connection, action, changes)
