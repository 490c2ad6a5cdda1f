"""The simulator's own office: loading lines, choosing faults, counting totals. No carrier offers this."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

import msgspec
from litestar import Response, Router, get, post, put

from settlement.simulators.carrier import lines, loading, reserving, taking_back
from settlement.simulators.carrier.bodies import Msisdn, Strict, read_body
from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.faults import FAULT_OF_NUMBER, Profile
from settlement.simulators.carrier.office import CarrierRequest, authenticated, carrier_of, clock, office_of

MAX_LOAD_BYTES = 32 * 1024 * 1024
TOKEN_LIFETIME = timedelta(minutes=10)


@post("/lines", request_max_body_size=MAX_LOAD_BYTES, status_code=200)
async def load_lines(request: CarrierRequest) -> Response[Any]:
    load = (await read_body(request, loading.Load)).value
    async with office_of(request).database.transaction() as connection:
        bucket_count = await loading.load(connection, carrier_of(request), load.lines, clock())
    return Response({"lines": len(load.lines), "buckets": bucket_count})


@post("/reservations", request_max_body_size=MAX_LOAD_BYTES, status_code=200)
async def load_reservations(request: CarrierRequest) -> Response[Any]:
    wanted = (await read_body(request, reserving.Reserve)).value.reservations
    async with office_of(request).database.transaction() as connection:
        made = await reserving.reserve(connection, carrier_of(request), wanted, clock())
    return Response({"reservations": made})


@get("/faults")
async def show_faults(request: CarrierRequest) -> Response[Any]:
    return Response(await _shown(request))


@put("/faults")
async def change_faults(request: CarrierRequest) -> Response[Any]:
    profile = (await read_body(request, Profile)).value
    await office_of(request).faults.change(carrier_of(request), profile)
    return Response(await _shown(request))


@get("/totals")
async def show_totals(request: CarrierRequest) -> Response[Any]:
    async with office_of(request).database.connection() as connection:
        return Response(await _totals(connection, carrier_of(request)))


class NetworkLogin(Strict, frozen=True, kw_only=True):
    msisdn: Msisdn


@post("/network-tokens", status_code=201)
async def network_token(request: CarrierRequest) -> Response[Any]:
    """The access token a phone would get over its own mobile connection; a test or a demo stands in for the phone."""
    order = (await read_body(request, NetworkLogin)).value
    token = secrets.token_urlsafe(32)
    async with office_of(request).database.transaction() as connection:
        await lines.find(connection, carrier_of(request), order.msisdn)
        await connection.execute(
            "INSERT INTO network_token (token_hash, carrier, msisdn, expires_at) VALUES ($1, $2, $3, $4)",
            hashlib.sha256(token.encode()).hexdigest(),
            carrier_of(request),
            order.msisdn,
            clock() + TOKEN_LIFETIME,
        )
    return Response({"access_token": token}, status_code=201)


@post("/reversals", status_code=200)
async def take_back(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, taking_back.Order)).value
    async with office_of(request).database.transaction() as connection:
        answer = await taking_back.take_back(connection, carrier_of(request), order, clock())
    return Response(answer)


async def _shown(request: CarrierRequest) -> dict[str, Any]:
    faults, carrier = office_of(request).faults, carrier_of(request)
    profile = msgspec.to_builtins(await faults.profile(carrier))
    return {**profile, "counts": await faults.counts(carrier), "numbers": dict(FAULT_OF_NUMBER)}


async def _totals(connection: Connection, carrier: str) -> dict[str, int]:
    row = await connection.fetchrow(
        "SELECT coalesce(sum(remaining_mb), 0)::bigint AS remaining_mb,"
        " coalesce(sum(reserved_mb), 0)::bigint AS reserved_mb,"
        " (SELECT count(*) FROM line WHERE carrier = $1) AS lines,"
        " (SELECT count(*) FROM movement WHERE carrier = $1) AS movements"
        " FROM bucket WHERE carrier = $1",
        carrier,
    )
    return {**dict(row), "total_mb": row["remaining_mb"] + row["reserved_mb"]}


router = Router(
    path="/{carrier:str}/admin",
    guards=[authenticated],
    route_handlers=[load_lines, load_reservations, show_faults, change_faults, show_totals, network_token, take_back],
)
