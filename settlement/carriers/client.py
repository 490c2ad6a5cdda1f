"""The port to one carrier: TMF654 4.1.0 for the data, CAMARA for the person behind the number.

The standard has no idempotency. Our operation id travels as the extension field `externalIdentifier` and as the header
`Idempotency-Key`; asking for it is how a lost answer is found again. Each method raises the errors of `errors.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from settlement.carriers import journal, reading
from settlement.carriers.errors import (
    CarrierDuplicate,
    CarrierMismatch,
    CarrierRefused,
    CarrierUnknown,
    CarrierUnreachable,
    ForgedPush,
)
from settlement.carriers.journal import LinePage
from settlement.carriers.line_checks import LineChecks
from settlement.carriers.line_usage import LineUsage
from settlement.carriers.port import Capabilities
from settlement.carriers.values import (
    Action,
    ActionPage,
    Bucket,
    CarrierProfile,
    KycMatch,
    Movement,
    MovementKind,
    MovementStatus,
    Push,
    Reservation,
    ReservationStatus,
)
from settlement.carriers.wire import Answer, Wire

TMF = "/tmf-api/prepayBalanceManagement/v4"
OTP = "/one-time-password-sms/v1"
PAGE = 100

Document = Mapping[str, Any]
Found = TypeVar("Found", Movement, Reservation)


class Carrier(LineChecks, LineUsage):
    """One carrier, over HTTP. Open it with `async with`, or call `aclose` when done."""

    capabilities = Capabilities(
        codes=True, messages=True, sim_swap=True, recycling=True, name_match=True, transfers=True
    )

    def __init__(self, profile: CarrierProfile) -> None:
        self.profile = profile
        self._wire = Wire(profile)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._wire.close()

    # Custody: what a line has, and setting it aside.

    async def buckets(self, msisdn: str) -> list[Bucket]:
        """The data buckets of a line, expired ones included."""
        found = [
            reading.bucket(document, self.profile.code)
            async for document in self._pages(
                f"{TMF}/bucket",
                {"logicalResource.id": msisdn, "usageType": "data"},
            )
        ]
        for bucket in found:
            _agree(msisdn=(msisdn, bucket.msisdn))
        return found

    async def reserve(
        self,
        bucket_id: str,
        amount_mb: int,
        expires_at: datetime,
        external_id: str,
        msisdn: str,
    ) -> Reservation:
        """Set `amount_mb` of a bucket aside until `expires_at` or until it is settled or released."""
        body = {
            **_instruction("ReserveBalance", amount_mb, external_id),
            "bucket": {"id": bucket_id},
            "logicalResource": _line(msisdn),
            "expirationDate": _moment(expires_at),
        }
        try:
            answer = await self._post(f"{TMF}/reserveBalance", body, external_id)
            reservation = reading.reservation(reading.record(answer.body, "reserveBalance"))
        except CarrierDuplicate:
            reservation = await self._known(external_id, self.find_reservation)
        _agree(
            external_id=(external_id, reservation.external_id),
            bucket_id=(bucket_id, reservation.bucket_id),
            amount_mb=(amount_mb, reservation.amount_mb),
        )
        return reservation

    async def find_reservation(self, external_id: str) -> Reservation | None:
        """The reservation made under our id, in any state, or None when the carrier holds none."""
        documents = await self._list_by_id("reserveBalance", external_id)
        return _only([reading.reservation(document) for document in documents], external_id)

    async def resize(self, reservation_id: str, amount_mb: int) -> Reservation:
        """Make a reservation hold `amount_mb`; the carrier checks again that the bucket has it."""
        body = {"amount": _quantity(amount_mb)}
        answer = await self._wire.call("PATCH", _one("reserveBalance", reservation_id), body=body)
        reservation = reading.reservation(reading.record(answer.body, "reserveBalance"))
        _agree(id=(reservation_id, reservation.id), amount_mb=(amount_mb, reservation.amount_mb))
        _agree(status=(ReservationStatus.HELD, reservation.status))
        return reservation

    async def release(self, reservation_id: str) -> None:
        """Give a reservation back to its bucket. One that is already gone is as good as released."""
        try:
            await self._wire.call("DELETE", _one("reserveBalance", reservation_id))
        except CarrierRefused as refusal:
            if refusal.status != httpx.codes.NOT_FOUND:
                raise

    # Movements: each has our id, and can be asked for by it.

    async def settle(self, reservation_id: str, receiver_msisdn: str, amount_mb: int, external_id: str) -> Movement:
        """Move `amount_mb` of a reservation to the receiver, keeping scope, app scope and the original expiry.

        The debit is TMF654's `reservationDebit`; naming the receiver in the same request is an extension that
        makes debit and credit one act, so the seller can't spend the data in between.
        """
        body = {
            **_instruction("AdjustBalance", amount_mb, external_id),
            "adjustType": "reservationDebit",
            "reserveBalance": {"id": reservation_id},
            "receiverLogicalResource": _line(receiver_msisdn),
        }
        movement = await self._move("adjustBalance", body, external_id, reading.adjustment)
        _agree_on_movement(movement, MovementKind.SETTLE, amount_mb, external_id)
        _agree(reservation_id=(reservation_id, movement.reservation_id))
        _agree(receiver_msisdn=(receiver_msisdn, movement.receiver_msisdn))
        return movement

    async def transfer(
        self,
        bucket_id: str,
        sender_msisdn: str,
        receiver_msisdn: str,
        amount_mb: int,
        external_id: str,
    ) -> Movement:
        """Move `amount_mb` that nobody reserved from one line to another: a gift, or the way back of a movement."""
        body = {
            **_instruction("TransferBalance", amount_mb, external_id),
            "bucket": {"id": bucket_id},
            "logicalResource": _line(sender_msisdn),
            "receiverLogicalResource": _line(receiver_msisdn),
        }
        movement = await self._move("transferBalance", body, external_id, reading.transfer)
        _agree_on_movement(movement, MovementKind.TRANSFER, amount_mb, external_id)
        _agree(sender_msisdn=(sender_msisdn, movement.sender_msisdn))
        _agree(receiver_msisdn=(receiver_msisdn, movement.receiver_msisdn))
        return movement

    async def top_up(
        self,
        msisdn: str,
        amount_mb: int,
        scope: str,
        expires_at: datetime,
        external_id: str,
    ) -> Movement:
        """Put `amount_mb` of new data on a line: what a coin is redeemed for."""
        body = {
            **_instruction("TopupBalance", amount_mb, external_id),
            "logicalResource": _line(msisdn),
            "scope": scope,
            "validFor": {"endDateTime": _moment(expires_at)},
        }
        movement = await self._move("topupBalance", body, external_id, reading.top_up)
        _agree_on_movement(movement, MovementKind.TOP_UP, amount_mb, external_id)
        _agree(receiver_msisdn=(msisdn, movement.receiver_msisdn))
        return movement

    async def find_movement(self, external_id: str) -> Movement | None:
        """Ask what became of our id. None is final only once every earlier attempt is surely dead."""
        adjusted, transferred, topped_up = await asyncio.gather(
            self._list_by_id("adjustBalance", external_id),
            self._list_by_id("transferBalance", external_id),
            self._list_by_id("topupBalance", external_id),
        )
        movements = [
            *map(reading.adjustment, adjusted),
            *map(reading.transfer, transferred),
            *map(reading.top_up, topped_up),
        ]
        return _only(movements, external_id)

    def read_push(self, body: bytes, now: datetime) -> Push:  # noqa: ARG002 - the port's
        raise ForgedPush("This carrier pushes nothing.")

    # The carrier's own journal, for reconciliation.

    async def action_page(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        offset: int = 0,
        limit: int = PAGE,
    ) -> ActionPage:
        """Lines of the journal from `since` up to but not including `until`, oldest first."""
        params: dict[str, str | int] = {"requestedDate.gte": _moment(since), "offset": offset, "limit": limit}
        if until is not None:
            params["requestedDate.lt"] = _moment(until)
        answer = await self._wire.call("GET", f"{TMF}/balanceAction", params=params)
        documents = reading.records(answer.body, "balanceAction")
        return ActionPage([reading.action(document) for document in documents], _total(answer))

    async def line_page(self, since: datetime, until: datetime, *, offset: int, limit: int) -> LinePage:
        """The same journal for reconciliation: only what it compares, so that a page may be long."""
        params: dict[str, str | int] = {
            "requestedDate.gte": _moment(since),
            "requestedDate.lt": _moment(until),
            "fields": journal.FIELDS,
            "offset": offset,
            "limit": limit,
        }
        answer = await self._wire.call("GET", f"{TMF}/balanceAction", params=params)
        return journal.page(answer.body, _total(answer))

    async def actions(self, since: datetime, until: datetime | None = None) -> AsyncIterator[Action]:
        """The whole journal of a span of time; take one that lies in the past, as the end of the journal moves."""
        offset = 0
        while True:
            page = await self.action_page(since, until, offset=offset)
            for action in page.actions:
                yield action
            offset += len(page.actions)
            if not page.actions or offset >= page.total_count:
                return

    # The person behind the number.

    async def send_code(self, msisdn: str, message: str) -> str:
        """Text a one-time code to a number; the carrier puts it where the message says `{{code}}`."""
        body = {"phoneNumber": msisdn, "message": message}
        answer = await self._wire.call("POST", f"{OTP}/send-code", body=body)
        return reading.text(reading.record(answer.body, "send-code"), "authenticationId")

    async def validate_code(self, authentication_id: str, code: str) -> bool:
        """Whether this is the code that was texted. A used-up, expired or blocked one is refused instead."""
        body = {"authenticationId": authentication_id, "code": code}
        try:
            await self._wire.call("POST", f"{OTP}/validate-code", body=body)
        except CarrierRefused as refusal:
            if refusal.code == "ONE_TIME_PASSWORD_SMS.INVALID_OTP":
                return False
            raise
        return True

    async def send_sms(self, msisdn: str, text: str) -> None:
        """Text a notice to a number. Sending twice shows it twice: no standard covers this, so there is no id."""
        await self._wire.call("POST", "/sms/v1/messages", body={"phoneNumber": msisdn, "message": text})

    async def kyc_match(self, msisdn: str, name: str, id_document: str) -> KycMatch:
        """Compare a name and a document number with the carrier's records; keep the outcome, never the input."""
        body = {"phoneNumber": msisdn, "name": name, "idDocument": id_document}
        answer = await self._wire.call("POST", "/kyc-match/v0.4/match", body=body)
        return reading.kyc_match(reading.record(answer.body, "match"))

    async def sim_swapped(self, msisdn: str, max_age_hours: int) -> bool:
        """Whether the SIM card was changed within the last `max_age_hours` (1 to 2,400)."""
        body = {"phoneNumber": msisdn, "maxAge": max_age_hours}
        answer = await self._wire.call("POST", "/sim-swap/v2/check", body=body)
        return reading.truth(reading.record(answer.body, "check"), "swapped")

    async def verify_number(self, msisdn: str, access_token: str) -> bool:
        """Whether the user's own mobile connection, which got the token, has this number."""
        path = "/number-verification/v2/verify"
        answer = await self._wire.call("POST", path, body={"phoneNumber": msisdn}, access_token=access_token)
        return reading.truth(reading.record(answer.body, "verify"), "devicePhoneNumberVerified")

    async def _post(self, path: str, body: Document, external_id: str) -> Answer:
        return await self._wire.call("POST", path, body=body, external_id=external_id)

    async def _move(
        self,
        resource: str,
        body: Document,
        external_id: str,
        read: Callable[[Document], Movement],
    ) -> Movement:
        try:
            answer = await self._post(f"{TMF}/{resource}", body, external_id)
            movement = read(reading.record(answer.body, resource))
        except CarrierDuplicate:
            movement = await self._known(external_id, self.find_movement)
        if movement.status is MovementStatus.FAILED:
            raise CarrierRefused("MOVEMENT_FAILED", "The carrier took the instruction and then failed to carry it out.")
        return movement

    async def _known(self, external_id: str, find: Callable[[str], Awaitable[Found | None]]) -> Found:
        """The carrier says it knows our id: what it did is looked up, and the caller compares it.

        Whatever keeps us from looking it up is neither a refusal nor proof that nothing was sent.
        """
        try:
            found = await find(external_id)
        except (CarrierRefused, CarrierUnreachable) as error:
            raise CarrierUnknown(f"the carrier knows our id, but can't be asked for it: {error}") from error
        if found is None:
            raise CarrierUnknown("the carrier says it knows our id, but shows nothing under it")
        return found

    async def _list_by_id(self, resource: str, external_id: str) -> list[Document]:
        """What a resource holds under our id.

        A carrier that overlooks the filter would answer with strangers, and "ours
        is not among them" would pass for "not done": so any stranger stops us,
        and so does a page that shows less than it counts. One that shows more has
        counted a moment before: what it shows is ours all the same.
        """
        params: dict[str, str | int] = {"externalIdentifier": external_id, "limit": PAGE}
        answer = await self._wire.call("GET", f"{TMF}/{resource}", params=params)
        documents = reading.records(answer.body, resource)
        for document in documents:
            _agree(external_id=(external_id, document.get("externalIdentifier")))
        if answer.total_count is not None and answer.total_count > len(documents):
            raise CarrierMismatch(f"{resource}: {answer.total_count} results counted, {len(documents)} shown.")
        return documents

    async def _pages(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Document]:
        offset = 0
        while True:
            answer = await self._wire.call("GET", path, params={**params, "offset": offset, "limit": PAGE})
            documents, total_count = reading.records(answer.body, path), _total(answer)
            for document in documents:
                yield document
            offset += len(documents)
            if not documents or offset >= total_count:
                return


