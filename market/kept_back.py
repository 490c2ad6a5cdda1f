"""What of a wallet may be spent but not withdrawn yet: what is disputed, and money off the phone bill."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from market import case_views
from settlement.card_tables import ClawbackRow
from settlement.tables import PaymentRow


@dataclass(frozen=True, slots=True)
class KeptBack:
    """Amounts in minor units. ``phone_bill_until`` is when the last of the phone bill's part is free."""

    disputed_minor: int
    phone_bill_minor: int
    phone_bill_until: datetime | None

    @property
    def minor(self) -> int:
        return self.disputed_minor + self.phone_bill_minor


async def kept_back(session: AsyncSession, party_id: int, now: datetime, wait_days: int) -> KeptBack:
    """What a party can't withdraw at this moment, whatever is free.

    A dispute that its bank has announced may take the money any day, and so may officers
    who decide a case. A carrier may reverse a charge on the bill as long as the bill is fresh.
    """
    disputed = (
        select(func.coalesce(func.sum(ClawbackRow.amount_minor), 0))
        .join(PaymentRow, PaymentRow.id == ClawbackRow.payment_id)
        .where(PaymentRow.party_id == party_id, ClawbackRow.kind == "dispute", ClawbackRow.status == "noticed")
    )
    wait = timedelta(days=wait_days)
    billed = text("""
        select coalesce(sum(amount_minor), 0) as minor, max(created_at) as latest from bill_payment
        where party_id = :party and status = 'charged' and created_at > :since
    """)
    disputed_minor = int(await session.scalar(disputed) or 0) + await case_views.kept_back(session, party_id)
    row = (await session.execute(billed, {"party": party_id, "since": now - wait})).one()
    return KeptBack(disputed_minor, int(row.minor), row.latest + wait if row.minor else None)
