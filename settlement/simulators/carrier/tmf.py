"""TMF654 4.1.0 over HTTP, at /{carrier}/tmf-api/prepayBalanceManagement/v4."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from litestar import Response, Router, delete, get, patch, post

from settlement.simulators.carrier import buckets, journal, movements, reservations
from settlement.simulators.carrier.bodies import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MAX_OFFSET,
    AdjustCreate,
    Body,
    BucketCreate,
    Create,
    ExternalId,
    LogicalResource,
    ReserveCreate,
    ReserveUpdate,
    TopupCreate,
    TransferCreate,
    read_body,
    read_int,
    read_moment,
    read_query,
)
from settlement.simulators.carrier.database import Connection, Page
from settlement.simulators.carrier.faults import Attempt
from settlement.simulators.carrier.office import CarrierRequest, authenticated, carrier_of, clock, office_of
from settlement.simulators.carrier.refusals import Refusal
from settlement.simulators.carrier.shapes import TMF, Document

MEDIA_TYPE = "application/json;charset=utf-8"
PAGING = ("fields", "offset", "limit")
LINE_FILTERS = ("logicalResource.id", "logicalResource.value")
ALWAYS_SHOWN = ("id", "href")

Order = TypeVar("Order", bound=Create)
Found = tuple[list[Document], int]  # a page, and how many there are in all
Listing = Callable[[Connection, Mapping[str, str], Page], Awaitable[Found]]
MoveWork = Callable[[movements.Desk, Body[Order]], Awaitable[Mapping[str, Any]]]


@get("/bucket")
async def list_buckets(request: CarrierRequest) -> Response[bytes]:
    async def read(connection: Connection, query: Mapping[str, str], page: Page) -> Found:
        return await buckets.listing(connection, carrier_of(request), _line(query), page, clock())

    return await _list(request, read, "usageType", *LINE_FILTERS)


@post("/bucket")
async def create_bucket(request: CarrierRequest) -> Response[bytes]:
    body = await _body(request, BucketCreate)

    async def work(connection: Connection) -> Document:
        return await buckets.create(connection, carrier_of(request), body.value, clock())

    return _answer(await _change(request, work, body.value.external_identifier), status=201)


@get("/bucket/{bucket_id:str}")
async def get_bucket(request: CarrierRequest, bucket_id: str) -> Response[bytes]:
    async def read(connection: Connection) -> Document:
        return await buckets.show(connection, carrier_of(request), bucket_id, clock())

    return await _show(request, read)


@delete("/bucket/{bucket_id:str}", status_code=204)
async def delete_bucket(request: CarrierRequest, bucket_id: str) -> None:
    async def work(connection: Connection) -> None:
        await buckets.delete(connection, carrier_of(request), bucket_id)

    await _change(request, work)


@get("/reserveBalance")
async def list_reservations(request: CarrierRequest) -> Response[bytes]:
    async def read(connection: Connection, query: Mapping[str, str], page: Page) -> Found:
        external_id, status = query.get("externalIdentifier"), query.get("status")
        return await reservations.listing(
            connection, carrier_of(request), external_id, _line(query), page, status=status
        )

    return await _list(request, read, "usageType", "externalIdentifier", "status", *LINE_FILTERS)


@post("/reserveBalance")
async def create_reservation(request: CarrierRequest) -> Response[bytes]:
    body = await _body(request, ReserveCreate)
    carrier = carrier_of(request)
    profile = await office_of(request).faults.profile(carrier)

    async def work(connection: Connection) -> Mapping[str, Any]:
        return await reservations.reserve(connection, carrier, body, clock(), idempotent=profile.idempotent)

    return _answer(await _change(request, work, body.value.external_identifier), status=201)


@get("/reserveBalance/{reservation_id:str}")
async def get_reservation(request: CarrierRequest, reservation_id: str) -> Response[bytes]:
    async def read(connection: Connection) -> Document:
        return await reservations.show(connection, carrier_of(request), reservation_id)

    return await _show(request, read)


@patch("/reserveBalance/{reservation_id:str}")
async def update_reservation(request: CarrierRequest, reservation_id: str) -> Response[bytes]:
    amount_mb = (await read_body(request, ReserveUpdate)).value.amount.amount

    async def work(connection: Connection) -> Mapping[str, Any]:
        return await reservations.resize(connection, carrier_of(request), reservation_id, amount_mb, clock())

    return _answer(await _change(request, work))


@delete("/reserveBalance/{reservation_id:str}", status_code=204)
async def delete_reservation(request: CarrierRequest, reservation_id: str) -> None:
    async def work(connection: Connection) -> None:
        await reservations.release(connection, carrier_of(request), reservation_id, clock())

    await _change(request, work)


@post("/adjustBalance")
async def create_adjustment(request: CarrierRequest) -> Response[bytes]:
    body = await _body(request, AdjustCreate)
    order, held = body.value, body.value.reserve_balance
    sender = None if held is None else reservations.digits(held.id)
    return await _move(request, body, movements.adjust, _number(order.receiver_logical_resource), sender)


@post("/transferBalance")
async def create_transfer(request: CarrierRequest) -> Response[bytes]:
    body = await _body(request, TransferCreate)
    receiver, sender = body.value.receiver_logical_resource, body.value.logical_resource
    return await _move(request, body, movements.transfer, receiver.value, _number(sender))


@post("/topupBalance")
async def create_topup(request: CarrierRequest) -> Response[bytes]:
    body = await _body(request, TopupCreate)
    return await _move(request, body, movements.top_up, body.value.logical_resource.value)


@get(["/adjustBalance", "/transferBalance", "/topupBalance"])
async def list_movements(request: CarrierRequest) -> Response[bytes]:
    resource = request.url.path.rsplit("/", 1)[1]

    async def read(connection: Connection, query: Mapping[str, str], page: Page) -> Found:
        external_id = query.get("externalIdentifier")
        wanted = movements.Wanted(carrier_of(request), resource, external_id, _line(query))
        return await movements.listing(connection, wanted, page)

    return await _list(request, read, "usageType", "externalIdentifier", *LINE_FILTERS)


@get(["/adjustBalance/{movement_id:str}", "/transferBalance/{movement_id:str}", "/topupBalance/{movement_id:str}"])
async def get_movement(request: CarrierRequest, movement_id: str) -> Response[bytes]:
    resource = request.url.path.rsplit("/", 2)[1]

    async def read(connection: Connection) -> Mapping[str, Any]:
        return await movements.find(connection, carrier_of(request), resource, movement_id)

    return await _show(request, read)


@get(["/balanceAction", "/balanceActionHistory"])
async def list_actions(request: CarrierRequest) -> Response[bytes]:
    async def read(connection: Connection, query: Mapping[str, str], page: Page) -> Found:
        wanted = journal.Filter(
            external_id=query.get("externalIdentifier"),
            msisdn=_line(query),
            since=read_moment(query, "requestedDate.gte"),
            until=read_moment(query, "requestedDate.lt"),
        )
        return await journal.listing(connection, carrier_of(request), wanted, page)

    dates = ("requestedDate.gte", "requestedDate.lt")
    return await _list(request, read, "usageType", "externalIdentifier", *LINE_FILTERS, *dates)


@get(["/balanceAction/{action_id:str}", "/balanceActionHistory/{action_id:str}"])
async def get_action(request: CarrierRequest, action_id: str) -> Response[bytes]:
    async def read(connection: Connection) -> Document:
        return await journal.find(connection, carrier_of(request), action_id)

    return await _show(request, read)


async def _body(request: CarrierRequest, shape: type[Order]) -> Body[Order]:
    """A creation's body. The id may also stand in the header; if it stands in both, they have to agree."""
    body = await read_body(request, shape)
    header = request.headers.get("idempotency-key")
    if header is not None and body.value.external_identifier not in {None, header}:
        raise Refusal("INVALID_REQUEST", "Idempotency-Key and externalIdentifier differ.")
    if header is None or body.value.external_identifier is not None:
        return body
    try:
        external_id = msgspec.convert(header, ExternalId)
    except msgspec.ValidationError as error:
        raise Refusal("INVALID_REQUEST", "Idempotency-Key: 1 to 128 visible ASCII characters.") from error
    return Body(msgspec.structs.replace(body.value, external_identifier=external_id), body.digest)


