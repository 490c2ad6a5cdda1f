"""What the payment provider tells us: checked, stored, answered. It is handled afterwards, by the settlement worker."""

from typing import Any

from litestar import Request, Response, post

from market.refusals import BadInput
from settlement import inbox
from settlement.payments.errors import ForgedEvent
from web.edge.venue import Venue

EVENT_BYTES = 65_536
SIGNATURE = "stripe-signature"


@post("/webhooks/payments", request_max_body_size=EVENT_BYTES, include_in_schema=False)
async def payment_event(request: Request[Any, Any, Any], venue: Venue) -> Response[None]:
    """Take an event that the provider signed. The signature stands for sender and content, so no token is asked for."""
    given = request.headers.getall(SIGNATURE, [])
    try:
        event = venue.payments.verify_event(await request.body(), given[0] if len(given) == 1 else "")
    except ForgedEvent as forged:
        raise BadInput(str(forged), code="forged") from forged
    async with venue.sessions() as session:
        await inbox.record(session, event)
        await session.commit()
    return Response(None, status_code=200)


routes = [payment_event]
