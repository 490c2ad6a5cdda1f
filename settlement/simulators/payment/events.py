"""What happened, kept as events, with a delivery for each webhook endpoint that wants to know."""

import copy
import time

from settlement.simulators.payment import documents
from settlement.simulators.payment.answers import Document
from settlement.simulators.payment.desk import API_VERSION, PLATFORM, Call


async def record(
    call: Call, kind: str, subject: Document, *, account: str | None = None, before: Document | None = None
) -> None:
    """Keep the event and queue its deliveries, in the transaction of the change itself."""
    owner = account or call.account
    event: Document = {
        "id": documents.new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": call.now,
        "data": {"object": copy.deepcopy(subject)} | ({"previous_attributes": before} if before else {}),
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": call.request_id, "idempotency_key": call.key},
        "type": kind,
    }
    if owner != PLATFORM:
        event["account"] = owner
    await documents.insert(call, event, account=owner)
    await _queue(call, event, is_connected=owner != PLATFORM)


async def _queue(call: Call, event: Document, *, is_connected: bool) -> None:
    endpoints = await call.connection.fetch(
        "SELECT id, data->'enabled_events' AS wanted FROM objects WHERE kind = 'webhook_endpoint' AND account = $1"
        " AND (hidden->>'connect')::boolean = $2 AND data->>'status' = 'enabled'",
        PLATFORM,
        is_connected,
    )
    for endpoint in endpoints:
        if "*" in endpoint["wanted"] or event["type"] in endpoint["wanted"]:
            await call.connection.execute(
                "INSERT INTO deliveries (event, endpoint, status, due_at) VALUES ($1, $2, 'pending', $3)",
                event["id"],
                endpoint["id"],
                time.time(),
            )
            call.has_events = True