async def _move(
    request: CarrierRequest,
    body: Body[Order],
    work: MoveWork[Order],
    *parties: str | None,
) -> Response[bytes]:
    """Carry out a movement; the last digits of its parties' numbers, receiver first, choose its fault."""
    carrier = carrier_of(request)
    profile = await office_of(request).faults.profile(carrier)

    async def in_transaction(connection: Connection) -> Mapping[str, Any]:
        terms = (profile.transfer_limit_mb, profile.idempotent)
        return await work(movements.Desk(connection, carrier, clock(), *terms), body)

    numbers = tuple(number for number in parties if number is not None)
    return _answer(await _change(request, in_transaction, body.value.external_identifier, numbers), status=201)


def _number(resource: LogicalResource | None) -> str | None:
    return None if resource is None else resource.value


async def _change(
    request: CarrierRequest,
    work: Callable[[Connection], Awaitable[Any]],
    external_id: str | None = None,
    numbers: tuple[str, ...] = (),
) -> Any:
    office = office_of(request)

    async def in_transaction() -> Any:
        async with office.database.transaction(external_id and f"{attempt.carrier} {external_id}") as connection:
            return await work(connection)

    attempt = Attempt(carrier_of(request), changes=True, numbers=numbers, external_id=external_id)
    return await office.faults.perform(attempt, in_transaction)


