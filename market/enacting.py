"""A carrier's new rules: when they come into force in the matching, and what they would end, told before they do."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market import listing
from market.database import connect, sessions
from market.engine.caps import Caps, Line, LineGuard, Tally
from market.engine.commands import Command, LineFacts
from market.engine.lines import enactment
from market.engine.times import microseconds
from market.engine.traits import Stored
from market.rules import RuleProfile
from market.settings import Settings
from matching.orders import Side

_DUE = text("""
    select instrument.id, profile.id as profile_id, profile.terms
    from instrument join asset on asset.id = asset_id cross join lateral (
        select id, terms from rule_profile where carrier = asset.carrier and effective_from <= :now
        order by effective_from desc limit 1
    ) profile
    where state <> 'closed' and rule_profile_id is distinct from profile.id order by instrument.id
""")
_OPEN = text("""
    select open_order.id, instrument_id, side, open, traits, line_id, lot_units, asset.expires_at
    from open_order join instrument on instrument.id = instrument_id join asset on asset.id = asset_id
    where asset.carrier = :carrier order by open_order.id
""")
_LINES = text("""
    select line_id, plan, province, day, sent_today, received_today, received_today_mb, sent_month, received_month,
        received_month_mb
    from line_usage where line_id in (
        select line_id from open_order join instrument on instrument.id = instrument_id
        join asset on asset.id = asset_id where asset.carrier = :carrier
    )
""")


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule profile would end if it came into force now: orders by number, each with the rule that ends it."""

    open_orders: int
    ending: dict[int, str]

    @property
    def reasons(self) -> dict[str, int]:
        """How many orders each rule would end, the most first."""
        return dict(Counter(self.ending.values()).most_common())


async def due(session: AsyncSession, now: datetime) -> list[Command]:
    """What brings the profiles in force at a moment into the matching, where it still follows another or none."""
    return [
        enactment(instrument_id, profile_id, msgspec.convert(terms, RuleProfile, strict=False))
        for instrument_id, profile_id, terms in await session.execute(_DUE, {"now": now})
    ]


async def preview(session: AsyncSession, carrier: str, terms: RuleProfile, now: datetime) -> Preview:
    """What these rules would end of the carrier's open orders, by what its lines have moved up to now.

    An order that is linked to one of these ends with it and is not counted here.
    """
    caps = Caps()
    caps.begin(microseconds(now))
    for row in await session.execute(_LINES, {"carrier": carrier}):
        facts = None if row.plan is None else LineFacts(row.plan, row.province)
        caps.lines[row.line_id] = Line(carrier, facts, row.day, Tally(*row[4:7]), Tally(*row[7:10]))
    guards: dict[int, LineGuard] = {}
    ending, count = {}, 0
    for row in await session.execute(_OPEN, {"carrier": carrier}):
        count += 1
        if row.instrument_id not in guards:
            expires_us = None if row.expires_at is None else microseconds(row.expires_at)
            guards[row.instrument_id] = LineGuard(caps, terms, lot_mb=row.lot_units, expires_us=expires_us)
        traits = None if row.traits is None else msgspec.convert(row.traits, Stored).traits
        reason = guards[row.instrument_id].doomed(Side(row.side), row.line_id, row.open, traits)
        if reason is not None:
            ending[row.id] = reason
    return Preview(count, ending)


def preview_programme(settings: Settings, content: str) -> str:
    """Say of each rule profile of a TOML file how many open orders it would end, and why; nothing is changed.

    Raises:
        BadInput: the file can't be listed.
    """
    read = listing.programme(content)
    return "\n".join(asyncio.run(_preview(settings, read)))


async def _preview(settings: Settings, read: listing.Programme) -> list[str]:
    engine = connect(settings.database_url, pool_size=2)
    said = []
    try:
        async with sessions(engine)() as session:
            for rules in read.rules:
                found = await preview(session, rules.carrier, rules.terms, datetime.now(UTC))
                said.append(f"{rules.carrier}: {len(found.ending)} of {found.open_orders} open orders would end.")
                said += [f"  {count:>8} {reason}" for reason, count in found.reasons.items()]
    finally:
        await engine.dispose()
    return said or ["The file has no rule profiles."]
