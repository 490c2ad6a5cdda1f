"""Subscribers: locking the lines an act touches, and finding them."""

from collections.abc import Mapping
from typing import Any

from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.refusals import Refusal

LOCK = """
SELECT * FROM line WHERE carrier = $1 AND msisdn = ANY($2::text[])
ORDER BY msisdn FOR NO KEY UPDATE
"""

LOCK_WITH_OWNER = """
SELECT * FROM line
WHERE carrier = $1
    AND msisdn = ANY(ARRAY[$2, (SELECT msisdn FROM reservation WHERE carrier = $1 AND id = $3)])
ORDER BY msisdn FOR NO KEY UPDATE
"""

Row = Any


async def lock(connection: Connection, carrier: str, *msisdns: str) -> Mapping[str, Row]:
    """Lock all lines of an act at once and in one order, so two acts that share lines queue and never deadlock."""
    rows = await connection.fetch(LOCK, carrier, list(msisdns))
    return {row["msisdn"]: row for row in rows}


async def lock_with_owner(
    connection: Connection, carrier: str, reservation_id: str, msisdn: str | None = None
) -> Mapping[str, Row]:
    """The same, with the line whose data is reserved, if there is such a reservation: it is the same line always."""
    rows = await connection.fetch(LOCK_WITH_OWNER, carrier, msisdn, reservation_id)
    return {row["msisdn"]: row for row in rows}


async def find(connection: Connection, carrier: str, msisdn: str) -> Row:
    row = await connection.fetchrow("SELECT * FROM line WHERE carrier = $1 AND msisdn = $2", carrier, msisdn)
    if row is None or row["left_at"] is not None:
        raise Refusal("NOT_FOUND", "There is no such subscriber.")
    return row


def able_to_receive(rows: Mapping[str, Row], msisdn: str) -> None:
    """A receiver is an active line of this carrier; nobody else can be given data here."""
    row = rows.get(msisdn)
    if row is None or row["left_at"] is not None:
        raise Refusal("RECEIVER_NOT_ELIGIBLE", "The receiver is not a subscriber of this carrier.")
    if row["status"] != "active":
        raise Refusal("RECEIVER_NOT_ELIGIBLE", "The receiver's line is suspended.")
