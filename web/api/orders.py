"""Orders: place, look, amend, cancel, and ask what became of a request."""

import re
import uuid
from typing import Annotated, Any, Literal

from litestar import Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter

from market import trading, views
from market.parties import Member
from market.refusals import BadInput, NotFound
from market.trading import OrderRequest
from web.api import ids
from web.api.answers import ActionNeeded, Cancelled, Order, OrderPage, Outcome
from web.api.bodies import AmendBody, OrderBody
from web.api.documented import Cursor, Key, Limit, OptionalKey, OrderId, answers, problems
from web.edge.cursors import Cursors
from web.edge.idempotency import MOST_FOR_MANY, idempotency_key
from web.edge.venue import Venue

Asking = Request[Member, Any, State]
OrderState = Annotated[
    Literal["open", "filled", "cancelled"] | None, QueryParameter(description="Only orders of this state.")
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", required=False, description='The version you know, as an entity tag: `"3"`.'),
]
VersionAsked = Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1, description="The same, as a parameter.")]

_TAG = re.compile(r'"?([1-9][0-9]{0,17})"?')


@post(
    "/orders",
    tags=["orders"],
    summary="Place an order",
    operation_id="placeOrder",
    responses=answers({201: Outcome, 202: ActionNeeded}) | problems(402, 404, 409, 413, 415, 422),
)
async def place_order(request: Asking, venue: Venue, data: JSONBody[OrderBody], key: Key) -> Response[Any]:
    """Place an order. 201 tells how it stands after the match; 202 that the payer must first visit their bank."""
    wanted = OrderRequest(
        symbol=data.symbol,
        side=data.side,
        lots=data.lots,
        price_minor=data.price_minor,
        time_in_force=data.time_in_force,
        expires_at=data.expires_at,
        post_only=data.post_only,
        line_id=None if data.line_id is None else ids.line_id(data.line_id),
        payment=data.payment,
        payment_method=data.payment_method,
    )
    placed = await trading.place(venue, request.user, wanted, idempotency_key(key))
    if placed.answer is None:
        return Response(ActionNeeded(placed.action_url or ""), status_code=202)
    return Response(Outcome.of(placed.answer), status_code=201)


@get(
    "/orders",
    tags=["orders"],
    summary="Your orders, newest first",
    operation_id="listOrders",
    response_description="Your orders.",
    responses=problems(),
)
async def list_orders(
    request: Asking, venue: Venue, status: OrderState = None, cursor: Cursor = None, limit: Limit = 50
) -> OrderPage:
    cursors: Cursors = request.app.state.cursors
    purpose = f"orders {request.user.party_id} {status}"
    async with venue.sessions() as session:
        found = await views.orders(session, request.user.party_id, status, cursors.open(purpose, cursor), limit + 1)
    more = cursors.seal(purpose, found[limit - 1].id) if len(found) > limit else None
    return OrderPage([Order.of(view) for view in found[:limit]], more)


@get(
    "/orders/{order_id:str}",
    tags=["orders"],
    summary="One order",
    operation_id="getOrder",
    response_description="The order; its version is the ETag.",
    responses=problems(404),
)
async def get_order(request: Asking, venue: Venue, order_id: OrderId) -> Response[Order]:
    async with venue.sessions() as session:
        view = await views.order(session, request.user.party_id, ids.order_id(order_id))
    return Response(Order.of(view), headers={"ETag": f'"{view.version}"'})


@delete(
    "/orders/{order_id:str}",
    tags=["orders"],
    summary="Cancel what is still open of an order",
    operation_id="cancelOrder",
    response_description="How the order ended.",
    status_code=200,
    responses=problems(404, 409, 422),
)
async def cancel_order(
    *,
    request: Asking,
    venue: Venue,
    order_id: OrderId,
    version: VersionAsked = None,
    if_match: IfMatch = None,
    key: OptionalKey = None,
) -> Outcome:
    """Cancel an order. Without a key a second request answers that it has ended already."""
    known = _version(version, if_match)
    chosen = f"cancel-{uuid.uuid4().hex}" if key is None else idempotency_key(key)
    return Outcome.of(await trading.cancel(venue, request.user, ids.order_id(order_id), chosen, known))


@patch(
    "/orders/{order_id:str}",
    tags=["orders"],
    summary="Give an order another price or quantity",
    operation_id="amendOrder",
    response_description="How the order stands now.",
    responses=problems(404, 409, 413, 415, 422),
)
async def amend_order(
    *,
    request: Asking,
    venue: Venue,
    order_id: OrderId,
    data: JSONBody[AmendBody],
    key: Key,
    if_match: IfMatch = None,
) -> Outcome:
    known = _version(data.version, if_match)
    wanted = ids.order_id(order_id)
    answer = await trading.amend(
        venue,
        request.user,
        wanted,
        price_minor=data.price_minor,
        lots=data.lots,
        key=idempotency_key(key),
        version=known,
    )
    return Outcome.of(answer)


@post(
    "/orders/cancel-all",
    tags=["orders"],
    summary="Cancel all your open orders",
    operation_id="cancelAllOrders",
    response_description="How many ended.",
    status_code=200,
    responses=problems(),
)
async def cancel_all(request: Asking, venue: Venue, key: Key) -> Cancelled:
    return Cancelled(await trading.mass_cancel(venue, request.user, idempotency_key(key, MOST_FOR_MANY)))


@get(
    "/outcomes/{key:str}",
    tags=["orders"],
    summary="What became of a request",
    operation_id="getOutcome",
    response_description="What became of it.",
    responses=problems(404),
)
async def get_outcome(
    request: Asking, venue: Venue, key: Annotated[str, PathParameter(description="The idempotency key you sent.")]
) -> Outcome:
    """Ask by the key of a request that got no answer. 404: nothing was done under it so far."""
    async with venue.sessions() as session:
        answer = await trading.outcome(session, request.user, idempotency_key(key))
    if answer is None:
        raise NotFound("Nothing has been done under this key so far.")
    return Outcome.of(answer)


def _version(given: int | None, if_match: str | None) -> int | None:
    """The version that the client knows, from wherever it says it.

    Raises:
        BadInput: when it is no version, or two places say different ones.
    """
    if if_match is None:
        return given
    tag = _TAG.fullmatch(if_match.strip())
    if tag is None or given not in {None, int(tag[1])}:
        raise BadInput("Give one version, as the number that the order shows.", field="If-Match")
    return int(tag[1])


routes = [place_order, list_orders, get_order, cancel_order, amend_order, cancel_all, get_outcome]
