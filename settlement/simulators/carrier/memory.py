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

    The transaction bears the id's `name`, so two requests with one id queue even before either has written a row.
    """
    if external_id is None:
        return None
    row = await connection.fetchrow(RECALL[table], carrier, external_id)
    return None if row is None else answered(row, digest)


def answered(row: Mapping[str, Any], digest: str) -> Mapping[str, Any]:
    """The answer of what was done, if that had the same content."""
    if row["digest"] != digest:
        raise Refusal("DUPLICATE", "This external identifier was used with another content.")
    answer: Mapping[str, Any] = json.loads(row["answer"])
    return answer
