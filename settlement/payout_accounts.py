"""The accounts that members are paid by: what the provider still wants to know, and whether the bank has changed.

Whoever takes a member's account over at the provider would name a bank of their own.
So after a change nothing is paid out for a day, and the member is told at once.
"""

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.freezing import freeze
from settlement.notices import tell
from settlement.payment_tables import PayoutAccountRow
from settlement.payments.values import PayoutAccount

QUIET = timedelta(hours=24)
"""After the bank account has changed, nothing is paid out for so long."""
DISOWNED = "bank_disowned"
"""The cause of a freeze: the member says that somebody else changed the bank account."""


class NothingToDisown(Exception):
    """No bank account of the party has changed lately."""


async def opened(session: AsyncSession, account_id: str, party_id: int) -> None:
    """Remember whose account it is. The caller commits."""
    made = insert(PayoutAccountRow).values(id=account_id, party_id=party_id)
    await session.execute(made.on_conflict_do_nothing())


async def of_party(session: AsyncSession, party_id: int) -> PayoutAccountRow | None:
    query = select(PayoutAccountRow).where(PayoutAccountRow.party_id == party_id)
    row: PayoutAccountRow | None = await session.scalar(query.order_by(PayoutAccountRow.read_at.desc()).limit(1))
    return row


async def take_in(session: AsyncSession, account: PayoutAccount) -> tuple[PayoutAccountRow | None, bool]:
    """Take in an account as it is at the provider; says also whether its bank has changed. The caller commits.

    Naming a bank for the first time is no change: nobody was paid before.
    """
    query = select(PayoutAccountRow).where(PayoutAccountRow.id == account.id).with_for_update(key_share=True)
    row = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        return None, False
    now = (await session.execute(select(func.now()))).scalar_one()
    banks, is_changed = sorted(account.banks), False
    if banks:
        is_changed = row.banks is not None and row.banks != banks
        row.banks, row.bank_last4 = banks, account.bank_last4
    row.currently_due, row.payouts_enabled, row.read_at = list(account.currently_due), account.payouts_enabled, now
    if is_changed:
        row.changed_at, row.quiet_until, row.disowned_at = now, now + QUIET, None
        facts = {"last4": account.bank_last4, "quiet_until_at": row.quiet_until.isoformat()}
        await tell(session, row.party_id, "bank_changed", "/wallet/payouts", texted=True, **facts)
    return row, is_changed


async def disown(session: AsyncSession, party_id: int) -> PayoutAccountRow:
    """The party says that the change was not theirs: nothing is paid out until an officer has looked.

    Raises:
        NothingToDisown: no bank account has changed since the last quiet time.
    """
    row = await of_party(session, party_id)
    now = (await session.execute(select(func.now()))).scalar_one()
    if row is None or row.quiet_until is None or row.quiet_until <= now or row.changed_at is None:
        raise NothingToDisown(f"Party {party_id} has no bank account that changed lately.")
    row.disowned_at = now
    detail = "The member says that somebody else changed the bank account."
    await freeze(session, party_id, DISOWNED, f"{row.id}/{row.changed_at.isoformat()}", detail)
    return row


async def quiet_until(session: AsyncSession, party_id: int) -> PayoutAccountRow | None:
    """The account whose bank has changed so lately that nothing is paid out to it; none otherwise."""
    query = select(PayoutAccountRow).where(
        PayoutAccountRow.party_id == party_id, PayoutAccountRow.quiet_until > func.now()
    )
    row: PayoutAccountRow | None = await session.scalar(query.limit(1))
    return row
