"""The inbox of each line."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from settlement.simulators.carrier.brands import BRAND_OF_CODE
from settlement.simulators.carrier.database import Connection

SHOWN = 50


async def deliver(connection: Connection, carrier: str, msisdn: str, text: str, now: datetime) -> int:
    identifier: int = await connection.fetchval(
        "INSERT INTO sms (carrier, msisdn, sender, text, at) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        carrier,
        msisdn,
        BRAND_OF_CODE[carrier].service_number,
        text,
        now,
    )
    return identifier


async def inbox(connection: Connection, carrier: str, msisdn: str) -> Sequence[Any]:
    """The newest messages first."""
    rows: Sequence[Any] = await connection.fetch(
        "SELECT * FROM sms WHERE carrier = $1 AND msisdn = $2 ORDER BY id DESC LIMIT $3",
        carrier,
        msisdn,
        SHOWN,
    )
    return rows