def _instruction(kind: str, amount_mb: int, external_id: str) -> dict[str, Any]:
    return {
        "@type": kind,
        "usageType": "data",
        "amount": _quantity(amount_mb),
        "externalIdentifier": external_id,
    }


def _quantity(amount_mb: int) -> dict[str, Any]:
    return {"amount": amount_mb, "units": "MB"}


def _line(msisdn: str) -> dict[str, str]:
    return {"@type": "MSISDN", "id": msisdn, "value": msisdn}


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _one(resource: str, identifier: str) -> str:
    return f"{TMF}/{resource}/{quote(identifier, safe='')}"


def _total(answer: Answer) -> int:
    if answer.total_count is None:
        raise CarrierMismatch("X-Total-Count: missing, so nobody can say whether the list is whole.")
    return answer.total_count


def _only(found: Sequence[Found], external_id: str) -> Found | None:
    if len(found) > 1:
        raise CarrierMismatch(f"{external_id}: the carrier shows {len(found)} results for one instruction.")
    return found[0] if found else None


def _agree_on_movement(movement: Movement, kind: MovementKind, amount_mb: int, external_id: str) -> None:
    _agree(
        kind=(kind, movement.kind),
        external_id=(external_id, movement.external_id),
        amount_mb=(amount_mb, movement.amount_mb),
    )


def _agree(**asked_and_said: tuple[object, object]) -> None:
    """Compare what we asked with what the carrier says, field by field."""
    for field, (asked, said) in asked_and_said.items():
        if asked != said:
            raise CarrierMismatch(f"{field}: we asked for {asked}, the carrier says {said}.")
