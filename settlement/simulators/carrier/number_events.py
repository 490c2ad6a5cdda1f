"""What happens to numbers: SIM cards changed, numbers ported, recycled or closed, plans changed, and who is told of it.

CAMARA's number-recycling 0.2 and sim-swap-subscriptions 0.3 over HTTP. No standard has events for the other changes;
this carrier sends them to the same subscription, under types of its own. An event is sent once and never again.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

import httpx
import msgspec
from litestar import Response, Router, post

from settlement.simulators.carrier import lines, reservations
from settlement.simulators.carrier.bodies import Moment, Msisdn, Standard, Strict, read_body
from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.office import CarrierRequest, authenticated, carrier_of, clock, office_of
from settlement.simulators.carrier.refusals import Refusal
from settlement.simulators.carrier.shapes import moment

SWAPPED = "org.camaraproject.sim-swap-subscriptions.v0.swapped"
SEND_SECONDS = 5.0

Kind = Literal["sim_swapped", "recycled", "ported_out", "plan_changed", "closed"]
TYPES: Mapping[Kind, str] = {
    "sim_swapped": SWAPPED,
    "recycled": "org.surplusflow.line-events.v0.recycled",
    "ported_out": "org.surplusflow.line-events.v0.ported-out",
    "plan_changed": "org.surplusflow.line-events.v0.plan-changed",
    "closed": "org.surplusflow.line-events.v0.closed",
}
CHANGE = """
UPDATE line SET
    sim_changed_at = CASE WHEN $4 IN ('sim_swapped', 'recycled') THEN $3 ELSE sim_changed_at END,
    subscriber_since = CASE WHEN $4 = 'recycled' THEN $3 ELSE subscriber_since END,
    left_at = CASE WHEN $4 IN ('ported_out', 'closed') THEN $3 ELSE left_at END,
    payment = coalesce($5, payment)
