"""What stands on each line's phone bill: payments reserved, charged or let go, and refunds of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from settlement.simulators.carrier import lines
from settlement.simulators.carrier.database import Connection, Page, fetch_page
from settlement.simulators.carrier.refusals import Refusal

MONTHLY_LIMIT_MINOR = 100_000
"""What one line may have charged and reserved in a calendar month."""
RESERVED_FOR = timedelta(hours=1)
BEIJING = ZoneInfo("Asia/Shanghai")
SHOWN = 20

INSERT = """
INSERT INTO bill_payment (id, carrier, msisdn, correlator, reference_code, description, amount_minor, currency,
                          status, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'reserved', $9) ON CONFLICT DO NOTHING RETURNING *
"""
OF_MONTH = """
SELECT coalesce(sum(amount_minor), 0)::bigint FROM bill_payment
WHERE carrier = $1 AND msisdn = $2 AND status <> 'cancelled' AND created_at >= $3
  AND NOT EXISTS (SELECT FROM bill_refund WHERE payment_id = bill_payment.id)
"""
EXPIRE = """
UPDATE bill_payment SET status = 'cancelled' WHERE carrier = $1 AND status = 'reserved' AND created_at <= $2
"""
LISTED = """
bill_payment WHERE carrier = $1
  AND ($2::timestamptz IS NULL OR created_at >= $2)
  AND ($3::timestamptz IS NULL OR created_at <= $3)
  AND ($4::text IS NULL OR status = $4)
"""

Row = Any


@dataclass(frozen=True, slots=True)
class Order:
    """A payment that somebody asks for, in minor units."""

    msisdn: str
    correlator: str | None
    reference_code: str
    description: str
    amount_minor: int
    currency: str


async def prepare(connection: Connection, carrier: str, order: Order, now: datetime) -> Row:
    """Reserve an amount within the line's limit. A correlator is taken once."""
    locked = await lines.lock(connection, carrier, order.msisdn)
    await expire(connection, carrier, now)
    line = locked.get(order.msisdn)
    if line is None:
        raise Refusal("IDENTIFIER_NOT_FOUND")
    if line["payment"] != "postpaid" or line["status"] != "active" or order.currency != "CNY":
        raise Refusal("SERVICE_NOT_APPLICABLE")
    month = now.astimezone(BEIJING).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    taken_minor: int = await connection.fetchval(OF_MONTH, carrier, order.msisdn, month)
    row = await connection.fetchrow(
        INSERT, uuid4().hex, carrier, order.msisdn, order.correlator, order.reference_code, order.description,
        order.amount_minor, order.currency, now,
    )  # fmt: skip
    if row is None:
        raise Refusal("ALREADY_EXISTS")
    if taken_minor + order.amount_minor > MONTHLY_LIMIT_MINOR:
        raise Refusal("CARRIER_BILLING.USER_AMOUNT_THRESHOLD_OVERPASSED")
    return row


async def confirm(connection: Connection, carrier: str, payment_id: str, msisdn: str | None, now: datetime) -> None:
    await _open(connection, carrier, payment_id, msisdn, now)
    await connection.execute(
        "UPDATE bill_payment SET status = 'succeeded', paid_at = $2 WHERE id = $1", payment_id, now
    )


async def cancel(connection: Connection, carrier: str, payment_id: str, msisdn: str | None, now: datetime) -> None:
    await _open(connection, carrier, payment_id, msisdn, now)
    await connection.execute("UPDATE bill_payment SET status = 'cancelled' WHERE id = $1", payment_id)


async def show(connection: Connection, carrier: str, payment_id: str) -> Row:
    row = await connection.fetchrow("SELECT * FROM bill_payment WHERE carrier = $1 AND id = $2", carrier, payment_id)
    if row is None:
        raise Refusal("NOT_FOUND")
    return row


async def listing(
    connection: Connection, carrier: str, spans: tuple[datetime | None, datetime | None], status: str | None,
    page: Page, *, ascending: bool,
) -> tuple[list[Row], int]:  # fmt: skip
    """A page of the payments created in a span of time, and how many there are."""
    order = "created_at, seq" if ascending else "created_at DESC, seq DESC"
    return await fetch_page(connection, LISTED, order, (carrier, *spans, status), page)


async def refund(
    connection: Connection, carrier: str, payment_id: str, names: tuple[str | None, str], now: datetime
) -> Row:
    """Take all of a charged payment off the bill; `names` are the correlator and the reference code."""
    payment = await _locked(connection, carrier, payment_id)
    if payment["status"] != "succeeded":
        raise Refusal("CARRIER_BILLING_REFUND.INVALID_PAYMENT_STATUS")
    row = await connection.fetchrow(
        "INSERT INTO bill_refund (id, payment_id, correlator, reference_code, created_at)"
        " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING *",
        uuid4().hex, payment_id, *names, now,
    )  # fmt: skip
    if row is None:
        raise Refusal("ALREADY_EXISTS")
    return row


async def refunds(connection: Connection, carrier: str, payment_id: str) -> list[Row]:
    await show(connection, carrier, payment_id)
    rows: list[Row] = await connection.fetch("SELECT * FROM bill_refund WHERE payment_id = $1", payment_id)
    return rows


async def on_bill(connection: Connection, carrier: str, msisdn: str) -> Sequence[Row]:
    """What a line's phone shows of its bill, newest first."""
    rows: Sequence[Row] = await connection.fetch(
        "SELECT bill_payment.*, bill_refund.id IS NOT NULL AS refunded FROM bill_payment"
        " LEFT JOIN bill_refund ON payment_id = bill_payment.id"
        " WHERE carrier = $1 AND msisdn = $2 AND status <> 'cancelled' ORDER BY seq DESC LIMIT $3",
        carrier, msisdn, SHOWN,
    )  # fmt: skip
    return rows


async def expire(connection: Connection, carrier: str, now: datetime) -> None:
    """Let reservations go that nobody confirmed in time."""
    await connection.execute(EXPIRE, carrier, now - RESERVED_FOR)


async def _locked(connection: Connection, carrier: str, payment_id: str) -> Row:
    row = await connection.fetchrow(
        "SELECT * FROM bill_payment WHERE carrier = $1 AND id = $2 FOR NO KEY UPDATE", carrier, payment_id
    )
    if row is None:
        raise Refusal("NOT_FOUND")
    return row


async def _open(connection: Connection, carrier: str, payment_id: str, msisdn: str | None, now: datetime) -> None:
    """Lock a payment that is still reserved."""
    if msisdn is None:
        raise Refusal("MISSING_IDENTIFIER")
    await expire(connection, carrier, now)
    row = await _locked(connection, carrier, payment_id)
    if row["msisdn"] != msisdn:
        raise Refusal("NOT_FOUND")
    if row["status"] == "succeeded":
        raise Refusal("CARRIER_BILLING.PAYMENT_CONFIRMED")
    if row["status"] == "cancelled":
        raise Refusal("CARRIER_BILLING.PAYMENT_CANCELLED")
