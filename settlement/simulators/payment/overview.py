"""What the human page shows, read from the simulator's database."""

from datetime import UTC, datetime
from typing import Any

from settlement.simulators.payment import books, words
from settlement.simulators.payment.answers import Document
from settlement.simulators.payment.desk import Call
from settlement.simulators.payment.money import shown

LATEST = 12
LOCALES = {"zh": "zh_CN", "en": "en_US"}

NEWEST = (
    "SELECT data, account FROM objects WHERE kind = $1 AND id LIKE $2 || '!_%' ESCAPE '!'"
    " ORDER BY position DESC LIMIT $3"
)
DELIVERIES = (
    "SELECT deliveries.id, deliveries.status, attempts, last_result, event.data->>'type' AS type,"
    " event.data->>'created' AS created, endpoint.data->>'url' AS url"
    " FROM deliveries JOIN objects AS event ON event.id = deliveries.event"
    " LEFT JOIN objects AS endpoint ON endpoint.id = deliveries.endpoint ORDER BY deliveries.id DESC LIMIT $1"
)


async def overview(call: Call, language: str) -> dict[str, Any]:
    balance = await books.balance(call)
    return {
        "available": [_money(amount, language) for amount in balance["available"]],
        "pending": [_money(amount, language) for amount in balance["pending"]],
        "payments": [_row(*found, language) for found in await _newest(call, "payment_intent", "pi")],
        "refunds": [_row(*found, language) for found in await _newest(call, "refund", "re")],
        "transfers": [_row(*found, language) for found in await _newest(call, "transfer", "tr")],
        "payouts": [_row(*found, language) for found in await _newest(call, "payout", "po")],
        "deliveries": await _deliveries(call, language),
    }


async def _newest(call: Call, kind: str, prefix: str) -> list[tuple[Document, str]]:
    rows = await call.connection.fetch(NEWEST, kind, prefix, LATEST)
    return [(row["data"], row["account"]) for row in rows]


def _row(document: Document, account: str, language: str) -> dict[str, str]:
    status = _status(document)
    return {
        "id": document["id"],
        "amount": _money(document, language),
        "status": words.status(status, language),
        "tone": _tone(status),
        "time": _time(int(document["created"])),
        "reference": next(iter((document["metadata"] or {}).values()), ""),
        "destination": document.get("destination") or "",
        "account": account,
    }


async def _deliveries(call: Call, language: str) -> list[dict[str, str]]:
    return [
        {
            "event": row["type"],
            "address": row["url"] or "",
            "status": words.status(row["status"], language),
            "tone": _tone(row["status"]),
            "attempts": str(row["attempts"]),
            "result": row["last_result"],
            "time": _time(int(row["created"])),
        }
        for row in await call.connection.fetch(DELIVERIES, LATEST)
    ]


def _status(document: Document) -> str:
    if document["object"] != "transfer":
        return str(document["status"])
    if document["reversed"]:
        return "reversed"
    return "partly_reversed" if document["amount_reversed"] else "done"


def _tone(status: str) -> str:
    if status in {"succeeded", "paid", "delivered", "done"}:
        return "good"
    return "bad" if status in {"failed", "canceled", "given_up", "reversed"} else "open"


def _money(amount: Document, language: str) -> str:
    return shown(amount["amount"], amount["currency"], LOCALES[language])


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
