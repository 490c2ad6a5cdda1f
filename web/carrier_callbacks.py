"""What carriers push to us: checked, stored, answered. It only makes settlement ask sooner."""

from datetime import UTC, datetime
from typing import Any

import structlog
from litestar import MediaType, Request, Response, post
from litestar.params import FromPath

from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE
from market.installation import mark
from market.refusals import BadInput
from settlement import pushes
from settlement.carriers.errors import ForgedPush
from web.edge.venue import Venue

log = structlog.get_logger()

PUSH_BYTES = 16_384
TAKEN = "ok"
"""The word by which such gateways know that they need not push again."""


@post("/webhooks/carriers/{code:str}", request_max_body_size=PUSH_BYTES, include_in_schema=False)
async def carrier_push(request: Request[Any, Any, Any], venue: Venue, code: FromPath[str]) -> Response[str]:
    """Take a status that the carrier signed. The signature stands for sender and content, so no token is asked for."""
    carrier = venue.carriers.get(code)
    if carrier is None:
        raise BadInput("There is no such carrier.", code="forged")
    try:
        push = carrier.read_push(await request.body(), datetime.now(UTC))
    except ForgedPush as forged:
        log.warning("push_forged", carrier=code, reason=str(forged))
        raise BadInput(str(forged), code="forged") from forged
    async with venue.sessions.begin() as session:
        await pushes.record(session, code, push, await mark(session))
        due = await pushes.handle(session)
    if due:
        await announce(venue.redis, SETTLEMENT_WAKE)
    return Response(TAKEN, status_code=200, media_type=MediaType.TEXT)


routes = [carrier_push]