WHERE carrier = $1 AND msisdn = $2
"""
ENDS_RESERVATIONS = frozenset({"recycled", "ported_out", "closed"})

log = logging.getLogger(__name__)


class Check(Standard, frozen=True, kw_only=True):
    specified_date: date
    phone_number: Msisdn | None = None


class Credential(Standard, frozen=True, kw_only=True):
    credential_type: Literal["ACCESSTOKEN"]
    access_token: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    access_token_expires_utc: Moment
    access_token_type: Literal["bearer"]


class Detail(Standard, frozen=True, kw_only=True):
    phone_number: Msisdn | None = None


class Config(Standard, frozen=True, kw_only=True):
    subscription_detail: Detail


class Subscribe(Standard, frozen=True, kw_only=True):
    """The standard asks for an https sink; on one machine plain http will do."""

    protocol: Literal["HTTP"]
    sink: Annotated[str, msgspec.Meta(pattern=r"^https?://.+\Z", max_length=500)]
    types: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1)]
    config: Config
    sink_credential: Credential | None = None


class Happening(Strict, frozen=True, kw_only=True):
    """What is to happen to a number; a silent one is told to nobody, as when an event gets lost."""

    msisdn: Msisdn
    kind: Kind
    payment: Literal["prepaid", "postpaid"] | None = None
    silent: bool = False


@post("/number-recycling/v0.2/check", status_code=200)
async def check_recycling(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, Check)).value
    async with office_of(request).database.connection() as connection:
        line = await _line(connection, request, order.phone_number)
    since: datetime | None = line["subscriber_since"]
    return Response({"phoneNumberRecycled": since is not None and since.date() > order.specified_date})


@post("/sim-swap-subscriptions/v0.3/subscriptions", status_code=201)
async def subscribe(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, Subscribe)).value
    if order.types != [SWAPPED]:
        raise Refusal("INVALID_ARGUMENT", f"types: only {SWAPPED} can be subscribed to.")
    identifier, now = str(uuid4()), clock()
    async with office_of(request).database.transaction() as connection:
        line = await _line(connection, request, order.config.subscription_detail.phone_number)
        await connection.execute(
            "INSERT INTO subscription (id, carrier, msisdn, sink, token, at) VALUES ($1, $2, $3, $4, $5, $6)",
            identifier,
            carrier_of(request),
            line["msisdn"],
            order.sink,
            "" if order.sink_credential is None else order.sink_credential.access_token,
            now,
        )
    shown = {name: value for name, value in msgspec.to_builtins(order).items() if name != "sinkCredential"}
    return Response({**shown, "id": identifier, "startsAt": moment(now), "status": "ACTIVE"}, status_code=201)


@post("/number-events", status_code=200)
async def happen(request: CarrierRequest) -> Response[Any]:
    """Let it happen, and tell the subscribers; the answer says what each of them said."""
    order, carrier, now = (await read_body(request, Happening)).value, carrier_of(request), clock()
    async with office_of(request).database.transaction() as connection:
        sinks = await change(connection, carrier, order, now)
    event = {
        "id": str(uuid4()),
        "source": f"https://{carrier.lower()}.example/line-events",
        "type": TYPES[order.kind],
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "time": moment(now),
    }
    data = {"phoneNumber": order.msisdn} | ({} if order.payment is None else {"plan": order.payment})
    told = [] if order.silent else await _tell(event, data, sinks)
    return Response({"event": event["id"], "told": told})


async def change(connection: Connection, carrier: str, order: Happening, now: datetime) -> Sequence[Any]:
    """Change the line; whoever leaves, or is somebody else now, has nothing set aside any more. Gives the sinks."""
    await lines.find(connection, carrier, order.msisdn)
    await lines.lock(connection, carrier, order.msisdn)
    await connection.execute(CHANGE, carrier, order.msisdn, now, order.kind, order.payment)
    if order.kind in ENDS_RESERVATIONS:
        await connection.execute(
            "UPDATE reservation SET expires_at = $3 WHERE carrier = $1 AND msisdn = $2 AND status = 'confirmed'",
            carrier,
            order.msisdn,
            now,
        )
        await reservations.expire(connection, carrier, [order.msisdn], now)
    sinks: Sequence[Any] = await connection.fetch(
        "SELECT id, sink, token FROM subscription WHERE carrier = $1 AND msisdn = $2 ORDER BY at, id",
        carrier,
        order.msisdn,
    )
    return sinks


async def _tell(event: Mapping[str, Any], data: Mapping[str, Any], sinks: Sequence[Any]) -> list[str]:
    async with httpx.AsyncClient(timeout=SEND_SECONDS, follow_redirects=False, trust_env=False) as client:
        return list(await asyncio.gather(*(_send(client, event, data, sink) for sink in sinks)))


async def _send(client: httpx.AsyncClient, event: Mapping[str, Any], data: Mapping[str, Any], sink: Any) -> str:
    headers = {"Content-Type": "application/cloudevents+json"}
    if sink["token"]:
        headers["Authorization"] = f"Bearer {sink['token']}"
    content = msgspec.json.encode({**event, "data": {**data, "subscriptionId": sink["id"]}})
    try:
        answer = await client.post(sink["sink"], content=content, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("an event was not taken: %r", error)
        return type(error).__name__
    return str(answer.status_code)


async def _line(connection: Connection, request: CarrierRequest, phone_number: str | None) -> lines.Row:
    if phone_number is None:
        raise Refusal("MISSING_IDENTIFIER")
    try:
        return await lines.find(connection, carrier_of(request), phone_number)
    except Refusal as refusal:
        raise Refusal("IDENTIFIER_NOT_FOUND") from refusal


router = Router(path="/{carrier:str}", guards=[authenticated], route_handlers=[check_recycling, subscribe])
admin_router = Router(path="/{carrier:str}/admin", guards=[authenticated], route_handlers=[happen])
