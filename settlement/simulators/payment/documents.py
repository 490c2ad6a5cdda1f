"""Keeping and finding the provider's objects."""

import secrets
import string
from typing import Any

from settlement.simulators.payment.answers import Document, missing
from settlement.simulators.payment.desk import Call

ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    return f"{prefix}_" + "".join(secrets.choice(ALPHABET) for _ in range(24))


def token() -> str:
    return secrets.token_urlsafe(24)


async def insert(call: Call, document: Document, hidden: Document | None = None, account: str | None = None) -> None:
    await call.connection.execute(
        "INSERT INTO objects (id, kind, account, created, data, hidden) VALUES ($1, $2, $3, $4, $5, $6)",
        document["id"],
        document["object"],
        account or call.account,
        document.get("created", call.now),
        document,
        hidden or {},
    )


async def save(call: Call, document: Document) -> None:
    await call.connection.execute("UPDATE objects SET data = $2 WHERE id = $1", document["id"], document)


async def hide(call: Call, object_id: str, **changes: Any) -> None:
    await call.connection.execute("UPDATE objects SET hidden = hidden || $2 WHERE id = $1", object_id, changes)


async def find(
    call: Call, kind: str, object_id: str, *, param: str = "id", account: str | None = None, status: int = 404
) -> Document:
    """The object, locked until the end of the call.

    Raises:
        Refusal: There is none of that kind in this account.
    """
    document = await call.connection.fetchval(
        "SELECT data FROM objects WHERE id = $1 AND kind = $2 AND account = $3 FOR NO KEY UPDATE",
        object_id,
        kind,
        account or call.account,
    )
    if document is None:
        raise missing(kind, object_id, param, status)
    result: Document = document
    return result


async def hidden_of(call: Call, object_id: str) -> Document:
    hidden: Document = await call.connection.fetchval("SELECT hidden FROM objects WHERE id = $1", object_id)
    return hidden


async def schedule(call: Call, action: str, object_id: str, due_at: int) -> None:
    await call.connection.execute(
        "INSERT INTO jobs (due_at, action, account, object) VALUES ($1, $2, $3, $4)",
        due_at,
        action,
        call.account,
        object_id,
    )
