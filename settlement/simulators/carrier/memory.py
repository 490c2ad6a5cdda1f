"""Remembering what was done under an external identifier: the same id and content get the same answer, once."""

import json
from collections.abc import Mapping
from typing import Any

from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.refusals import Refusal

RECALL = {
    table: f"SELECT digest, answer FROM {table} WHERE carrier = $1 AND external_id = $2 ORDER BY seq LIMIT 1"  # noqa: S608 - two constants
    for table in ("reservation", "movement")
}


async def recall(
    connection: Connection,
    table: str,
    carrier: str,
    external_id: str | None,
    digest: str,
) -> Mapping[str, Any] | None:
    """The first answer under this id, or None when it is new.

    The lock makes two requests with one id queue even before either has
    written a row; it is taken before any line, so it cannot deadlock.
    """
    if external_id is None:
        return None
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{table} {carrier} {external_id}"
    )
    row = await connection.fetchrow(RECALL[table], carrier, external_id)
    if row is None:
        return None
    if row["digest"] != digest:
        raise Refusal("DUPLICATE", "This external identifier was used with another content.")
    answer: Mapping[str, Any] = json.loads(row["answer"])
    return answer
