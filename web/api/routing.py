"""Where the API's routes meet: what all of them share."""

from typing import Any

from litestar import Request, Router

from web.api import baskets, market, money, orders, partners, wallet
from web.api.door import PartnerDoor
from web.edge.idempotency import refuse_repeated_key
from web.edge.strict_json import BODY_BYTES, StrictRequest, refuse_repeated_parameters


async def refuse_repetitions(request: Request[Any, Any, Any]) -> None:
    """Before every handler: what is given twice is not guessed at."""
    refuse_repeated_parameters(request)
    refuse_repeated_key(request)


router = Router(
    "/api/v1",
    route_handlers=[*market.routes, *orders.routes, *baskets.routes, *wallet.routes, *money.routes, *partners.routes],
    middleware=[PartnerDoor],
    before_request=refuse_repetitions,
    request_class=StrictRequest,
    request_max_body_size=BODY_BYTES,
    security=[{"bearer": []}],
)
