"""Orders: place, look, amend, cancel, and ask what became of a request."""

import re
import uuid
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter

from market import queue_place, together, trading, views
from market.parties import Member
from market.refusals import BadInput, NotFound
from market.trading import Falling, OrderRequest
from web.api import ids
from web.api.answers import ActionNeeded, Batch, Cancelled, Order, OrderOutcome, OrderPage, Outcome, Pair
from web.api.bodies import AmendBody, BatchBody, OrderBody, PairBody
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

QueueAsked = Annotated[bool, QueryParameter(description="Count each order's place in the queue too.")]
SymbolAsked = Annotated[str, QueryParameter(description="The instrument's symbol.", max_length=40)]
SideAsked = Annotated[Literal["buy", "sell"] | None, QueryParameter(description="Only orders of this side.")]

BATCH_BYTES = 262_144
"""500 orders with everything said."""

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
    placed = await trading.place(venue, request.user, _wanted(data), idempotency_key(key))
    if placed.answer is None:
        return Response(ActionNeeded(placed.action_url or ""), status_code=202)
    return Response(Outcome.of(placed.answer), status_code=201)


@post(
    "/orders/batch",
    tags=["orders"],
    summary="Place up to 500 orders",
    operation_id="placeOrders",
    response_description="Each order's outcome.",
    status_code=200,
    request_max_body_size=BATCH_BYTES,
    responses=problems(404, 409, 413, 415, 422),
)
async def place_batch(request: Asking, venue: Venue, data: JSONBody[BatchBody], key: Key) -> Batch:
    """Place several orders. Each on its own, 200 tells of each how it went; of all or none, that all were taken."""
    wanted, chosen = [_wanted(body) for body in data.orders], idempotency_key(key, MOST_FOR_MANY)
    if not data.all_or_none:
        return Batch.of(await together.place_each(venue, request.user, wanted, chosen))
    answer = await together.place_all_or_none(venue, request.user, wanted, chosen)
    return Batch.of([together.Result(each) for each in answer.orders])


@post(
    "/orders/pair",
    tags=["orders"],
    summary="Place two orders of which one cancels the other",
    operation_id="placePair",
    response_description="How both stand.",
    status_code=201,
    responses=problems(404, 409, 413, 415, 422),
)
async def place_pair(request: Asking, venue: Venue, data: JSONBody[PairBody], key: Key) -> Pair:
    pair = together.PairRequest(
        symbol=data.symbol,
        side=data.side,
        lots=data.lots,
        price_minor=data.price_minor,
        stop_minor=data.stop_minor,
        stop_price_minor=data.stop_price_minor,
        time_in_force=data.time_in_force,
        expires_at=data.expires_at,
        line_id=None if data.line_id is None else ids.line_id(data.line_id),
    )
    answer = await together.place_pair(venue, request.user, pair, idempotency_key(key))
    stop, order = (OrderOutcome.of_order(each) for each in answer.orders)
    return Pair(order, stop)


@get(
    "/orders",
    tags=["orders"],
    summary="Your orders, newest first",
    operation_id="listOrders",
    response_description="Your orders.",
    responses=problems(),
)
async def list_orders(
    *,
    request: Asking,
    venue: Venue,
    status: OrderState = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    queue: QueueAsked = False,
) -> OrderPage:
    cursors: Cursors = request.app.state.cursors
    purpose = f"orders {request.user.party_id} {status}"
    async with venue.reads() as session:
        found = await views.orders(session, request.user.party_id, status, cursors.open(purpose, cursor), limit + 1)
        waiting = [view.id for view in found[:limit] if view.state == "open"]
        places = await queue_place.of(session, waiting) if queue else {}
    more = cursors.seal(purpose, found[limit - 1].id) if len(found) > limit else None
    return OrderPage([Order.of(view, places.get(view.id)) for view in found[:limit]], more)


@get(
    "/orders/{order_id:str}",
    tags=["orders"],
    summary="One order",
    operation_id="getOrder",
    response_description="The order; its version is the ETag.",
    responses=problems(404),
)
async def get_order(request: Asking, venue: Venue, order_id: OrderId) -> Response[Order]:
    async with venue.reads() as session:
        view = await views.order(session, request.user.party_id, ids.order_id(order_id))
        places = await queue_place.of(session, [view.id])
    return Response(Order.of(view, places.get(view.id)), headers={"ETag": f'"{view.version}"'})


@delete(
    "/orders",
    tags=["orders"],
    summary="Cancel your open orders of an instrument, or of one side of it",
    operation_id="cancelOrders",
    response_description="How many ended.",
    status_code=200,
    responses=problems(404, 422),
)
async def cancel_orders(
    *, request: Asking, venue: Venue, symbol: SymbolAsked, side: SideAsked = None, key: OptionalKey = None
) -> Cancelled:
    chosen = f"cancel-{uuid.uuid4().hex}" if key is None else idempotency_key(key, MOST_FOR_MANY)
    wanted = ids.symbol(symbol)
    return Cancelled(await trading.mass_cancel(venue, request.user, chosen, symbol=wanted, side=side))


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
    responses=problems(422),
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
    async with venue.reads() as session:
        answer = await trading.outcome(session, request.user, idempotency_key(key))
    if answer is None:
        raise NotFound("Nothing has been done under this key so far.")
    return Outcome.of(answer)


def _wanted(body: OrderBody) -> OrderRequest:
    decay = body.decay
    return OrderRequest(
        symbol=body.symbol,
        side=body.side,
        lots=body.lots,
        price_minor=body.price_minor,
        time_in_force=body.time_in_force,
        expires_at=body.expires_at,
        post_only=body.post_only,
        line_id=None if body.line_id is None else ids.line_id(body.line_id),
        payment=body.payment,
        payment_method=body.payment_method,
        stop_minor=body.stop_minor,
        display_lots=body.display_lots,
        minimum_lots=body.minimum_lots,
        all_or_none=body.all_or_none,
        peg_offset_minor=body.peg_offset_minor,
        decay=None if decay is None else msgspec.convert(decay, Falling, from_attributes=True),
        self_trade=body.self_trade,
    )


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


routes = [
    place_order, place_batch, place_pair, list_orders, get_order, cancel_orders, cancel_order, amend_order, cancel_all,
    get_outcome,
]  # fmt: skip
