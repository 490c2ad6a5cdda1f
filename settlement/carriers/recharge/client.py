"""The port to a partner-recharge gateway: signed form posts, our serial number on each, and results that come later.

The interface is our own definition of what such gateways have in common. `recharge`
with a `freeze_no` draws on a freeze and credits the receiver as one order. Being taken
into the queue is never done: the status is asked for, and a push only says when to ask.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from settlement.carriers.errors import (
    CarrierDuplicate,
    CarrierMismatch,
    CarrierRefused,
    CarrierUnknown,
    CarrierUnreachable,
)
from settlement.carriers.port import Capabilities
from settlement.carriers.recharge import reading
from settlement.carriers.recharge.wire import Wire
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
)

PAGE = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Found = TypeVar("Found", Movement, Reservation)


class RechargeCarrier:
    """One gateway, over HTTP. Open it with `async with`, or call `aclose` when done."""

    capabilities = Capabilities(
        codes=False, messages=False, sim_swap=False, recycling=False, name_match=False, transfers=True
    )

    def __init__(self, profile: CarrierProfile) -> None:
        self.profile = profile
        self._wire = Wire(profile)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._wire.close()

    # Custody: what a line has, and setting it aside.

    async def buckets(self, msisdn: str) -> list[Bucket]:
        """The data accounts of a line, expired ones included."""
        found = reading.buckets(await self._wire.call("/account", {"phone": _phone(msisdn)}), self.profile.code)
        for bucket in found:
            _agree(msisdn=(msisdn, bucket.msisdn))
        return found

    async def reserve(
        self, bucket_id: str, amount_mb: int, expires_at: datetime, external_id: str, msisdn: str
    ) -> Reservation:
        """Freeze `amount_mb` of an account until `expires_at` or until it is recharged from or unfrozen."""
        form = {
            "serial_no": external_id,
            "account_no": bucket_id,
            "phone": _phone(msisdn),
            "amount_mb": str(amount_mb),
            "valid_until_ms": str(_milliseconds(expires_at)),
        }
        try:
            reservation = reading.reservation(await self._wire.call("/freeze", form))
        except CarrierDuplicate:
            reservation = await self._known(external_id, self.find_reservation)
        _agree(
            external_id=(external_id, reservation.external_id),
            bucket_id=(bucket_id, reservation.bucket_id),
            amount_mb=(amount_mb, reservation.amount_mb),
        )
        return reservation

    async def find_reservation(self, external_id: str) -> Reservation | None:
        """The freeze made under our serial number, in any state, or None when the gateway holds none."""
        data = await self._order(external_id)
        return None if data is None else reading.reservation(data)

    async def release(self, reservation_id: str) -> None:
        """Give a freeze back to its account. One that is already gone is as good as released."""
        try:
            await self._wire.call("/unfreeze", {"freeze_no": reservation_id})
        except CarrierRefused as refusal:
            if refusal.code != "RESERVATION_NOT_FOUND":
                raise

    # Movements: each has our serial number, and can be asked for by it.

    async def settle(self, reservation_id: str, receiver_msisdn: str, amount_mb: int, external_id: str) -> Movement:
        """Recharge the receiver out of a freeze, as one order; scope and original expiry stay."""
        movement = await self._recharge(receiver_msisdn, amount_mb, external_id, freeze_no=reservation_id)
        _agree(kind=(MovementKind.SETTLE, movement.kind), reservation_id=(reservation_id, movement.reservation_id))
        return movement

    async def transfer(
        self, bucket_id: str, sender_msisdn: str, receiver_msisdn: str, amount_mb: int, external_id: str
    ) -> Movement:
        """Recharge the receiver out of an account."""
        sender = {"account_no": bucket_id, "from_phone": _phone(sender_msisdn)}
        movement = await self._recharge(receiver_msisdn, amount_mb, external_id, **sender)
        _agree(kind=(MovementKind.TRANSFER, movement.kind), sender_msisdn=(sender_msisdn, movement.sender_msisdn))
        return movement

    async def top_up(self, msisdn: str, amount_mb: int, scope: str, expires_at: datetime, external_id: str) -> Movement:
        """Recharge a line out of the gateway's own stock."""
        until = str(_milliseconds(expires_at))
        movement = await self._recharge(msisdn, amount_mb, external_id, scope=scope, valid_until_ms=until)
        _agree(kind=(MovementKind.TOP_UP, movement.kind))
        return movement

    async def find_movement(self, external_id: str) -> Movement | None:
        """Ask what became of our serial number. None is final only once every earlier attempt is surely dead."""
        data = await self._order(external_id)
        return None if data is None else reading.movement(data)

    def read_push(self, body: bytes, now: datetime) -> Push:
        """The status in a signed form that the gateway posted to us.

        Raises:
            ForgedPush: it is not theirs, too old, or makes no sense.
        """
        return reading.push(body, self.profile, now)

    # The gateway's own journal, for reconciliation.

    async def action_page(
        self, since: datetime, until: datetime | None = None, *, offset: int = 0, limit: int = PAGE
    ) -> ActionPage:
        """Lines of the statement from `since` up to but not including `until`, to the millisecond, oldest first."""
        form = {"since_ms": str(_milliseconds(since)), "offset": str(offset), "limit": str(limit)}
        if until is not None:
            form["until_ms"] = str(_milliseconds(until))
        return reading.statement(await self._wire.call("/statement", form))

    async def actions(self, since: datetime, until: datetime | None = None) -> AsyncIterator[Action]:
        """The whole statement of a span of time; take one that lies in the past, as its end moves."""
        offset = 0
        while True:
            page = await self.action_page(since, until, offset=offset)
            for action in page.actions:
                yield action
            offset += len(page.actions)
            if not page.actions or offset >= page.total_count:
                return

    # The person behind the number: a gateway knows nothing of people.

    async def send_code(self, msisdn: str, message: str) -> str:  # noqa: ARG002 - the port's
        _not_offered()

    async def validate_code(self, authentication_id: str, code: str) -> bool:  # noqa: ARG002 - the port's
        _not_offered()

    async def send_sms(self, msisdn: str, text: str) -> None:  # noqa: ARG002 - the port's
        _not_offered()

    async def sim_swapped(self, msisdn: str, max_age_hours: int) -> bool:  # noqa: ARG002 - the port's
        _not_offered()

    async def number_recycled(self, msisdn: str, since: date) -> bool:  # noqa: ARG002 - the port's
        _not_offered()

    async def kyc_match(self, msisdn: str, name: str, id_document: str) -> KycMatch:  # noqa: ARG002 - the port's
        _not_offered()

    async def _order(self, external_id: str) -> Any:
        data = await self._wire.call("/order", {"serial_no": external_id}, may_be_absent=True)
        if data is not None:
            _agree(external_id=(external_id, reading.read(data, reading.Order).serial_no))
        return data

    async def _recharge(self, receiver_msisdn: str, amount_mb: int, external_id: str, **source: str) -> Movement:
        form = {"serial_no": external_id, "phone": _phone(receiver_msisdn), "amount_mb": str(amount_mb), **source}
        if self.profile.notify_url:
            form["notify_url"] = self.profile.notify_url
        try:
            movement = reading.movement(await self._wire.call("/recharge", form))
        except CarrierDuplicate:
            movement = await self._known(external_id, self.find_movement)
        _agree(
            external_id=(external_id, movement.external_id),
            amount_mb=(amount_mb, movement.amount_mb),
            receiver_msisdn=(receiver_msisdn, movement.receiver_msisdn),
        )
        if movement.status is MovementStatus.FAILED:
            raise CarrierRefused("MOVEMENT_FAILED", "The carrier took the instruction and then failed to carry it out.")
        return movement

    async def _known(self, external_id: str, find: Callable[[str], Awaitable[Found | None]]) -> Found:
        """The gateway knows our serial number: what it did is looked up, and the caller compares it."""
        try:
            found = await find(external_id)
        except (CarrierRefused, CarrierUnreachable) as error:
            raise CarrierUnknown(f"the carrier knows our id, but can't be asked for it: {error}") from error
        if found is None:
            raise CarrierUnknown("the carrier says it knows our id, but shows nothing under it")
        return found


def _not_offered() -> NoReturn:
    raise CarrierRefused("NOT_OFFERED", "This carrier does not offer that.")


def _phone(msisdn: str) -> str:
    found = re.fullmatch(r"\+86(1[0-9]{10})", msisdn)
    if found is None:
        raise CarrierRefused("RECEIVER_NOT_ELIGIBLE", "This carrier serves Chinese mobile numbers alone.")
    return found[1]


def _milliseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)


def _agree(**asked_and_said: tuple[object, object]) -> None:
    """Compare what we asked with what the gateway says, field by field."""
    for field, (asked, said) in asked_and_said.items():
        if asked != said:
            raise CarrierMismatch(f"{field}: we asked for {asked}, the carrier says {said}.")
