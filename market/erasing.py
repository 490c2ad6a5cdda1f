"""Deleting an account: refused while anything is still open; then the person goes, and the books stay as they are."""

from datetime import UTC, datetime

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, step_up
from market.parties import Member, former_hash
from market.payout_tables import PayoutScheduleRow
from market.purses import lock_party
from market.refusals import NotAllowed
from market.signed_in import sign_out_everywhere
from market.tables import ApiKeyRow, LineRow, PartyRow
from market.trust_tables import IdentityRow, PasskeyRow
from market.venue import Venue
from settlement.notice_tables import NoticeRow

# Each by index, and each looks for one row.
_OPEN = text("""
    select
        exists (select from open_order where party_id = :party) as orders,
        exists (
            select from account join asset on asset.id = account.asset_id
            where party_id = :party and asset.kind = 'money' and (available <> 0 or held <> 0)
        ) as money,
        exists (
            select from account join asset on asset.id = account.asset_id
            where party_id = :party and asset.kind <> 'money' and (available <> 0 or held <> 0)
        ) as goods,
        exists (
            select from (
                (select id from trade where buyer_id = :party order by id desc limit 1000)
                union all (select id from trade where seller_id = :party order by id desc limit 1000)
            ) own join delivery on delivery.id = own.id where delivery.status in ('pending', 'delivered')
        ) as trades,
        exists (select from payout where party_id = :party and status in ('requested', 'transferred')) as payouts,
        exists (
            select from payment where party_id = :party
                and status in ('requested', 'requires_action', 'authorised', 'unknown')
        ) as payments,
        exists (
            select from member_case join trade on trade.id = member_case.trade_id
            where member_case.status = 'open' and :party in (buyer_id, seller_id)
        ) as cases,
        exists (select from household_member where party_id = :party)
            or exists (select from household where payer_id = :party) as household
""")


class StillOpen(NotAllowed):
    """Something keeps the account; ``reasons`` names what, as `reasons_to_stay` does."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("Your account can't be deleted yet.", code="still_open")
        self.reasons = reasons


async def reasons_to_stay(session: AsyncSession, party_id: int) -> list[str]:
    """What keeps an account from being deleted: orders, money, goods, trades, and so on; nothing when it can be."""
    row = (await session.execute(_OPEN, {"party": party_id})).one()
    return [name for name, is_open in row._mapping.items() if is_open]  # noqa: SLF001 - SQLAlchemy's public name for it


async def erase(venue: Venue, member: Member) -> None:
    """Take the person out of the account for good: numbers, name, passkeys, notices. What was traded stays booked.

    Whoever signs in with one of its numbers afterwards is a new member.

    Raises:
        StepUpNeeded: the session has to prove itself first.
        StillOpen: there is something left to end.
    """
    await step_up.demand(venue, member, step_up.DELETION)
    async with venue.sessions.begin() as session:
        await lock_party(session, member)
        if reasons := await reasons_to_stay(session, member.party_id):
            raise StillOpen(reasons)
        for line in await session.scalars(select(LineRow).where(LineRow.party_id == member.party_id)):
            line.state, line.verified_at = "closed", None
            line.number_hash, line.number_sealed = former_hash(venue.vault, line.id), venue.vault.seal("")
        for table in (PasskeyRow, IdentityRow, NoticeRow, PayoutScheduleRow):
            await session.execute(delete(table).where(table.party_id == member.party_id))
        now = datetime.now(UTC)
        keys = update(ApiKeyRow).where(ApiKeyRow.party_id == member.party_id, ApiKeyRow.revoked_at.is_(None))
        await session.execute(keys.values(revoked_at=now))
        gone = {"name": "", "erased_at": now, "customer_reference": None, "payout_reference": None}
        await session.execute(update(PartyRow).where(PartyRow.id == member.party_id).values(gone))
        subject = audit.party(member.party_id)
        await audit.append(session, subject, "erased", subject, {})
    await sign_out_everywhere(venue.redis, audit.party(member.party_id))
