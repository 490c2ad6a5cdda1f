"""A member's wallet: what is in it, how it came there, and the ways to put money in and take it out."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.assets import COIN
from market.parties import Member
from market.purses import ensure_wallet
from market.top_ups import TopUp, payment_returned, top_up
from market.venue import Venue
from market.withdrawals import Withdrawal, withdraw
from settlement.ledger import Kind

__all__ = [
    "Entry",
    "TopUp",
    "Wallet",
    "Withdrawal",
    "balances",
    "ensure_wallet",
    "payment_returned",
    "statement",
    "top_up",
    "withdraw",
]


@dataclass(frozen=True, slots=True)
class Wallet:
    """What a member can spend and what is set aside: minor units of the currency, and coins."""

    available_minor: int
    held_minor: int
    currency: str
    coins_available: int
    coins_held: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of the wallet's money, in minor units. ``balance_after`` counts what is held as well."""

    id: int
    at: datetime
    kind: str
    reference: str
    available_change: int
    held_change: int
    balance_after: int


_BALANCES = text("""
    select asset.code, account.available, account.held
    from account join asset on asset.id = account.asset_id
    where account.party_id = :party and account.kind = 'wallet' and asset.code in (:currency, :coin)
""")
_STATEMENT = text("""
    with wallet as (
        select account.id, account.available + account.held as balance
        from account join asset on asset.id = account.asset_id
        where account.party_id = :party and account.kind = 'wallet' and asset.kind = 'money'
    ), start as (
        select posting.at, posting.transfer_id from posting join wallet on posting.account_id = wallet.id
        where posting.transfer_id = :before
    ), newer as (
        select coalesce(sum(available_change + held_change), 0) as change
        from posting join wallet on posting.account_id = wallet.id
        where (posting.at, posting.transfer_id) >= (select at, transfer_id from start)
    ), page as (
        select posting.*, wallet.balance from posting join wallet on posting.account_id = wallet.id
        where cast(:before as bigint) is null
            or (posting.at, posting.transfer_id) < (select at, transfer_id from start)
        order by posting.at desc, posting.transfer_id desc limit :limit
    )
    select transfer_id, page.at, kind, reference, available_change, held_change,
        balance - newer.change - coalesce(sum(available_change + held_change) over (
            order by page.at desc, transfer_id desc rows between unbounded preceding and 1 preceding), 0) as after
    from page cross join newer order by page.at desc, transfer_id desc
""")


async def balances(venue: Venue, member: Member) -> Wallet:
    """What the member has. A wallet that was never opened is empty."""
    currency = venue.settings.currency
    async with venue.reads() as session:
        rows = await session.execute(_BALANCES, {"party": member.party_id, "currency": currency, "coin": COIN})
        found = {row.code: (row.available, row.held) for row in rows}
    return Wallet(*found.get(currency, (0, 0)), currency, *found.get(COIN, (0, 0)))


async def statement(session: AsyncSession, member: Member, before: int | None, limit: int) -> list[Entry]:
    """Movements of the member's money, newest first; ``before`` is the id of the last entry that was seen."""
    values = {"party": member.party_id, "before": before, "limit": limit}
    rows = await session.execute(_STATEMENT, values)
    return [
        Entry(
            row.transfer_id, row.at, Kind(row.kind).name.lower(), row.reference, row.available_change, row.held_change,
            int(row.after),
        )
        for row in rows
    ]  # fmt: skip