async def _read(request: CarrierRequest, read: Callable[[Connection], Awaitable[Any]]) -> Any:
    office, carrier = office_of(request), carrier_of(request)

    async def up_to_date() -> Any:
        await reservations.sweep(office.database, carrier, clock())
        async with office.database.connection() as connection:
            return await read(connection)

    return await office.faults.perform(Attempt(carrier), up_to_date)


async def _show(request: CarrierRequest, read: Callable[[Connection], Awaitable[Mapping[str, Any]]]) -> Response[bytes]:
    query = read_query(request, ["fields"])
    return _answer(_selected(await _read(request, read), query))


async def _list(request: CarrierRequest, read: Listing, *filters: str) -> Response[bytes]:
    query = read_query(request, [*PAGING, *filters])
    offset = read_int(query, "offset", default=0, low=0, high=MAX_OFFSET)
    limit = read_int(query, "limit", default=DEFAULT_LIMIT, low=1, high=MAX_LIMIT)
    if query.get("usageType", "data") != "data":
        return _answer([], total_count=0)  # this carrier keeps nothing but data

    async def page(connection: Connection) -> Found:
        return await read(connection, query, (offset, limit))

    documents, total_count = await _read(request, page)
    return _answer([_selected(document, query) for document in documents], total_count=total_count)


def _line(query: Mapping[str, str]) -> str | None:
    return query.get("logicalResource.id", query.get("logicalResource.value"))


def _selected(document: Mapping[str, Any], query: Mapping[str, str]) -> Mapping[str, Any]:
    """The fields that were asked for; what identifies a resource always comes along."""
    if "fields" not in query:
        return document
    wanted = {*ALWAYS_SHOWN, *query["fields"].split(",")}
    return {field: value for field, value in document.items() if field in wanted}


def _answer(
    content: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    status: int = 200,
    total_count: int | None = None,
) -> Response[bytes]:
    headers = {}
    if total_count is not None:
        headers = {"X-Total-Count": str(total_count), "X-Result-Count": str(len(content))}
    return Response(msgspec.json.encode(content), status_code=status, media_type=MEDIA_TYPE, headers=headers)


router = Router(
    path="/{carrier:str}" + TMF,
    guards=[authenticated],
    route_handlers=[
        list_buckets,
        create_bucket,
        get_bucket,
        delete_bucket,
        list_reservations,
        create_reservation,
        get_reservation,
        update_reservation,
        delete_reservation,
        create_adjustment,
        create_transfer,
        create_topup,
        list_movements,
        get_movement,
        list_actions,
        get_action,
    ],
)
