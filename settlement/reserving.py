"""A seller's data set aside at the carrier: by whoever waits for it, or by a worker when they are gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import custody
from settlement.carriers.values import Reservation, ReservationStatus
from settlement.instructions import Absent, Contradicted, Done, Lost, Outcome, Refused, seconds
from settlement.naming import external_id
from settlement.steps import Ended, Loaded, Numbers, Outside, Step
from settlement.tables import CustodyRow

SENDS = 3
"""Attempts that came to nothing, of which none can take effect any more: then nobody waits for it longer."""
OVER = frozenset({ReservationStatus.RELEASED, ReservationStatus.EXPIRED, ReservationStatus.CONSUMED})


@dataclass(frozen=True, slots=True)
class Reserved(Done):
    """The carrier holds it."""

    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True)
class Reserve:
    """Data to be set aside in a bucket of a line."""

    custody_id: int
    external_id: str
    carrier: str
    line_id: int
    bucket_id: str
    quantity_mb: int
    expires_at: datetime

    @property
    def fingerprint(self) -> str:
        return f"{self.external_id} {self.bucket_id} {self.quantity_mb}"

    @property
    def lines(self) -> tuple[int, ...]:
        return (self.line_id,)


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Reserve]:
    rows = await session.scalars(select(CustodyRow).where(CustodyRow.id.in_(ids)))
    return {
        row.id: Done(row.reservation_id)
        if row.status != "requested"
        else Reserve(
            custody_id=row.id,
            external_id=external_id(mark, "reserve", row.id),
            carrier=row.carrier,
            line_id=row.line_id,
            bucket_id=row.bucket_id,
            quantity_mb=row.quantity_mb,
            expires_at=row.expires_at,
        )
        for row in rows
    }


async def send(outside: Outside, one: Reserve, numbers: Numbers) -> Outcome:
    number = numbers.get(one.line_id)
    if number is None:
        return Refused("the line has no number any more", ours=True)
    carrier = outside.carriers[one.carrier]
    reservation = await carrier.reserve(one.bucket_id, one.quantity_mb, one.expires_at, one.external_id, number)
    return _outcome(one, reservation)


async def ask(outside: Outside, one: Reserve, numbers: Numbers) -> Outcome:  # noqa: ARG001 - one shape for all
    found = await outside.carriers[one.carrier].find_reservation(one.external_id)
    return Absent() if found is None else _outcome(one, found)


def _outcome(one: Reserve, reservation: Reservation) -> Outcome:
    if reservation.status in OVER:
        return Refused(f"the carrier holds nothing of it any more: {reservation.status.value}")
    if (reservation.bucket_id, reservation.amount_mb) != (one.bucket_id, one.quantity_mb):
        return Contradicted(f"The carrier reserved {reservation.amount_mb} MB of {reservation.bucket_id}.")
    if reservation.status is ReservationStatus.PENDING:
        return Lost("the carrier has accepted it and is at work", soon=True)
    return Reserved(reservation.id, reservation=reservation)


async def book(session: AsyncSession, ended: Sequence[Ended[Reserve]]) -> set[int]:
    """The data enters the seller's custody. What two persons say is reserved stands under the name that they give."""
    names = {end.subject_id: end.done.reference for end in ended}
    return {row.party_id for row in await custody.book_reservations(session, names)}


async def undo(session: AsyncSession, ended: Sequence[Ended[Reserve]]) -> set[int]:
    """Nothing was set aside."""
    return {(await custody.refuse_custody(session, end.subject_id)).party_id for end in ended}


RESERVE = Step("reserve", load, send, ask, book, undo, gives_up=True, delays=seconds(2, 15), sends=SENDS)
