"""What every request handler needs: the database, the faults, the credentials, and who is asking."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from settlement.simulators.carrier.brands import BRANDS
from settlement.simulators.carrier.database import Database
from settlement.simulators.carrier.faults import Faults
from settlement.simulators.carrier.refusals import Refusal

CarrierRequest = Request[Any, Any, State]


@dataclass(frozen=True, slots=True)
class Office:
    """One per program."""

    database: Database
    faults: Faults
    credentials: Mapping[str, str]


def office_of(request: ASGIConnection[Any, Any, Any, Any]) -> Office:
    office: Office = request.app.state.office
    return office


def carrier_of(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The code of the carrier in the path: /cmcc speaks for CMCC."""
    brand = BRANDS.get(request.path_params["carrier"])
    if brand is None:
        raise Refusal("NOT_FOUND")
    return brand.code


def bearer_of(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refusal("UNAUTHENTICATED")
    return token


def is_credential(request: ASGIConnection[Any, Any, Any, Any], token: str) -> bool:
    """Whether the token is this carrier's credential, compared in constant time."""
    expected = office_of(request).credentials.get(carrier_of(request), "")
    return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())


async def authenticated(request: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: only the holder of the carrier's credential comes in."""
    if not is_credential(request, bearer_of(request)):
        raise Refusal("UNAUTHENTICATED")


def clock() -> datetime:
    return datetime.now(UTC)
