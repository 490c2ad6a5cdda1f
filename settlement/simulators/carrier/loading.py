"""Loading many lines at once: set-based, and through the journal like every other change of a balance."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec

from settlement.simulators.carrier import consuming, lines, reservations
from settlement.simulators.carrier.bodies import Megabytes, Moment, Msisdn, Name, Scope, Strict
from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.refusals import Refusal

MAX_LINES = 20_000

Key = tuple[str, str, str | None, datetime, bool]
Histories = Mapping[str, Sequence[tuple[date, int]]]
"""By bucket: the days, oldest first, and MB used on each."""


class LoadBucket(Strict, frozen=True, kw_only=True):
    """`remaining_mb` is what can still be reserved; what is reserved already stays as it is."""

    scope: Scope
    expires_at: Moment
    remaining_mb: Megabytes
    total_mb: Megabytes
    app_scope: Scope | None = None
    transferable: bool = True


class LoadLine(Strict, frozen=True, kw_only=True):
    """`distributes` makes it a company's distribution account, which may pass on once what it buys.

    `daily_mb` is what its subscriber uses on a usual day; the journal tells of it from `used_since` on.
    """

    msisdn: Msisdn
    name: Name
    id_document: Name
    plan_name: Name
    payment: Literal["prepaid", "postpaid"]
    province: Scope
    status: Literal["active", "suspended"] = "active"
    sim_changed_at: Moment | None = None
    distributes: bool = False
    daily_mb: Megabytes = 0
    used_since: Moment | None = None
    buckets: list[LoadBucket] = msgspec.field(default_factory=list)


class Load(Strict, frozen=True, kw_only=True):
    lines: Annotated[list[LoadLine], msgspec.Meta(max_length=MAX_LINES)]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bucket as it is to be, and what was left in it before."""

    id: str
    key: Key
    bucket: LoadBucket
    before_mb: int


UPSERT_LINES = """
INSERT INTO line (carrier, msisdn, name, id_document, plan_name, payment, province, status, sim_changed_at,
                  distributes, daily_mb, used_on)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::timestamptz[], $10::boolean[], $11::bigint[], $12::date[])
ON CONFLICT (carrier, msisdn) DO UPDATE SET
    name = excluded.name, id_document = excluded.id_document, plan_name = excluded.plan_name,
    payment = excluded.payment, province = excluded.province, status = excluded.status,
    sim_changed_at = excluded.sim_changed_at, distributes = excluded.distributes,
    daily_mb = excluded.daily_mb, used_on = excluded.used_on
"""

UPSERT_BUCKETS = """
INSERT INTO bucket (carrier, created_at, reserved_mb, id, msisdn, scope, app_scope, expires_at, transferable,
                    remaining_mb, total_mb)
SELECT $1, $2, 0, * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::boolean[],
                                $9::bigint[], $10::bigint[])
ON CONFLICT (carrier, msisdn, scope, app_scope, expires_at, transferable, distributable) DO UPDATE SET
    remaining_mb = excluded.remaining_mb, total_mb = excluded.total_mb
"""

ACTION_COLUMNS = ["id", "carrier", "kind", "subject_id", "amount_mb", "msisdn", "at"]
ENTRY_COLUMNS = ["action_id", "position", "bucket_id", "account", "change_mb", "before_mb", "after_mb"]


async def load(connection: Connection, carrier: str, loads: Sequence[LoadLine], now: datetime) -> int:
    """Make these lines and their buckets be as given, and say how many buckets that were."""
    keys = [_key(line, bucket) for line in loads for bucket in line.buckets]
    if len({line.msisdn for line in loads}) < len(loads) or len(set(keys)) < len(keys):
        raise Refusal("INVALID_REQUEST", "A line, or a bucket of a line, is given twice.")
    await _upsert_lines(connection, carrier, sorted(loads, key=lambda line: line.msisdn), now)
    msisdns = [line.msisdn for line in loads]
    await lines.lock(connection, carrier, *msisdns)
    await reservations.expire(connection, carrier, msisdns, now)

    existing = await _existing(connection, carrier, msisdns)
    loaded = [_loaded(_key(line, bucket), bucket, existing) for line in loads for bucket in line.buckets]
    histories = _histories(loads, loaded, now)
    await _upsert_buckets(connection, carrier, [_with_all_it_held(item, histories) for item in loaded], now)
    await _journal(connection, carrier, loaded, histories, now)
    return len(loaded)


