"""Double entry over buckets: each action's changes sum to zero, and each entry tells before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from settlement.simulators.carrier.database import Connection

REMAINING, RESERVED, ISSUED = "remaining", "reserved", "issued"

MOVE = """
UPDATE bucket SET remaining_mb = remaining_mb + $2, reserved_mb = reserved_mb + $3, total_mb = total_mb + $4
WHERE id = $1 RETURNING remaining_mb AS remaining, reserved_mb AS reserved
"""

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
    after = {bucket_id: await _move(connection, bucket_id, changes) for bucket_id in _touched(changes)}
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


def _touched(changes: Sequence[Change]) -> list[str]:
    """The buckets of an act, each once."""
    return list(dict.fromkeys(change.bucket_id for change in changes if change.bucket_id is not None))


async def _move(connection: Connection, bucket_id: str, changes: Sequence[Change]) -> Mapping[str, int]:
    """Write all that an act changes in one bucket, and say what it then holds, by account."""
    mine = [change for change in changes if change.bucket_id == bucket_id]
    moved = [sum(change.change_mb for change in mine if change.account == account) for account in (REMAINING, RESERVED)]
    received_mb = sum(change.change_mb for change in mine if change.received)
    after: Mapping[str, int] = await connection.fetchrow(MOVE, bucket_id, *moved, received_mb)
    return after


def _entry(change: Change, after: Mapping[str, Mapping[str, int]]) -> Entry:
    if change.bucket_id is None:
        return Entry(None, change.account, change.change_mb, None, None)
    after_mb = after[change.bucket_id][change.account]
    return Entry(change.bucket_id, change.account, change.change_mb, after_mb - change.change_mb, after_mb)
