"""What a member may trade, by how long and how well the house knows them; minors receive and buy, but do not sell."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.allowances import MONTH, Account, Allowance, Level, Terms, allowance
from market.custody import SHANGHAI
from market.parties import Member
from market.refusals import NotAllowed
from market.settings import Settings

# A member's newest trades by index, and no more of them: who trades more often than that in a month is known by now.
_STANDING = text("""
    with traded as (
        (select price_minor * quantity as amount, at from trade where buyer_id = :party order by id desc limit 1000)
        union all
        (select price_minor * quantity, at from trade where seller_id = :party order by id desc limit 1000)
    )
    select party.created_at, identity.party_id is not null as is_named, identity.minor_until,
        exists (select from traded) as has_traded,
        (select coalesce(sum(amount), 0) from traded where at > :since)::bigint
            + (select coalesce(sum(price_minor * open), 0) from open_order where open_order.party_id = party.id)::bigint
            as used_minor
    from party left join identity on identity.party_id = party.id where party.id = :party
""")


@dataclass(frozen=True, slots=True)
class Trust:
    """How well a member is known, and what that allows."""

    level: Level
    allowance: Allowance
    minor_until: date | None

    @property
    def is_minor(self) -> bool:
        return self.minor_until is not None


def _sale_of_a_minor() -> NotAllowed:
    return NotAllowed("Minors may buy and receive, but not sell. This ends on your 18th birthday.", code="minor")


def _more_than_is_left(left_minor: int) -> NotAllowed:
    return NotAllowed(
        f"You may trade {_yuan(left_minor)} yuan more within 30 days. The limit grows with the age of your account,"
        " and with a checked name: see the settings.",
        code="allowance",
        field="lots",
    )


def _too_large_to_begin_with(most_minor: int) -> NotAllowed:
    return NotAllowed(
        f"Your first trade may be {_yuan(most_minor)} yuan at most. Have your name checked in the settings for more.",
        code="allowance",
        field="lots",
    )


def _yuan(minor: int) -> str:
    return f"{minor // 100:,}.{minor % 100:02d}"


async def trust_of(session: AsyncSession, settings: Settings, member: Member) -> Trust:
    """What the house knows of a member, in one statement."""
    now = datetime.now(UTC)
    row = (await session.execute(_STANDING, {"party": member.party_id, "since": now - MONTH})).one()
    level = Level.DOCUMENT if row.is_named else Level.PHONE  # nobody gets here without a phone
    account = Account(now - row.created_at, level, row.has_traded, row.used_minor)
    today = now.astimezone(SHANGHAI).date()
    minor_until = row.minor_until if row.minor_until is not None and row.minor_until > today else None
    terms = Terms(settings.allowance_month_minor, settings.first_trade_minor)
    return Trust(level, allowance(account, terms), minor_until)


async def check(session: AsyncSession, settings: Settings, member: Member, side: str, amount_minor: int) -> None:
    """Let an order pass that its member may place; ``amount_minor`` is what it may come to, with those beside it.

    Raises:
        NotAllowed: a minor wants to sell, or it is more than the member may trade yet.
    """
    if member.kind != "subscriber":
        return
    found = await trust_of(session, settings, member)
    if side == "sell" and found.is_minor:
        raise _sale_of_a_minor()
    allowed = found.allowance
    if not allowed.takes(amount_minor):
        tell = _too_large_to_begin_with if allowed.is_first else _more_than_is_left
        raise tell(allowed.once_minor)
