"""Data of sellers, set aside at the carrier and mirrored in the books. The caller commits."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from settlement import accounts
from settlement.carriers.errors import CarrierMismatch
from settlement.carriers.values import Reservation, ReservationStatus
from settlement.funding import asset_of, instruct
from settlement.ledger import Kind
from settlement.tables import CustodyRow


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
    if reservation.status is ReservationStatus.PENDING:
        return row

    world = await accounts.house_account(session, "carrier", await asset_of(session, row.account_id))
    ledger = await accounts.lock(session, [row.account_id, world])
    ledger.move(Kind.RESERVED, reference_of(row.id), source=world, target=row.account_id, amount=row.quantity_mb)
    await accounts.save(session, ledger)
    row.status, row.reservation_id = "reserved", reservation.id
    return row


async def refuse_custody(session: AsyncSession, custody_id: int) -> CustodyRow:
    """The carrier reserved nothing. A reservation that turns up after all is given back by the sweep."""
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
        ledger.move(Kind.UNRESERVED, reference_of(row.id), source=account.id, target=world, amount=account.available)
        await accounts.save(session, ledger)
    row.status = "releasing"
    await instruct(session, "release", row.id, row.carrier)
    return True


async def _locked(session: AsyncSession, custody_id: int) -> CustodyRow:
    query = select(CustodyRow).where(CustodyRow.id == custody_id).with_for_update(key_share=True)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise UnknownCustody(f"There is no custody {custody_id}.")
    return row
