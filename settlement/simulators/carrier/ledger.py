"""Double entry over buckets: what one side of an act loses the other gains, and each entry tells before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple
from uuid import uuid4

from settlement.simulators.carrier.database import Connection

REMAINING, RESERVED, ISSUED = "remaining", "reserved", "issued"
SIDES = 2
NO_BUCKET = (None, 0, 0, 0, 0, 0)

# An act in one statement. A balance that is not as it was read stays as it is, which the count tells.
ACT = """
WITH moved AS (
    UPDATE bucket SET remaining_mb = remaining + remaining_change, reserved_mb = reserved + reserved_change,
        total_mb = total_mb + received
    FROM (VALUES ($10, $11::bigint, $12::bigint, $13::bigint, $14::bigint, $15::bigint), ($16, $17, $18, $19, $20, $21))
        AS change (bucket_id, remaining, remaining_change, reserved, reserved_change, received)
    WHERE id = bucket_id AND remaining_mb = remaining AND reserved_mb = reserved RETURNING id
), made AS (
    INSERT INTO action (id, carrier, kind, subject_id, external_id, amount_mb, msisdn, receiver_msisdn, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
), noted AS (
    INSERT INTO entry (action_id, position, bucket_id, account, change_mb, before_mb, after_mb)
    VALUES ($1, 0, $22, $23, $24, $25, $26), ($1, 1, $27, $28, $29, $30, $31)
)"""
MOVED = " SELECT count(*) FROM moved"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """What the journal says of one act. `subject_id` is the movement or reservation it belongs to."""

    carrier: str
    kind: str
    amount_mb: int
    at: datetime
    subject_id: str | None = None
    external_id: str | None = None
    msisdn: str | None = None
    receiver_msisdn: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One side of an act on a bucket as it was read; no bucket means the carrier's own side, from which data is issued.

    What is `received` counts to what the bucket ever held, which its owner's screen measures against.
    """

    bucket: Row | None
    account: str
    change_mb: int
    received: bool = False


class Entry(NamedTuple):
    bucket_id: str | None
    account: str
    change_mb: int
    before_mb: int | None
    after_mb: int | None


def issued(change_mb: int) -> Change:
    return Change(None, ISSUED, change_mb)


def entries(changes: Sequence[Change]) -> list[Entry]:
    """What the journal will say of these changes."""
    if len(changes) != SIDES or sum(change.change_mb for change in changes) != 0:
        raise RuntimeError("an act has two sides, which sum to zero")
    return [_entry(change) for change in changes]


async def post(
    connection: Connection, action: Action, changes: Sequence[Change], besides: str = "", *values: object
) -> None:
    """Write an act to the balances and to the journal, and with it what else belongs to it.

    The lines it touches are locked by the caller, and their buckets read under that lock. `besides` are further parts
    of `ACT`: they may use its parameters, and their own `values` come after these.
    """
    buckets = _buckets(changes)
    moved = await connection.fetchval(
        ACT + besides + MOVED,
        uuid4().hex,
        action.carrier,
        action.kind,
        action.subject_id,
        action.external_id,
        action.amount_mb,
        action.msisdn,
        action.receiver_msisdn,
        action.at,
        *chain.from_iterable((*buckets, NO_BUCKET)[:SIDES]),
        *chain.from_iterable(entries(changes)),
        *values,
    )
    if moved != len(buckets):
        raise RuntimeError(f"a bucket of {action.kind} changed though its line was locked")


def _buckets(changes: Sequence[Change]) -> list[Sequence[object]]:
    """What an act changes in each bucket that it touches."""
    rows: dict[str, list[Any]] = {}
    for change in changes:
        if change.bucket is None:
            continue
        bucket_id, remaining_mb, reserved_mb = (change.bucket[name] for name in ("id", "remaining_mb", "reserved_mb"))
        row = rows.setdefault(bucket_id, [bucket_id, remaining_mb, 0, reserved_mb, 0, 0])
        row[2 if change.account == REMAINING else 4] += change.change_mb
        row[5] += change.change_mb if change.received else 0
    return list(rows.values())


def _entry(change: Change) -> Entry:
    if change.bucket is None:
        return Entry(None, change.account, change.change_mb, None, None)
    before_mb = change.bucket[f"{change.account}_mb"]
    return Entry(change.bucket["id"], change.account, change.change_mb, before_mb, before_mb + change.change_mb)
