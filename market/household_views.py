"""A household as its members see it. Numbers of those who belong to it are masked, those of others are not shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.custody import month_start
from market.parties import Member
from market.vault import Vault, mask

_LINES = text("""
    select line.id, line.party_id, line.carrier, line.number_sealed, belongs.joined_at, household.payer_id,
        line_limit.monthly_mb, line_limit.monthly_minor, coalesce(bought.mb, 0)::bigint as bought_mb,
        coalesce(bought.minor, 0)::bigint as bought_minor
    from household_member me join household on household.id = me.household_id
    join household_member belongs on belongs.household_id = household.id
    join line on line.party_id = belongs.party_id and line.state <> 'closed'
    left join line_limit on line_limit.line_id = line.id
    left join lateral (
        select sum(delivery.quantity) as mb, sum(delivery.amount_minor) as minor from trade
        join delivery on delivery.id = trade.id
        where trade.buyer_id in (belongs.party_id, household.payer_id) and trade.at >= :since
            and delivery.receiver_line_id = line.id and delivery.status <> 'refunded'
    ) bought on true
    where me.party_id = :party order by belongs.joined_at, belongs.party_id, line.id
""")
_ASKED = text("""
    select invitation.id, invitation.expires_at, invitation.inviter_id = :party as is_mine, line.number_sealed
    from household_invitation invitation join household_member me on me.household_id = invitation.household_id
    join line on line.id = invitation.line_id
    where me.party_id = :party and invitation.status = 'open' and invitation.expires_at > :now order by invitation.id
""")
# Who asks is known by the line that they have had the longest.
_ASKS = text("""
    select invitation.id, invitation.expires_at, (
        select number_sealed from line where line.party_id = invitation.inviter_id and state <> 'closed'
        order by line.id limit 1
    ) as number_sealed
    from household_invitation invitation
    where invitation.invited_id = :party and invitation.status = 'open' and invitation.expires_at > :now
    order by invitation.id
""")


@dataclass(frozen=True, slots=True)
class HomeLine:
    """One line of the household, with its limit and what was bought for it this month."""

    id: int
    party_id: int
    carrier: str
    masked: str
    is_payers: bool
    is_mine: bool
    monthly_mb: int | None
    monthly_minor: int | None
    bought_mb: int
    bought_minor: int


@dataclass(frozen=True, slots=True)
class Asked:
    """An open invitation. The number is shown to whoever gave it, or, of whom asks, to whoever was asked."""

    id: int
    masked: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Home:
    """All that the page of a member shows."""

    lines: Sequence[HomeLine]
    asked: Sequence[Asked]
    asks: Sequence[Asked]
    is_payer: bool


async def home(session: AsyncSession, vault: Vault, member: Member, now: datetime) -> Home:
    """The member's household, those who were asked to join it, and whose household the member is asked to join."""
    values = {"party": member.party_id, "now": now}
    rows = list(await session.execute(_LINES, {"party": member.party_id, "since": month_start(now)}))
    asked = list(await session.execute(_ASKED, values))
    asks = list(await session.execute(_ASKS, values))
    lines = [
        HomeLine(
            row.id, row.party_id, row.carrier, mask(vault.open(row.number_sealed)), row.party_id == row.payer_id,
            row.party_id == member.party_id, row.monthly_mb, row.monthly_minor, row.bought_mb, row.bought_minor,
        )
        for row in rows
    ]  # fmt: skip
    return Home(
        lines,
        [Asked(row.id, mask(vault.open(row.number_sealed)) if row.is_mine else None, row.expires_at) for row in asked],
        [Asked(row.id, row.number_sealed and mask(vault.open(row.number_sealed)), row.expires_at) for row in asks],
        any(line.is_mine and line.is_payers for line in lines),
    )
