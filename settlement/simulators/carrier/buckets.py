"""Pots of data on a line: finding, creating and deleting them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

from settlement.simulators.carrier import ledger, lines, shapes
from settlement.simulators.carrier.bodies import BucketCreate
from settlement.simulators.carrier.database import Connection, Page, fetch_page
from settlement.simulators.carrier.refusals import Refusal

Row = Any

OF_KIND = """
SELECT * FROM bucket
WHERE carrier = $1 AND msisdn = $2 AND scope = $3 AND app_scope IS NOT DISTINCT FROM $4 AND expires_at = $5
    AND transferable = $6 AND distributable = $7
"""
OPEN = """
INSERT INTO bucket (carrier, msisdn, scope, app_scope, expires_at, transferable, distributable, id, created_at,
                    remaining_mb, reserved_mb, total_mb)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0) RETURNING *
"""
LISTED = "bucket WHERE carrier = $1 AND ($2::text IS NULL OR msisdn = $2)"


class Kind(NamedTuple):
    """What data may be used for and until when, and whether its owner may sell it or only pass it on.

    A line has one bucket of a kind.
    """

    scope: str
    app_scope: str | None
    expires_at: datetime
    transferable: bool
    distributable: bool = False


async def find(connection: Connection, carrier: str, bucket_id: str) -> Row:
    row = await connection.fetchrow("SELECT * FROM bucket WHERE carrier = $1 AND id = $2", carrier, bucket_id)
    if row is None:
        raise Refusal("BUCKET_NOT_FOUND")
    return row


async def open_for(connection: Connection, carrier: str, msisdn: str, kind: Kind, now: datetime) -> Row:
    """The line's bucket of this kind, made empty if it has none. The line is locked by the caller."""
    found = await connection.fetchrow(OF_KIND, carrier, msisdn, *kind)
    return found or await open_new(connection, carrier, msisdn, kind, now)


async def open_new(connection: Connection, carrier: str, msisdn: str, kind: Kind, now: datetime) -> Row:
    """An empty bucket of a kind that the line does not have yet. The line is locked by the caller."""
    return await connection.fetchrow(OPEN, carrier, msisdn, *kind, uuid4().hex, now)


def received_kind(source: Row, *, distributable: bool = False) -> Kind:
    """Received data keeps scope, app scope and its original expiry, and is never sold a second time."""
    scope, app_scope, expires_at = source["scope"], source["app_scope"], source["expires_at"]
    return Kind(scope, app_scope, expires_at, transferable=False, distributable=distributable)


def may_be_sold(row: Row) -> None:
    if not row["transferable"]:
        raise Refusal("NOT_TRANSFERABLE")


def may_be_given(row: Row) -> None:
    """A distribution account passes on what it bought; with its receiver the data stays."""
    if not (row["transferable"] or row["distributable"]):
        raise Refusal("NOT_TRANSFERABLE")


def alive(row: Row, now: datetime) -> None:
    if row["expires_at"] <= now:
        raise Refusal("BUCKET_EXPIRED")


def enough(available_mb: int, amount_mb: int, where: str) -> None:
    if amount_mb > available_mb:
        raise Refusal("INSUFFICIENT_BALANCE", f"{where} has {available_mb} MB, {amount_mb} MB were asked for.")


async def create(connection: Connection, carrier: str, order: BucketCreate, now: datetime) -> shapes.Document:
    if len(order.logical_resource) != 1:
        raise Refusal("INVALID_REQUEST", "logicalResource: exactly one line was expected.")
    msisdn = order.logical_resource[0].value
    if msisdn not in await lines.lock(connection, carrier, msisdn):
        raise Refusal("LINE_NOT_FOUND")

    kind = Kind(order.scope, order.app_scope, order.valid_for.end_date_time, order.transferable)
    row = await open_for(connection, carrier, msisdn, kind, now)
    if order.remaining_value is not None:
        await issue(connection, row, order.remaining_value.amount, order.external_identifier, now)
    return await show(connection, carrier, row["id"], now)


async def issue(connection: Connection, row: Row, amount_mb: int, external_id: str | None, now: datetime) -> None:
    action = ledger.Action(row["carrier"], "bucket", amount_mb, now, row["id"], external_id, row["msisdn"])
    changes = [ledger.issued(-amount_mb), ledger.Change(row, ledger.REMAINING, amount_mb, received=True)]
    await ledger.post(connection, action, changes)


async def delete(connection: Connection, carrier: str, bucket_id: str) -> None:
    row = await find(connection, carrier, bucket_id)
    await lines.lock(connection, carrier, row["msisdn"])
    deleted = await connection.fetchval(
        "DELETE FROM bucket WHERE id = $1 AND remaining_mb = 0 AND reserved_mb = 0"
        " AND NOT EXISTS (SELECT FROM reservation WHERE bucket_id = $1) RETURNING id",
        bucket_id,
    )
    if deleted is None:
        raise Refusal("BUCKET_NOT_EMPTY")


async def show(connection: Connection, carrier: str, bucket_id: str, now: datetime) -> shapes.Document:
    row = await find(connection, carrier, bucket_id)
    return (await _with_reservations(connection, [row], now))[0]


async def listing(
    connection: Connection,
    carrier: str,
    msisdn: str | None,
    page: Page,
    now: datetime,
) -> tuple[list[shapes.Document], int]:
    rows, total = await fetch_page(connection, LISTED, "msisdn, expires_at, id", (carrier, msisdn), page)
    return await _with_reservations(connection, rows, now), total


async def _with_reservations(connection: Connection, rows: Sequence[Row], now: datetime) -> list[shapes.Document]:
    held = await connection.fetch(
        "SELECT bucket_id, id FROM reservation WHERE bucket_id = ANY($1::text[]) AND status = 'confirmed' ORDER BY seq",
        [row["id"] for row in rows],
    )
    return [shapes.bucket(row, [r["id"] for r in held if r["bucket_id"] == row["id"]], now) for row in rows]
