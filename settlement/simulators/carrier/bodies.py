"""Strict reading of requests: JSON only under its content type, no unknown fields, whole MB, nothing twice."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from litestar import Request

from settlement.simulators.carrier.refusals import Refusal

MAX_MB = 10**9
MAX_OFFSET = 10**9
MAX_LIMIT = 1000
DEFAULT_LIMIT = 100

Msisdn = Annotated[str, msgspec.Meta(pattern=r"^\+[1-9][0-9]{4,14}\Z")]
ExternalId = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Scope = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]{1,16}\Z")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Megabytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_MB)]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A snake_case body: what this program's own interfaces take."""


class Standard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A camelCase body: what TMF654 and CAMARA take."""


class Reference(Standard, frozen=True, kw_only=True):
    id: Id
    href: str | None = None
    name: str | None = None


class Quantity(Standard, frozen=True, kw_only=True):
    """An amount must be there and whole: the schema's own default of 1 would move data that nobody named."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=MAX_MB)]
    units: Literal["MB"]


class LogicalResource(Standard, frozen=True, kw_only=True):
    value: Msisdn
    id: str | None = None
    href: str | None = None
    type_: str | None = msgspec.field(name="@type", default=None)


class Period(Standard, frozen=True, kw_only=True):
    end_date_time: Moment
    start_date_time: Moment | None = None


class Create(Standard, frozen=True, kw_only=True):
    """What every TMF654 creation may say; the descriptive fields are taken and not kept."""

    external_identifier: ExternalId | None = None
    usage_type: Literal["data"] = "data"
    description: str | None = None
    reason: str | None = None
    requested_date: Moment | None = None
    channel: Any = None
    requestor: Any = None
    related_party: Any = None
    party_account: Any = None
    product: Any = None
    type_: str | None = msgspec.field(name="@type", default=None)
    base_type: str | None = msgspec.field(name="@baseType", default=None)
    schema_location: str | None = msgspec.field(name="@schemaLocation", default=None)


class ReserveCreate(Create, frozen=True, kw_only=True):
    amount: Quantity
    bucket: Reference
    expiration_date: Moment
    logical_resource: LogicalResource | None = None


class ReserveUpdate(Standard, frozen=True, kw_only=True):
    amount: Quantity


class TransferCreate(Create, frozen=True, kw_only=True):
    amount: Quantity
    bucket: Reference
    receiver_logical_resource: LogicalResource
    logical_resource: LogicalResource | None = None
    receiver_bucket_usage_type: Literal["data"] = "data"
    cost_owner: Literal["originator", "receiver"] = "originator"


class AdjustCreate(Create, frozen=True, kw_only=True):
    amount: Quantity
    adjust_type: Literal[
        "reservationDebit",
        "generalDebit",
        "oneTimeChargeDebit",
        "recurringChargeDebit",
        "goodWillCredit",
        "oneTimeChargeCredit",
    ]
    reserve_balance: Reference | None = None
    bucket: Reference | None = None
    logical_resource: LogicalResource | None = None
    receiver_logical_resource: LogicalResource | None = None


class TopupCreate(Create, frozen=True, kw_only=True):
    amount: Quantity
    logical_resource: LogicalResource
    scope: Scope
    valid_for: Period
    app_scope: Scope | None = None


class BucketCreate(Create, frozen=True, kw_only=True):
    logical_resource: list[LogicalResource]
    scope: Scope
    valid_for: Period
    remaining_value: Quantity | None = None
    app_scope: Scope | None = None
    transferable: bool = True
    name: str | None = None
    is_shared: Literal[False] = False


Shape = TypeVar("Shape", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Body(Generic[Shape]):
    """A decoded body, and a digest by which the same content is known again."""

    value: Shape
    digest: str


async def read_body(request: Request[Any, Any, Any], shape: type[Shape]) -> Body[Shape]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal("UNSUPPORTED_MEDIA_TYPE")
    try:
        document = json.loads(await request.body(), object_pairs_hook=_unique, parse_constant=_no_constant)
        # Text that UTF-8 or PostgreSQL cannot hold fails here, not in a query.
        canonical = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        if b"\\u0000" in canonical:
            raise Refusal("INVALID_REQUEST", "A text holds the character NUL.")
        return Body(msgspec.convert(document, shape), hashlib.sha256(canonical).hexdigest())
    except (ValueError, RecursionError) as error:
        raise Refusal("INVALID_REQUEST", f"{error}"[:200]) from error


def read_query(request: Request[Any, Any, Any], allowed: Iterable[str]) -> Mapping[str, str]:
    """The query, each name once and each name known."""
    pairs = list(request.query_params.multi_items())
    query = dict(pairs)
    if len(query) < len(pairs):
        raise Refusal("INVALID_REQUEST", "A query parameter is given twice.")
    if unknown := sorted(query.keys() - set(allowed)):
        raise Refusal("INVALID_REQUEST", f"Unknown query parameter: {unknown[0]}")
    return query


def read_int(query: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high):
        raise Refusal("INVALID_REQUEST", f"{name}: a whole number from {low} to {high} was expected.")
    return int(text)


def read_moment(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return msgspec.convert(query[name], Moment, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal("INVALID_REQUEST", f"{name}: a time with its zone was expected.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("A field is given twice.")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")
