"""Data of sellers, set aside at the carrier and mirrored in the books. The caller commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.carriers.errors import CarrierMismatch, CarrierRefused
from settlement.carriers.values import Reservation, ReservationStatus
from settlement.data_gift_tables import DataGiftRow
from settlement.funding import asset_of, instruct
from settlement.instructions import Absent, Done, Outcome
from settlement.ledger import Kind, Ledger
from settlement.ledger_tables import AccountRow
from settlement.line_event_tables import LapsedReservationRow
from settlement.naming import external_id
from settlement.steps import Ended, Loaded, Numbers, Outside, Postponed, Step
from settlement.tables import CustodyRow, DeliveryRow


class UnknownCustody(Exception):
    """There is no such custody."""


def reference_of(custody_id: int) -> str:
    """The ledger's reference for what enters and leaves one custody."""
    return f"cus_{custody_id}"


async def book_reservation(session: AsyncSession, custody_id: int, reservation: Reservation) -> CustodyRow:
    """Take in the carrier's yes: the data enters the seller's custody account once.

    Raises:
        CarrierMismatch: the carrier speaks of another amount or bucket.
    """
    row = await _locked(session, custody_id)
    if row.status not in {"requested", "refused"}:
        return row
    if reservation.status in {ReservationStatus.RELEASED, ReservationStatus.EXPIRED, ReservationStatus.CONSUMED}:
        row.status, row.reservation_id = "refused", reservation.id
        return row
    if (reservation.bucket_id, reservation.amount_mb) != (row.bucket_id, row.quantity_mb):
        raise CarrierMismatch(f"custody {row.id}: {reservation.amount_mb} MB of {reservation.bucket_id} are reserved")
    if reservation.status is not ReservationStatus.PENDING:
        await _take_in(session, [row], {row.id: reservation.id})
    return row


async def book_reservations(session: AsyncSession, names: Mapping[int, str | None]) -> list[CustodyRow]:
    """Take in what the carrier has reserved, each once; ``names`` are its names for the reservations, by custody."""
    query = select(CustodyRow).where(CustodyRow.id.in_(names)).order_by(CustodyRow.id).with_for_update(key_share=True)
    rows = list(await session.scalars(query.execution_options(populate_existing=True)))
    await _take_in(session, [row for row in rows if row.status == "requested"], names)
    return rows


async def _take_in(session: AsyncSession, rows: Sequence[CustodyRow], names: Mapping[int, str | None]) -> None:
    assets = await _assets(session, rows)
    worlds = {asset: await accounts.house_account(session, "carrier", asset) for asset in sorted(set(assets.values()))}
    ledger = await accounts.lock(session, {*assets, *worlds.values()})
    for row in rows:
        world = worlds[assets[row.account_id]]
        ledger.move(Kind.RESERVED, reference_of(row.id), source=world, target=row.account_id, amount=row.quantity_mb)
        row.status, row.reservation_id = "reserved", names[row.id]
    await accounts.save(session, ledger)


async def refuse_custody(session: AsyncSession, custody_id: int) -> CustodyRow:
    """The carrier reserved nothing."""
    row = await _locked(session, custody_id)
    if row.status == "requested":
        row.status = "refused"
    return row


async def give_back(session: AsyncSession, custody_id: int) -> bool:
    """Return a custody that no order uses: out of the books now, at the carrier by an instruction.

    Out of the books first, so that an order that comes late finds nothing to sell.
    Says False, and changes nothing, while an order or a delivery still holds some of it.
    """
    row = await _locked(session, custody_id)
    if row.status != "reserved":
        return row.status in {"releasing", "released"}
    world = await accounts.house_account(session, "carrier", await asset_of(session, row.account_id))
    ledger = await accounts.lock(session, [row.account_id, world])
    account = ledger.accounts[row.account_id]
    if account.held:
        return False
    if account.available:
        kind = Kind.LAPSED if await _lapsed(session, [row.id]) else Kind.UNRESERVED
        ledger.move(kind, reference_of(row.id), source=account.id, target=world, amount=account.available)
        await accounts.save(session, ledger)
    row.status = "releasing"
    await instruct(session, "release", row.id, row.carrier)
    return True


async def lapse(session: AsyncSession, custody_id: int, said: str) -> CustodyRow | None:
    """The carrier no longer holds a reservation that we never released: from now on nothing is left of it.

    ``said`` is the carrier's word for it. The books are emptied as with every custody, once no order or delivery
    holds any of it. Changes nothing, and gives None, when the custody was released meanwhile, or delivered whole.
    """
    row = await _locked(session, custody_id)
    if row.status != "reserved":
        return None
    account = await session.get_one(AccountRow, row.account_id, populate_existing=True)
    missing_mb = account.available + account.held
    if not missing_mb or await session.scalar(select(_pending_of(row.id))):
        return None
    values = {"custody_id": row.id, "carrier": row.carrier, "said": said, "missing_mb": missing_mb}
    await session.execute(insert(LapsedReservationRow).values(values).on_conflict_do_nothing())
    return row


