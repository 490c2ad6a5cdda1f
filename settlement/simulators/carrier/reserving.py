"""Reserving for many lines at once: set-based, and through the journal like every other change of a balance."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from settlement.simulators.carrier import lines, reservations, shapes
from settlement.simulators.carrier.bodies import ExternalId, Msisdn, Strict
from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.loading import ACTION_COLUMNS, ENTRY_COLUMNS
from settlement.simulators.carrier.refusals import Refusal

MAX_RESERVATIONS = 20_000
RESERVATION_COLUMNS = [
    "id", "carrier", "msisdn", "bucket_id", "external_id", "digest", "answer", "open_mb", "status", "expires_at",
    "requested_at",
]  # fmt: skip
MOVE = """
UPDATE bucket SET remaining_mb = remaining_mb - amount_mb, reserved_mb = reserved_mb + amount_mb
FROM unnest($2::text[], $3::bigint[]) AS wanted (msisdn, amount_mb)
WHERE bucket.carrier = $1 AND bucket.msisdn = wanted.msisdn AND transferable AND remaining_mb >= amount_mb
RETURNING bucket.id AS bucket_id, bucket.msisdn, expires_at, amount_mb, remaining_mb, reserved_mb
"""


class Wanted(Strict, frozen=True, kw_only=True):
    """What to set aside of a line that has one bucket of its own; it is held as long as the bucket lives."""

    msisdn: Msisdn
    amount_mb: Annotated[int, msgspec.Meta(ge=1, le=10**9)]
    external_id: ExternalId


class Reserve(Strict, frozen=True, kw_only=True):
    reservations: Annotated[list[Wanted], msgspec.Meta(max_length=MAX_RESERVATIONS)]


async def reserve(connection: Connection, carrier: str, wanted: Sequence[Wanted], now: datetime) -> dict[str, str]:
    """Reserve all of it or nothing; gives the reservations' ids by external id."""
    by_line = {one.msisdn: one for one in wanted}
    if len(by_line) < len(wanted):
        raise Refusal("INVALID_REQUEST", "A line is given twice.")
    await lines.lock(connection, carrier, *by_line)
    await reservations.expire(connection, carrier, list(by_line), now)
    moved = await connection.fetch(MOVE, carrier, list(by_line), [one.amount_mb for one in wanted])
    if len(moved) != len(wanted):
        raise Refusal("INSUFFICIENT_BALANCE", "Each line has to have one bucket with so much data in it.")
    rows = [_row(carrier, by_line[row["msisdn"]], row, now) for row in moved]
    records = [tuple(row[column] for column in RESERVATION_COLUMNS) for row in rows]
    await connection.copy_records_to_table("reservation", records=records, columns=RESERVATION_COLUMNS)
    await _journal(connection, carrier, list(zip(rows, moved, strict=True)), now)
    return {row["external_id"]: row["id"] for row in rows}


def _row(carrier: str, wanted: Wanted, moved: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    row = {
        "id": reservations.new_id(wanted.msisdn),
        "carrier": carrier,
        "msisdn": wanted.msisdn,
        "bucket_id": moved["bucket_id"],
        "external_id": wanted.external_id,
        "open_mb": wanted.amount_mb,
        "status": "confirmed",
        "expires_at": moved["expires_at"],
        "requested_at": now,
    }
    return {**row, "digest": "loaded", "answer": json.dumps(shapes.reservation(row))}


async def _journal(connection: Connection, carrier: str, rows: Sequence[tuple[Any, Any]], now: datetime) -> None:
    actions, entries = [], []
    for row, moved in rows:
        action, amount_mb = uuid4().hex, moved["amount_mb"]
        actions.append((action, carrier, "reserveBalance", row["id"], amount_mb, row["msisdn"], now))
        left, held = moved["remaining_mb"], moved["reserved_mb"]
        entries.append((action, 0, row["bucket_id"], "remaining", -amount_mb, left + amount_mb, left))
        entries.append((action, 1, row["bucket_id"], "reserved", amount_mb, held - amount_mb, held))
    await connection.copy_records_to_table("action", records=actions, columns=ACTION_COLUMNS)
    await connection.copy_records_to_table("entry", records=entries, columns=ENTRY_COLUMNS)
