"""What the payment provider and the carriers tell us: checked, stored, answered. It is handled afterwards."""

from typing import Any

from litestar import Request, Response, post
from litestar.params import FromPath

from market import line_events
from market.refusals import BadInput, NotSignedIn
from settlement import inbox
from settlement.payments.errors import ForgedEvent
from web.edge.strict_json import decode
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


@post("/webhooks/lines/{code:str}", request_max_body_size=EVENT_BYTES, include_in_schema=False)
async def line_event(request: Request[Any, Any, Any], venue: Venue, code: FromPath[str]) -> Response[None]:
    """Take a carrier's event of a number, as a CloudEvent under the bearer that the carrier was given for it.

    The answer is the same for numbers that are ours and for those that are not.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not line_events.is_from(venue, code, token):
        raise NotSignedIn("Send the bearer token that came with the subscription.", code="not_the_carrier")
    event = decode(await request.body(), line_events.CloudEvent)
    async with venue.sessions.begin() as session:
        await line_events.record(session, venue.vault, code, event)
    return Response(None, status_code=204)


routes = [payment_event, line_event]