def _pending_of(custody_id: int) -> ColumnElement[bool]:
    """What is on its way may have used the reservation up just now: it says so itself when it ends."""
    return or_(
        exists().where(DeliveryRow.custody_id == custody_id, DeliveryRow.status == "pending"),
        exists().where(DataGiftRow.custody_id == custody_id, DataGiftRow.status == "requested"),
    )


async def _lapsed(session: AsyncSession, custody_ids: Sequence[int]) -> set[int]:
    query = select(LapsedReservationRow.custody_id).where(LapsedReservationRow.custody_id.in_(custody_ids))
    return set(await session.scalars(query))


async def _locked(session: AsyncSession, custody_id: int) -> CustodyRow:
    query = select(CustodyRow).where(CustodyRow.id == custody_id).with_for_update(key_share=True)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise UnknownCustody(f"There is no custody {custody_id}.")
    return row


@dataclass(frozen=True, slots=True)
class Release:
    """A reservation to be given back."""

    custody_id: int
    carrier: str
    reservation_id: str
    reserved_as: str
    """The name under which it was reserved, by which the carrier can be asked for it."""

    @property
    def fingerprint(self) -> str:
        return f"release {self.reservation_id}"

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Release]:
    """Take what nobody sold or holds out of the books. Waits while an order or a delivery still holds some of it."""
    custodies = list(
        await session.scalars(
            select(CustodyRow).where(CustodyRow.id.in_(ids)).order_by(CustodyRow.id).with_for_update(key_share=True)
        )
    )
    assets = await _assets(session, custodies)
    worlds = {asset: await accounts.house_account(session, "carrier", asset) for asset in sorted(set(assets.values()))}
    lapsed = await _lapsed(session, ids)
    ledger = await accounts.lock(session, {*assets, *worlds.values()})

    loaded = {
        row.id: _release(row, ledger, worlds[assets[row.account_id]], mark, lapsed=row.id in lapsed)
        for row in custodies
    }

    await accounts.save(session, ledger)
    return loaded


def _release(row: CustodyRow, ledger: Ledger, world: int, mark: str, *, lapsed: bool) -> Release | Postponed | Done:
    account = ledger.accounts[row.account_id]
    if account.held:
        return Postponed("An order or a delivery still holds some of it.")
    if row.status == "requested":
        return Postponed("The carrier has not said whether it is reserved.")
    if row.status in {"released", "refused"} or (row.status == "reserved" and not account.available):
        return Done()  # all of it was delivered, so nothing is left to release
    if account.available:
        kind = Kind.LAPSED if lapsed else Kind.UNRESERVED
        ledger.move(kind, reference_of(row.id), source=account.id, target=world, amount=account.available)
    row.status = "releasing"
    if lapsed:
        return Done()  # the carrier holds nothing that could be given back
    assert row.reservation_id is not None
    return Release(row.id, row.carrier, row.reservation_id, external_id(mark, "reserve", row.id))


async def send(outside: Outside, release: Release, numbers: Numbers) -> Outcome:
    try:
        await outside.carriers[release.carrier].release(release.reservation_id)
    except CarrierRefused:
        if isinstance(answer := await ask(outside, release, numbers), Done):
            return answer  # it lapsed or was used up: nothing is set aside any more
        raise
    return Done(release.reservation_id)


async def ask(outside: Outside, release: Release, numbers: Numbers) -> Outcome:  # noqa: ARG001 - one shape for all
    found = await outside.carriers[release.carrier].find_reservation(release.reserved_as)
    if found is not None and found.status in {ReservationStatus.HELD, ReservationStatus.PENDING}:
        return Absent()
    return Done(release.reservation_id)


async def book(session: AsyncSession, ended: Sequence[Ended[Release]]) -> set[int]:
    ids = [end.subject_id for end in ended]
    released = update(CustodyRow).where(CustodyRow.id.in_(ids), CustodyRow.status.in_(("reserved", "releasing")))
    return set(await session.scalars(released.values(status="released").returning(CustodyRow.party_id)))


async def _assets(session: AsyncSession, custodies: Sequence[CustodyRow]) -> dict[int, int]:
    wanted = [row.account_id for row in custodies]
    rows = await session.execute(select(AccountRow.id, AccountRow.asset_id).where(AccountRow.id.in_(wanted)))
    return {row.id: row.asset_id for row in rows}


RELEASE = Step("release", load, send, ask, book)
