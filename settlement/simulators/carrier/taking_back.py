"""Movements that the carrier takes back after they were done: fraud found late, a mistake of its own."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from settlement.simulators.carrier import buckets, ledger, lines
from settlement.simulators.carrier.bodies import Strict
from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.refusals import Refusal

KIND = "reversal"
"""The journal's word for it."""


class Order(Strict, frozen=True, kw_only=True):
    """Which movement, and where its data goes: back to the sender's bucket, or to nobody."""

    external_identifier: str
    to: Literal["sender", "nobody"] = "sender"


async def take_back(connection: Connection, carrier: str, order: Order, now: datetime) -> Mapping[str, Any]:
    """Reverse a movement. Its data has to be there still; done once, it is done."""
    row = await connection.fetchrow(
        "SELECT * FROM movement WHERE carrier = $1 AND external_id = $2", carrier, order.external_identifier
    )
    if row is None or row["sender_msisdn"] is None or row["receiver_msisdn"] is None:
        raise Refusal("NOT_FOUND")
    await lines.lock(connection, carrier, row["sender_msisdn"], row["receiver_msisdn"])
    kept = await connection.fetchval("SELECT answer FROM movement WHERE id = $1 FOR UPDATE", row["id"])
    answer: dict[str, Any] = json.loads(kept)
    if answer["status"] == "reversed":
        return answer
    source = await buckets.find(connection, carrier, answer["bucket"]["id"])
    target = await buckets.find(connection, carrier, answer["receiverBucket"]["id"])
    buckets.enough(target["remaining_mb"], row["amount_mb"], "The receiver's bucket")

    action = ledger.Action(
        carrier=carrier,
        kind=KIND,
        amount_mb=row["amount_mb"],
        at=now,
        subject_id=row["id"],
        external_id=row["external_id"],
        msisdn=row["receiver_msisdn"],
        receiver_msisdn=row["sender_msisdn"],
    )
    gone = ledger.Change(target, ledger.REMAINING, -row["amount_mb"])
    back = ledger.Change(source, ledger.REMAINING, row["amount_mb"])
    await ledger.post(connection, action, [gone, back if order.to == "sender" else ledger.issued(row["amount_mb"])])
    answer["status"] = "reversed"
    await connection.execute("UPDATE movement SET answer = $2 WHERE id = $1", row["id"], json.dumps(answer))
    return answer