def _histories(loads: Sequence[LoadLine], loaded: Sequence[Loaded], now: datetime) -> Histories:
    """What was used of each new bucket on earlier days: on each day out of the one that ended first."""
    histories: defaultdict[str, list[tuple[date, int]]] = defaultdict(list)
    owned: defaultdict[str, list[Loaded]] = defaultdict(list)
    for item in sorted(loaded, key=lambda item: item.bucket.expires_at):
        if item.bucket.app_scope is None and not item.before_mb:
            owned[item.key[0]].append(item)
    for line in loads:
        if line.used_since is None or not line.daily_mb:
            continue
        first = line.used_since.astimezone(consuming.BEIJING).date()
        for day in consuming.days(first, consuming.last_used_day(now)):
            alive = (item for item in owned[line.msisdn] if item.bucket.expires_at > consuming.taken_at(day))
            if (source := next(alive, None)) is not None:
                histories[source.id].append((day, consuming.used_mb(line.msisdn, day, line.daily_mb)))
    return histories


def _with_all_it_held(item: Loaded, histories: Histories) -> Loaded:
    held_mb = item.bucket.remaining_mb + sum(amount_mb for _, amount_mb in histories.get(item.id, ()))
    whole = msgspec.structs.replace(item.bucket, total_mb=max(item.bucket.total_mb, held_mb))
    return replace(item, bucket=whole)


def _key(line: LoadLine, bucket: LoadBucket) -> Key:
    return (line.msisdn, bucket.scope, bucket.app_scope, bucket.expires_at, bucket.transferable)


def _loaded(key: Key, bucket: LoadBucket, existing: Mapping[Key, Any]) -> Loaded:
    row = existing.get(key)
    if row is None:
        return Loaded(uuid4().hex, key, bucket, 0)
    return Loaded(row["id"], key, bucket, row["remaining_mb"])


async def _existing(connection: Connection, carrier: str, msisdns: Sequence[str]) -> Mapping[Key, Any]:
    """The buckets that can be loaded; what a distribution account has bought is no part of them."""
    rows = await connection.fetch(
        "SELECT * FROM bucket WHERE carrier = $1 AND msisdn = ANY($2::text[]) AND NOT distributable",
        carrier,
        msisdns,
    )
    return {
        (row["msisdn"], row["scope"], row["app_scope"], row["expires_at"], row["transferable"]): row for row in rows
    }


async def _upsert_lines(connection: Connection, carrier: str, loads: Sequence[LoadLine], now: datetime) -> None:
    await connection.execute(
        UPSERT_LINES,
        carrier,
        [line.msisdn for line in loads],
        [line.name for line in loads],
        [line.id_document for line in loads],
        [line.plan_name for line in loads],
        [line.payment for line in loads],
        [line.province for line in loads],
        [line.status for line in loads],
        [line.sim_changed_at for line in loads],
        [line.distributes for line in loads],
        [line.daily_mb for line in loads],
        [consuming.last_used_day(now) if line.daily_mb else None for line in loads],
    )


async def _upsert_buckets(connection: Connection, carrier: str, loaded: Sequence[Loaded], now: datetime) -> None:
    await connection.execute(
        UPSERT_BUCKETS,
        carrier,
        now,
        [item.id for item in loaded],
        [item.key[0] for item in loaded],
        [item.bucket.scope for item in loaded],
        [item.bucket.app_scope for item in loaded],
        [item.bucket.expires_at for item in loaded],
        [item.bucket.transferable for item in loaded],
        [item.bucket.remaining_mb for item in loaded],
        [item.bucket.total_mb for item in loaded],
    )


async def _journal(
    connection: Connection, carrier: str, loaded: Sequence[Loaded], histories: Histories, now: datetime
) -> None:
    actions: list[tuple[Any, ...]] = []
    entries: list[tuple[Any, ...]] = []

    def note(kind: str, item: Loaded, before_mb: int, change_mb: int, at: datetime) -> None:
        action_id = uuid4().hex
        actions.append((action_id, carrier, kind, item.id, abs(change_mb), item.key[0], at))
        entries.append((action_id, 0, None, "issued", -change_mb, None, None))
        entries.append((action_id, 1, item.id, "remaining", change_mb, before_mb, before_mb + change_mb))

    for item in loaded:
        history = histories.get(item.id, [])
        left_mb = item.bucket.remaining_mb + sum(amount_mb for _, amount_mb in history)
        begun_at = consuming.taken_at(history[0][0]) - consuming.MORNING if history else now
        if left_mb != item.before_mb:
            note("bucket", item, item.before_mb, left_mb - item.before_mb, begun_at)
        for day, amount_mb in history:
            note(consuming.KIND, item, left_mb, -amount_mb, consuming.taken_at(day))
            left_mb -= amount_mb
    await connection.copy_records_to_table("action", records=actions, columns=ACTION_COLUMNS)
    await connection.copy_records_to_table("entry", records=entries, columns=ENTRY_COLUMNS)
