"""CAMARA over HTTP: one-time codes, KYC match, SIM swap and number verification; and plain text messages."""

import difflib
import hashlib
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, post

from settlement.simulators.carrier import lines, messages, otp
from settlement.simulators.carrier.bodies import Msisdn, Standard, read_body
from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.office import (
    CarrierRequest,
    authenticated,
    bearer_of,
    carrier_of,
    clock,
    is_credential,
    office_of,
)
from settlement.simulators.carrier.refusals import Refusal
from settlement.simulators.carrier.shapes import moment

MONITORED_DAYS = 100
MAX_AGE_HOURS = 2400
DEFAULT_AGE_HOURS = 240
TOP_SCORE = 99  # a score stands only beside "false", so it never says "the same"

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[a-fA-F0-9]{64}\Z")]


class SendCode(Standard, frozen=True, kw_only=True):
    phone_number: Msisdn
    message: Annotated[str, msgspec.Meta(max_length=160, pattern=r"\{\{code\}\}")]


class ValidateCode(Standard, frozen=True, kw_only=True):
    authentication_id: Annotated[str, msgspec.Meta(max_length=36)]
    code: Annotated[str, msgspec.Meta(max_length=10)]


class Match(Standard, frozen=True, kw_only=True):
    """What this carrier compares. It keeps a name and a document; whatever else is asked is not available."""

    phone_number: Msisdn | None = None
    name: str | None = None
    id_document: str | None = None
    id_document_type: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    birthdate: str | None = None
    address: str | None = None
    gender: str | None = None
    nationality: str | None = None


class SwapCheck(Standard, frozen=True, kw_only=True):
    phone_number: Msisdn | None = None
    max_age: int = DEFAULT_AGE_HOURS


class SwapDate(Standard, frozen=True, kw_only=True):
    phone_number: Msisdn | None = None


class Verify(Standard, frozen=True, kw_only=True):
    phone_number: Msisdn | None = None
    hashed_phone_number: Sha256 | None = None


class Message(Standard, frozen=True, kw_only=True):
    phone_number: Msisdn
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@post("/one-time-password-sms/v1/send-code")
async def send_code(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, SendCode)).value
    carrier, office = carrier_of(request), office_of(request)
    limit = (await office.faults.profile(carrier)).codes_per_ten_minutes
    async with office.database.transaction() as connection:
        identifier = await otp.send(connection, carrier, order.phone_number, order.message, clock(), limit=limit)
    return _answer({"authenticationId": identifier})


@post("/one-time-password-sms/v1/validate-code", status_code=204)
async def validate_code(request: CarrierRequest) -> None:
    order = (await read_body(request, ValidateCode)).value
    async with office_of(request).database.transaction() as connection:
        refusal = await otp.validate(connection, carrier_of(request), order.authentication_id, order.code, clock())
    if refusal is not None:
        raise refusal


@post("/kyc-match/v0.4/match")
async def match(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, Match)).value
    asked = {field: value for field, value in msgspec.to_builtins(order).items() if value is not None}
    asked.pop("phoneNumber", None)
    if not asked:
        raise Refusal("KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION")
    async with office_of(request).database.connection() as connection:
        line = await _line(connection, request, order.phone_number)

    answer: dict[str, Any] = {f"{field}Match": "not_available" for field in asked}
    if order.name is not None:
        answer |= _compared("name", order.name, line["name"])
    if order.id_document is not None:
        answer["idDocumentMatch"] = _true_or_false(_plain(order.id_document) == _plain(line["id_document"]))
    return _answer(answer)


@post("/sim-swap/v2/check")
async def check_swap(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, SwapCheck)).value
    if not 1 <= order.max_age <= MAX_AGE_HOURS:
        raise Refusal("OUT_OF_RANGE", f"maxAge: from 1 to {MAX_AGE_HOURS} hours.")
    async with office_of(request).database.connection() as connection:
        line = await _line(connection, request, order.phone_number)
    changed: datetime | None = line["sim_changed_at"]
    return _answer({"swapped": changed is not None and changed > clock() - timedelta(hours=order.max_age)})


@post("/sim-swap/v2/retrieve-date")
async def swap_date(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, SwapDate)).value
    async with office_of(request).database.connection() as connection:
        line = await _line(connection, request, order.phone_number)
    changed: datetime | None = line["sim_changed_at"]
    seen = changed is not None and changed > clock() - timedelta(days=MONITORED_DAYS)
    return _answer(
        {"latestSimChange": moment(changed) if changed and seen else None, "monitoredPeriod": MONITORED_DAYS},
    )


@post("/number-verification/v2/verify")
async def verify(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, Verify)).value
    if (order.phone_number is None) == (order.hashed_phone_number is None):
        raise Refusal("INVALID_ARGUMENT", "Either phoneNumber or hashedPhoneNumber has to be given.")
    device = await _device_number(request)
    hashed = hashlib.sha256(device.encode()).hexdigest()
    same = order.phone_number == device or (order.hashed_phone_number or "").lower() == hashed
    return _answer({"devicePhoneNumberVerified": same})


@post("/sms/v1/messages")
async def send_message(request: CarrierRequest) -> Response[Any]:
    order = (await read_body(request, Message)).value
    async with office_of(request).database.transaction() as connection:
        await lines.find(connection, carrier_of(request), order.phone_number)
        identifier = await messages.deliver(connection, carrier_of(request), order.phone_number, order.message, clock())
    return _answer({"id": str(identifier)}, status=201)


async def _line(connection: Connection, request: CarrierRequest, phone_number: str | None) -> lines.Row:
    if phone_number is None:
        raise Refusal("MISSING_IDENTIFIER")
    return await lines.find(connection, carrier_of(request), phone_number)


async def _device_number(request: CarrierRequest) -> str:
    """The number of the mobile connection that the token was given to."""
    token = bearer_of(request)
    if is_credential(request, token):
        raise Refusal("NUMBER_VERIFICATION.USER_NOT_AUTHENTICATED_BY_MOBILE_NETWORK")
    async with office_of(request).database.connection() as connection:
        number: str | None = await connection.fetchval(
            "SELECT msisdn FROM network_token WHERE token_hash = $1 AND carrier = $2 AND expires_at > $3",
            hashlib.sha256(token.encode()).hexdigest(),
            carrier_of(request),
            clock(),
        )
    if number is None:
        raise Refusal("UNAUTHENTICATED")
    return number


def _compared(field: str, asked: str, known: str) -> dict[str, Any]:
    if _plain(asked) == _plain(known):
        return {f"{field}Match": "true"}
    ratio = difflib.SequenceMatcher(a=_plain(asked), b=_plain(known)).ratio()
    return {f"{field}Match": "false", f"{field}MatchScore": min(TOP_SCORE, int(ratio * 100))}


def _plain(text: str) -> str:
    """A text as it is compared: case and spaces make no other person."""
    return "".join(text.split()).casefold()


def _true_or_false(value: bool) -> Literal["true", "false"]:
    return "true" if value else "false"


def _answer(content: dict[str, Any], *, status: int = 200) -> Response[Any]:
    return Response(content, status_code=status)


router = Router(
    path="/{carrier:str}",
    guards=[authenticated],
    route_handlers=[send_code, validate_code, match, check_swap, swap_date, send_message],
)
# The token of number verification is the user's, not the client's, so the client's guard does not stand before it.
verification_router = Router(path="/{carrier:str}", route_handlers=[verify])
