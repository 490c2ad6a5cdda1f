"""What a household's payer lets be bought for each line in a month, and whose lines a payer may buy for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from market.custody import month_start
from market.household_tables import HouseholdMemberRow, HouseholdRow
from market.parties import Member, member
from market.refusals import TooMany
from market.tables import LineRow
from market.venue import Venue

# Bounded by the month: trades by their buyer, then what still waits in the book. Whatever was refunded was not bought.
_BOUGHT = text("""
    select coalesce(sum(amount_mb), 0)::bigint as amount_mb, coalesce(sum(amount_minor), 0)::bigint as amount_minor
    from (
        select delivery.quantity as amount_mb, delivery.amount_minor from trade
        join delivery on delivery.id = trade.id
        where trade.buyer_id = any(cast(:parties as bigint[])) and trade.at >= :since
            and delivery.receiver_line_id = :line and delivery.status <> 'refunded'
        union all
        select open * lot_units, open * price_minor from open_order join instrument on instrument.id = instrument_id
        where party_id = any(cast(:parties as bigint[])) and side = 1 and line_id = :line
    ) bought
""")
_LIMIT = text("""
    select line_limit.monthly_mb, line_limit.monthly_minor, line.party_id, household.payer_id
    from line_limit join line on line.id = line_limit.line_id
    join household on household.id = line_limit.household_id where line_limit.line_id = :line
""")
_PURCHASE = text("""
    select line_id, quantity, open, open_order.price_minor, lot_units
    from open_order join instrument on instrument.id = instrument_id
    where open_order.id = :order and party_id = :party and side = 1 and line_id is not null
""")


@dataclass(frozen=True, slots=True)
class Amount:
    """Data and money, of which either may be without limit."""

    mb: int | None
    minor: int | None


def check_limit(limit: Amount, bought_mb: int, bought_minor: int) -> None:
    """Refuse what goes, with all that was bought for the line this month, beyond its limit.

    Raises:
        TooMany: it does.
    """
    if limit.mb is not None and bought_mb > limit.mb:
        raise TooMany(
            f"Your household lets {limit.mb:,} MB a month be bought for this line; this would be more.",
            code="line_limit_data",
            field="lots",
        )
    if limit.minor is not None and bought_minor > limit.minor:
        raise TooMany(
            "This would cost more than your household lets be spent on this line in a month.",
            code="line_limit_money",
            field="lots",
        )


@dataclass(slots=True)
class Quota:
    """Watches one member's purchases, all that are asked for together, over the lines that they are for.

    A purchase counts with what it may cost at the most. Two that are placed at the same moment do not see each other.
    """

    session: AsyncSession
    member: Member
    _asked: dict[int, tuple[int, int]] = field(default_factory=dict)

    async def owner_of(self, line_id: int | None) -> Member:
        """Whose line a purchase is for: the member's, or one of the household that the member pays for."""
        if line_id is None:
            return self.member
        owner_id = await self.session.scalar(
            select(LineRow.party_id)
            .join(HouseholdMemberRow, HouseholdMemberRow.party_id == LineRow.party_id)
            .join(HouseholdRow, HouseholdRow.id == HouseholdMemberRow.household_id)
            .where(LineRow.id == line_id, HouseholdRow.payer_id == self.member.party_id)
        )
        if owner_id is None or owner_id == self.member.party_id:
            return self.member
        return await member(self.session, owner_id)

    async def check(self, line_id: int, amount_mb: int, amount_minor: int) -> None:
        """Refuse a purchase beyond the limit of its line, if it has one.

        Raises:
            TooMany: it is beyond it.
        """
        found = (await self.session.execute(_LIMIT, {"line": line_id})).one_or_none()
        if found is None:
            return
        before_mb, before_minor = self._asked.get(line_id, (0, 0))
        asked = self._asked[line_id] = before_mb + amount_mb, before_minor + amount_minor
        mb, minor = await bought(self.session, [found.party_id, found.payer_id], line_id, datetime.now(UTC))
        check_limit(Amount(found.monthly_mb, found.monthly_minor), mb + asked[0], minor + asked[1])


async def check_amended(venue: Venue, member: Member, order_id: int, *, price_minor: int, lots: int) -> None:
    """Refuse to let a purchase grow beyond the limit of its line.

    Raises:
        TooMany: it would.
    """
    async with venue.sessions() as session:
        order = (await session.execute(_PURCHASE, {"order": order_id, "party": member.party_id})).one_or_none()
        if order is None:
            return
        more_mb = (lots - order.quantity) * order.lot_units
        more_minor = price_minor * (lots - order.quantity + order.open) - order.price_minor * order.open
        if more_mb > 0 or more_minor > 0:
            await Quota(session, member).check(order.line_id, more_mb, more_minor)


async def bought(session: AsyncSession, parties: Sequence[int], line_id: int, now: datetime) -> tuple[int, int]:
    """What was bought for a line in the carrier's month, in MB and minor units; what waits in the book included."""
    values = {"parties": list(parties), "line": line_id, "since": month_start(now)}
    found = (await session.execute(_BOUGHT, values)).one()
    return found.amount_mb, found.amount_minor
