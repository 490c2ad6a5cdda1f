"""Money in on the phone bill: a line pays, its carrier charges, and the wallet gets all of it or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.announcing import announce
from market.engine.commands import SETTLEMENT_WAKE, party_channel
from market.keys import check_key, reused
from market.parties import Line, Member, line_row, lines
from market.purses import ensure_wallet, lock_party, midnight
from market.refusals import BadInput, Conflict, NotAllowed, NotFound, TooMany
from market.venue import Venue
from settlement import phone_bill
from settlement.ledger import InsufficientFunds
from settlement.phone_bill import CANCEL, CONFIRM, NotDecidable, NotRefundable
from settlement.phone_bill_tables import BillPaymentRow

SMALLEST_MINOR = 100
LARGEST_MINOR = 20_000
A_MONTH_MINOR = 50_000
"""What one line may pay on its bill here in a calendar month, whatever its carrier would allow."""
SHOWN = 10
COUNTED = ("requested", "reserved", "charged", "refunding")


@dataclass(frozen=True, slots=True)
class BillPayment:
    """A payment on the phone bill as its owner sees it. Only one that is not decided yet may be confirmed."""

    id: int
    status: str
    decided: bool
    amount_minor: int
    currency: str
    line_id: int
    reason: str | None
    at: datetime
    decide_by: datetime | None


async def payable_lines(venue: Venue, member: Member) -> list[Line]:
    """The member's active lines whose carriers take payments on the phone bill."""
    return [line for line in await lines(venue, member) if line.state == "active" and line.carrier in venue.billing]


async def payments(session: AsyncSession, member: Member) -> Sequence[BillPayment]:
    """The member's latest payments on the phone bill, newest first."""
    query = select(BillPaymentRow).where(BillPaymentRow.party_id == member.party_id)
    return [_told(row) for row in await session.scalars(query.order_by(BillPaymentRow.id.desc()).limit(SHOWN))]


async def payment(venue: Venue, member: Member, payment_id: int) -> BillPayment:
    """One payment as it stands.

    Raises:
        NotFound: there is no such payment of this member.
    """
    async with venue.sessions() as session:
        await _own(session, member, payment_id)
        return _told(await session.get_one(BillPaymentRow, payment_id))


async def top_up(venue: Venue, member: Member, line_id: int, amount_minor: int, key: str) -> BillPayment:
    """Have an amount reserved on a line's bill. The same key finds the same payment.

    Nothing is charged before the member confirms it, and what is not confirmed within a quarter of an hour is let go.

    Raises:
        BadInput: the amount is too small or too large.
        NotFound, Forbidden: the line is not the member's, or can't be used.
        NotAllowed: the line's carrier does not offer it.
        TooMany: the month's limit of the line is reached.
        KeyReused: the key was used for another request.
    """
    check_key(key)
    if not SMALLEST_MINOR <= amount_minor <= LARGEST_MINOR:
        raise BadInput(
            f"One payment on the phone bill is {SMALLEST_MINOR // 100} to {LARGEST_MINOR // 100} yuan.", field="amount"
        )
    async with venue.sessions.begin() as session:
        wallet = await ensure_wallet(session, member.party_id, venue.settings.currency)
        await lock_party(session, member)
        own = select(BillPaymentRow).where(BillPaymentRow.party_id == member.party_id, BillPaymentRow.key == key)
        row = await session.scalar(own)
        if row is None:
            line = await line_row(session, member, line_id)
            if line.carrier not in venue.billing:
                raise NotAllowed("Your carrier does not take payments on the phone bill.", code="no_phone_bill")
            await _check_month(session, line_id, amount_minor)
            row = BillPaymentRow(
                party_id=member.party_id, key=key, line_id=line_id, carrier=line.carrier, account_id=wallet,
                amount_minor=amount_minor, currency=venue.settings.currency, status="requested",
            )  # fmt: skip
            await phone_bill.request(session, row)
            await session.refresh(row)
        elif (row.line_id, row.amount_minor) != (line_id, amount_minor):
            raise reused()
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return _told(row)


async def confirm(venue: Venue, member: Member, payment_id: int) -> BillPayment:
    """Have a reserved payment charged on the bill; the wallet gets it when the carrier has done so.

    Raises:
        NotFound: there is no such payment of this member.
        Conflict: it is not reserved any more, or was let go.
    """
    return await _decide(venue, member, payment_id, CONFIRM)


async def cancel(venue: Venue, member: Member, payment_id: int) -> BillPayment:
    """Let a reserved payment go. Raises as ``confirm`` does."""
    return await _decide(venue, member, payment_id, CANCEL)


async def refund(venue: Venue, member: Member, payment_id: int) -> BillPayment:
    """Take a charged payment off the bill again, out of what is free in the wallet.

    Raises:
        NotFound: there is no such payment of this member.
        Conflict: it was never charged, or was refunded before.
        NotAllowed: the wallet no longer has the money.
    """
    async with venue.sessions.begin() as session:
        await _own(session, member, payment_id)
        try:
            row = await phone_bill.request_refund(session, payment_id)
        except NotRefundable as refused:
            raise Conflict("This payment can't be taken off the bill.", code="not_refundable") from refused
        except InsufficientFunds as refused:
            raise NotAllowed(
                "There is not enough money available in your wallet.", code="insufficient_money"
            ) from refused
        await _write_down(session, member, "refund_phone_bill", row)
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return _told(row)


async def _decide(venue: Venue, member: Member, payment_id: int, decision: str) -> BillPayment:
    async with venue.sessions.begin() as session:
        await _own(session, member, payment_id)
        try:
            row = await phone_bill.decide(session, payment_id, decision)
        except NotDecidable as refused:
            raise Conflict("This payment is not waiting for you any more.", code="not_reserved") from refused
        if decision == CONFIRM:
            await _write_down(session, member, "confirm_phone_bill", row)
    await announce(venue.redis, SETTLEMENT_WAKE, party_channel(member.party_id))
    return _told(row)


async def _write_down(session: AsyncSession, member: Member, act: str, row: BillPaymentRow) -> None:
    detail: audit.Detail = {"amount_minor": row.amount_minor, "currency": row.currency, "line": row.line_id}
    await audit.append(session, audit.party(member.party_id), act, f"bill:{row.id}", detail)


async def _own(session: AsyncSession, member: Member, payment_id: int) -> None:
    owner = await session.scalar(select(BillPaymentRow.party_id).where(BillPaymentRow.id == payment_id))
    if owner != member.party_id:
        raise NotFound("You have no such payment.")


async def _check_month(session: AsyncSession, line_id: int, amount_minor: int) -> None:
    month = midnight(datetime.now(UTC)).replace(day=1)
    taken = select(func.coalesce(func.sum(BillPaymentRow.amount_minor), 0)).where(
        BillPaymentRow.line_id == line_id,
        BillPaymentRow.status.in_(COUNTED),
        BillPaymentRow.created_at >= month,
    )
    if int(await session.scalar(taken) or 0) + amount_minor > A_MONTH_MINOR:
        raise TooMany(
            f"Payments on the phone bill are limited to {A_MONTH_MINOR // 100} yuan a month and line.",
            code="phone_bill_limit",
        )


def _told(row: BillPaymentRow) -> BillPayment:
    return BillPayment(
        row.id, row.status, row.decision is not None, row.amount_minor, row.currency, row.line_id, row.reason,
        row.created_at, row.decide_by,
    )  # fmt: skip
