"""Reading the journal of balance actions, for whoever reconciles with this carrier."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from settlement.simulators.carrier import shapes
from settlement.simulators.carrier.database import Connection, Page, fetch_page
from settlement.simulators.carrier.ledger import Entry
from settlement.simulators.carrier.refusals import Refusal

Row = Any

LISTED = """
action WHERE carrier = $1
  AND ($2::text IS NULL OR external_id = $2)
  AND ($3::text IS NULL OR msisdn = $3 OR receiver_msisdn = $3)
  AND ($4::timestamptz IS NULL OR at >= $4)
  AND ($5::timestamptz IS NULL OR at < $5)
"""


@dataclass(frozen=True, slots=True)
class Filter:
    external_id: str | None = None
    msisdn: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def listing(
    connection: Connection,
    carrier: str,
    wanted: Filter,
    page: Page,
) -> tuple[list[shapes.Document], int]:
    """A page (offset, limit) of the journal, oldest first, and how many lines match."""
    values = (carrier, wanted.external_id, wanted.msisdn, wanted.since, wanted.until)
    rows, total = await fetch_page(connection, LISTED, "at, seq", values, page)
    return await _with_entries(connection, rows), total


async def find(connection: Connection, carrier: str, action_id: str) -> shapes.Document:
    rows = await connection.fetch("SELECT * FROM action WHERE carrier = $1 AND id = $2", carrier, action_id)
    if not rows:
        raise Refusal("NOT_FOUND")
    return (await _with_entries(connection, rows))[0]


async def _with_entries(connection: Connection, rows: list[Row]) -> list[shapes.Document]:
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    found = await connection.fetch(
        "SELECT * FROM entry WHERE action_id = ANY($1::text[]) ORDER BY action_id, position",
        [row["id"] for row in rows],
    )
    for row in found:
        entry = Entry(row["bucket_id"], row["account"], row["change_mb"], row["before_mb"], row["after_mb"])
        entries[row["action_id"]].append(entry)
    return [shapes.action(row, entries[row["id"]]) for row in rows]
