"""The community tank as its visitors see it: how full it is, and what a member gave and took."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.custody import month_start

# Every kind of data that is listed and has not expired, by carrier; a tank that nobody has filled is empty.
_LEVELS = text("""
    select asset.code as symbol, asset.kind, asset.carrier, asset.expires_at,
        coalesce(tank.available, 0)::bigint as left_mb
    from asset join instrument on instrument.asset_id = asset.id
    left join account tank on tank.party_id = 1 and tank.kind = 'tank' and tank.asset_id = asset.id
    where asset.kind = 'data' and asset.expires_at > :now and asset.carrier = any(cast(:carriers as text[]))
    order by asset.carrier, asset.expires_at, asset.code
""")
_TAKEN = text("""
    select line.id, coalesce(taken.amount_mb, 0)::bigint from line left join lateral (
        select sum(gift.amount_mb) as amount_mb from tank_withdrawal withdrawal
        join data_gift gift on gift.withdrawal_id = withdrawal.id
        where withdrawal.line_id = line.id and withdrawal.created_at >= :since and gift.status <> 'refused'
    ) taken on true
    where line.party_id = :party
""")
_GIVEN = text("""
    select 'tank' as what, asset.code as symbol, asset.kind, asset.carrier, deposit.amount_mb, deposit.created_at as at,
        case when ended_at is null then 'open' else 'done' end as status,
        coalesce(moved.amount_mb, 0)::bigint as moved_mb, deposit.returned_mb, null as reason
    from tank_deposit deposit join asset on asset.id = deposit.asset_id left join lateral (
        select sum(gift.amount_mb) as amount_mb from data_gift gift
        where gift.custody_id = deposit.custody_id and gift.status = 'done'
    ) moved on true
    where deposit.id in (select id from tank_deposit where party_id = :party order by id desc limit :limit)
    union all
    select purpose, asset.code, asset.kind, gift.carrier, gift.amount_mb, gift.created_at, gift.status,
        case gift.status when 'done' then gift.amount_mb else 0 end, 0, gift.reason
    from data_gift gift join account on account.id = gift.account_id join asset on asset.id = account.asset_id
    where gift.id in (
        select id from data_gift where giver_id = :party and purpose <> 'tank' order by created_at desc limit :limit
    )
    order by at desc limit :limit
""")
_GOT = text("""
    select 'tank' as what, asset.code as symbol, asset.kind, asset.carrier, withdrawal.amount_mb,
        withdrawal.created_at as at,
        case when bool_or(gift.status = 'requested') then 'requested'
            when bool_and(gift.status = 'refused') then 'refused' else 'done' end as status,
        coalesce(sum(gift.amount_mb) filter (where gift.status = 'done'), 0)::bigint as moved_mb, 0 as returned_mb,
        min(gift.reason) as reason
    from tank_withdrawal withdrawal join asset on asset.id = withdrawal.asset_id
    join data_gift gift on gift.withdrawal_id = withdrawal.id
    where withdrawal.id in (select id from tank_withdrawal where party_id = :party order by id desc limit :limit)
    group by withdrawal.id, asset.id order by withdrawal.id desc
""")


@dataclass(frozen=True, slots=True)
class Level:
    """What is left in the tank of one kind of data, in MB."""

    symbol: str
    kind: str
    carrier: str
    expires_at: datetime
    left_mb: int


@dataclass(frozen=True, slots=True)
class Move:
    """What a member gave or took. ``what`` is tank, friend or charity; a deposit is open while it is in the tank."""

    what: str
    symbol: str
    kind: str
    carrier: str
    amount_mb: int
    at: datetime
    status: str
    moved_mb: int
    """What has reached somebody's line."""
    returned_mb: int
    reason: str | None


async def levels(session: AsyncSession, carriers: Sequence[str], now: datetime) -> list[Level]:
    """How full the tanks of these carriers are."""
    rows = await session.execute(_LEVELS, {"carriers": list(carriers), "now": now})
    return [Level(*row) for row in rows]


async def taken(session: AsyncSession, party_id: int, now: datetime) -> dict[int, int]:
    """What each line of a member has taken out of the tank this month, in MB."""
    rows = await session.execute(_TAKEN, {"party": party_id, "since": month_start(now)})
    return {line_id: amount_mb for line_id, amount_mb in rows}  # noqa: C416 - rows are no pairs to the type checker


async def given(session: AsyncSession, party_id: int, limit: int) -> list[Move]:
    """What a member gave, newest first: to the tank, to friends and to charity."""
    return [Move(*row) for row in await session.execute(_GIVEN, {"party": party_id, "limit": limit})]


async def got(session: AsyncSession, party_id: int, limit: int) -> list[Move]:
    """What a member took out of the tank, newest first."""
    return [Move(*row) for row in await session.execute(_GOT, {"party": party_id, "limit": limit})]
