"""Double entry over buckets: each action's changes sum to zero, and each entry tells before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import uuid4

from settlement.simulators.carrier.database import Connection

REMAINING, RESERVED, ISSUED = "remaining", "reserved", "issued"

POST = """
WITH made AS (
    INSERT INTO action (id, carrier, kind, subject_id, external_id, amount_mb, msisdn, receiver_msisdn, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id
)
INSERT INTO entry (action_id, position, bucket_id, account, change_mb, before_mb, after_mb)
SELECT made.id, position - 1, bucket_id, account, change_mb, before_mb, after_mb
FROM made, unnest($10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[]) WITH ORDINALITY
    AS side (bucket_id, account, change_mb, before_mb, after_mb, position)
"""


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
    """One side of an act; no bucket means the carrier's own side, from which data is issued.

    What is `received` counts to what the bucket ever held, which its owner's screen measures against.
    """

    bucket_id: str | None
    account: str
    change_mb: int
    received: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    bucket_id: str | None
    account: str
    change_mb: int
    before_mb: int | None
    after_mb: int | None


def issued(change_mb: int) -> Change:
    return Change(None, ISSUED, change_mb)


async def post(connection: Connection, action: Action, changes: Sequence[Change]) -> list[Entry]:
    """Write an act to the balances and to the journal. The lines it touches are locked by the caller."""
    if sum(change.change_mb for change in changes) != 0:
        raise RuntimeError(f"the changes of {action.kind} do not sum to zero")
    after = await _move(connection, changes)
    entries = [_entry(change, after) for change in changes]
    action_id = uuid4().hex
    await connection.execute(
        POST,
        action_id,
        action.carrier,
        action.kind,
        action.subject_id,
        action.external_id,
        action.amount_mb,
        action.msisdn,
        action.receiver_msisdn,
        action.at,
        [entry.bucket_id for entry in entries],
        [entry.account for entry in entries],
        [entry.change_mb for entry in entries],
        [entry.before_mb for entry in entries],
        [entry.after_mb for entry in entries],
    )
    return entries


async def _move(connection: Connection, changes: Sequence[Change]) -> Mapping[str, Mapping[str, int]]:
    """Write all that an act changes in buckets, and say what each then holds, by account."""
    moved: dict[str, list[int]] = {}
    for change in changes:
        if change.bucket_id is not None:
            sums = moved.setdefault(change.bucket_id, [0, 0, 0])
            sums[change.account == RESERVED] += change.change_mb
            sums[2] += change.change_mb if change.received else 0
    values = [value for bucket_id, sums in moved.items() for value in (bucket_id, *sums)]
    return {row["id"]: row for row in await connection.fetch(_move_statement(len(moved)), *values)}


@cache
def _move_statement(buckets: int) -> str:
    """Of single values, not of arrays: by these PostgreSQL would plan it anew each time."""
    rows = ", ".join(
        f"(${at}::text, ${at + 1}::bigint, ${at + 2}::bigint, ${at + 3}::bigint)" for at in range(1, 4 * buckets, 4)
    )
    return f"""
UPDATE bucket SET remaining_mb = remaining_mb + remaining, reserved_mb = reserved_mb + reserved,
    total_mb = total_mb + received
FROM (VALUES {rows}) AS change (bucket_id, remaining, reserved, received)
WHERE id = bucket_id RETURNING id, remaining_mb AS remaining, reserved_mb AS reserved
"""  # noqa: S608 - numbers of parameters


def _entry(change: Change, after: Mapping[str, Mapping[str, int]]) -> Entry:
    if change.bucket_id is None:
        return Entry(None, change.account, change.change_mb, None, None)
    after_mb = after[change.bucket_id][change.account]
    return Entry(change.bucket_id, change.account, change.change_mb, after_mb - change.change_mb, after_mb)
