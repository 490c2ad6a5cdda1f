"""What carriers' rules leave several lines to do, read in two statements however many lines there are."""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from market.engine.caps import Line, Tally, day_of
from market.engine.times import microseconds
from market.headroom import Headroom, headroom
from market.line_tables import LineUsageRow
from market.rules import RuleProfile

_IN_FORCE = text("""
    select distinct on (carrier) carrier, terms from rule_profile
    where carrier = any(:carriers) and effective_from <= :now order by carrier, effective_from desc
""")


async def rooms(session: AsyncSession, lines: Mapping[int, str], now: datetime) -> dict[int, Headroom]:
    """By line, given with its carrier; lines whose carrier has no rules in force are left out."""
    found = await session.execute(_IN_FORCE, {"carriers": sorted(set(lines.values())), "now": now})
    profiles = {row.carrier: msgspec.convert(row.terms, RuleProfile, strict=False) for row in found}
    counted = select(LineUsageRow).where(LineUsageRow.line_id.in_(lines))
    moved = {row.line_id: _moved(row, now) for row in await session.scalars(counted)}
    return {
        line_id: headroom(profiles[carrier], (each := moved.get(line_id, Line())).today, each.month)
        for line_id, carrier in lines.items()
        if carrier in profiles
    }


def _moved(row: LineUsageRow, now: datetime) -> Line:
    today = Tally(row.sent_today, row.received_today, row.received_today_mb)
    month = Tally(row.sent_month, row.received_month, row.received_month_mb)
    line = Line(None, None, row.day, today, month)
    line.roll(day_of(microseconds(now)))
    return line
