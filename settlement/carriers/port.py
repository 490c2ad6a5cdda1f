"""What the rest of the product asks of a carrier, in whatever dialect it speaks. Each dialect is a module beside this.

Every method raises the errors of `errors.py` and nothing else. `external_id` is ours: under it the carrier can be asked
later what became of a request, and sending a request again under it never does it twice or makes a stranger of it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import Protocol, Self

from settlement.carriers.values import (
    Action,
    ActionPage,
    Bucket,
    CarrierProfile,
    KycMatch,
    Movement,
    Push,
    Reservation,
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a carrier offers beside custody and settling out of it, which every one of them must.

    Whatever is not offered is refused with the code `NOT_OFFERED` when it is asked for all the same.
    """

    codes: bool
    """It texts one-time codes, so its subscribers can sign in."""
    messages: bool
    """It texts notices."""
    sim_swap: bool
    """It says whether a SIM card was changed."""
    recycling: bool
    """It says whether a number was given to somebody else."""
    name_match: bool
    """It says whether a name and a document are those that a number is registered to."""
    transfers: bool
    """It moves data that nobody reserved, from one line to another."""


class CarrierPort(Protocol):
    """One carrier. Open it with `async with`, or call `aclose` when done. All amounts are whole MB."""

    @property
    def profile(self) -> CarrierProfile: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def aclose(self) -> None: ...

    # Custody: what a line has, and setting it aside.

    async def buckets(self, msisdn: str) -> list[Bucket]:
        """The data buckets of a line, expired ones included."""
        ...

    async def reserve(
        self, bucket_id: str, amount_mb: int, expires_at: datetime, external_id: str, msisdn: str
    ) -> Reservation:
        """Set `amount_mb` of a bucket aside until `expires_at` or until it is settled or released."""
        ...

    async def find_reservation(self, external_id: str) -> Reservation | None:
        """The reservation made under our id, in any state, or None when the carrier holds none."""
        ...

    async def release(self, reservation_id: str) -> None:
        """Give a reservation back to its bucket. One that is already gone is as good as released."""
        ...

    # Movements: each has our id, and can be asked for by it.

    async def settle(self, reservation_id: str, receiver_msisdn: str, amount_mb: int, external_id: str) -> Movement:
        """Move `amount_mb` of a reservation to the receiver in one act; scope and original expiry stay."""
        ...

    async def transfer(
        self, bucket_id: str, sender_msisdn: str, receiver_msisdn: str, amount_mb: int, external_id: str
    ) -> Movement:
        """Move `amount_mb` that nobody reserved from one line to another."""
        ...

    async def top_up(self, msisdn: str, amount_mb: int, scope: str, expires_at: datetime, external_id: str) -> Movement:
        """Put `amount_mb` of new data on a line."""
        ...

    async def find_movement(self, external_id: str) -> Movement | None:
        """Ask what became of our id. None is final only once every earlier attempt is surely dead."""
        ...

    def read_push(self, body: bytes, now: datetime) -> Push:
        """The status that a carrier pushed to us, once it is sure to be the carrier's own.

        Raises:
            ForgedPush: it is not theirs, too old or makes no sense, or this carrier pushes nothing.
        """
        ...

    # The carrier's own journal, for reconciliation.

    async def action_page(
        self, since: datetime, until: datetime | None = None, *, offset: int = 0, limit: int = 100
    ) -> ActionPage:
        """Lines of the journal from `since` up to but not including `until`, oldest first."""
        ...

    def actions(self, since: datetime, until: datetime | None = None) -> AsyncIterator[Action]:
        """The whole journal of a span of time; take one that lies in the past, as the end of the journal moves."""
        ...

    # The person behind the number.

    async def send_code(self, msisdn: str, message: str) -> str:
        """Text a one-time code to a number and return the id to check it by; `{{code}}` marks its place."""
        ...

    async def validate_code(self, authentication_id: str, code: str) -> bool:
        """Whether this is the code that was texted. A used-up, expired or blocked one is refused instead."""
        ...

    async def send_sms(self, msisdn: str, text: str) -> None:
        """Text a notice to a number. Sending twice shows it twice."""
        ...

    async def sim_swapped(self, msisdn: str, max_age_hours: int) -> bool:
        """Whether the SIM card was changed within the last `max_age_hours` (1 to 2,400)."""
        ...

    async def number_recycled(self, msisdn: str, since: date) -> bool:
        """Whether the number was given to another subscriber after the day `since`."""
        ...

    async def kyc_match(self, msisdn: str, name: str, id_document: str) -> KycMatch:
        """Compare a name and a document number with the carrier's records; keep the outcome, never the input."""
        ...
