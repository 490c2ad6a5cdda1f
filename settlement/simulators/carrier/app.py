"""The simulated carrier as one application: three carriers, their pages, their faults."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from litestar import Litestar, Response, get
from litestar.datastructures import MutableScopeHeaders, State
from litestar.exceptions import HTTPException
from litestar.types import Message, Scope

from settlement.simulators.carrier import admin, billing_http, camara, consuming, errors, number_events, pages, tmf
from settlement.simulators.carrier.brands import BRAND_OF_CODE
from settlement.simulators.carrier.database import Database
from settlement.simulators.carrier.faults import Faults
from settlement.simulators.carrier.office import CarrierRequest, Office, office_of
from settlement.simulators.carrier.refusals import Refusal

MAX_BODY_BYTES = 64 * 1024
CORRELATOR = re.compile(rb"[a-zA-Z0-9\-_:;./<>{}]{1,256}")


@get("/health")
async def health(request: CarrierRequest) -> Response[Any]:
    async with office_of(request).database.connection():
        return Response({"status": "ok"})


def create_app(database_url: str, credentials: dict[str, str], *, pool_size: int = 10) -> Litestar:
    """The program for these carriers. `credentials` maps a carrier's code to the bearer token of its clients."""
    if unknown := credentials.keys() - BRAND_OF_CODE.keys():
        raise ValueError(f"These carriers are not known here: {', '.join(sorted(unknown))}.")
    database = Database(database_url, pool_size)
    office = Office(database, Faults(database), dict(credentials))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        with suppress(Refusal):  # a database that is not up yet is asked again with each request
            async with database.connection():
                pass
        consuming_on = asyncio.create_task(consuming.keep_consuming(database, sorted(credentials)))
        yield
        consuming_on.cancel()
        await asyncio.gather(consuming_on, return_exceptions=True)
        await database.close()

    return Litestar(
        route_handlers=[
            health,
            *pages.handlers,
            tmf.router,
            camara.router,
            camara.verification_router,
            billing_http.router,
            number_events.router,
            number_events.admin_router,
            admin.router,
        ],
        exception_handlers={
            Refusal: errors.on_refusal,
            HTTPException: errors.on_http_error,
            Exception: errors.on_failure,
        },
        lifespan=[lifespan],
        before_send=[_echo_correlator],
        state=State({"office": office}),
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,
    )


async def _echo_correlator(message: Message, scope: Scope) -> None:
    """Give the client's own `x-correlator` back, as CAMARA wants it; one of another form is dropped."""
    if message["type"] != "http.response.start":
        return
    given = dict(scope["headers"]).get(b"x-correlator", b"")
    if CORRELATOR.fullmatch(given):
        MutableScopeHeaders.from_message(message)["x-correlator"] = given.decode()
