"""What is kept of lines for carriers' rules: read when a line is first met, written with the batch that changed it."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
import msgspec

from market.engine.caps import Caps, Line, Tally, placed_by
from market.engine.commands import Command, EnactRules, LineFacts, PlaceOrder
from market.engine.desk import Desk
from market.engine.instruments import Instrument
from market.engine.records import Record
from market.rules import RuleProfile
from settlement.accounts import HOUSE

decode_terms = msgspec.json.Decoder(RuleProfile, strict=False).decode

_LINES = """
select line_id, plan, province, day, sent_today, received_today, received_today_mb, sent_month, received_month,
    received_month_mb from line_usage where line_id = any($1::bigint[])
"""
_ENACTED = """
select instrument.id, terms::text from instrument join rule_profile profile on profile.id = rule_profile_id
where instrument.id = any($1::bigint[])
"""
_DUE = """
select instrument.id, profile.id as profile_id, profile.terms::text
from instrument join asset on asset.id = asset_id cross join lateral (
    select id, terms from rule_profile where carrier = asset.carrier and effective_from <= clock_timestamp()
    order by effective_from desc limit 1
) profile
where instrument.id = any($1::bigint[]) and state <> 'closed' and rule_profile_id is distinct from profile.id
order by instrument.id
"""


async def load(
    connection: asyncpg.Connection, desk: Desk, fresh: Sequence[Instrument], waiting: Sequence[Record]
) -> None:
    """Bring what the rules need of instruments that are new to the desk: profiles, and the lines of open orders.

    What is remembered of lines from an earlier time with these instruments is
    forgotten: another engine has served them since.
    """
    caps, ids = desk.caps, {instrument.id for instrument in fresh}
    served = {instrument.carrier for instrument in desk.instruments.values() if instrument.id not in ids}
    back = {instrument.carrier for instrument in fresh} - served
    for line_id in [line_id for line_id, line in caps.lines.items() if line.carrier in back]:
        del caps.lines[line_id]

    for row in await connection.fetch(_ENACTED, list(ids)):
        caps.put(desk.instruments[row["id"]], decode_terms(row["terms"]))
    caps.due += [
        enactment(row["id"], row["profile_id"], decode_terms(row["terms"]))
        for row in await connection.fetch(_DUE, list(ids))
    ]
    await bring(connection, desk, waiting)


async def meet(connection: asyncpg.Connection, desk: Desk, commands: Iterable[Command]) -> None:
    """Bring the lines of a batch's orders that the desk has not met yet."""
    orders = [order for command in commands for order in placed_by(command)]
    if desk.prepared is not None:
        orders += desk.prepared.legs
    await bring(connection, desk, orders)


async def bring(connection: asyncpg.Connection, desk: Desk, orders: Iterable[PlaceOrder | Record]) -> None:
    """Bring lines with what they have moved; one that is not kept has moved nothing."""
    known, instruments = desk.caps.lines, desk.instruments
    wanted = {
        order.line_id: instruments[order.instrument_id].carrier
        for order in orders
        if order.line_id is not None and order.line_id not in known and order.instrument_id in instruments
    }
    if not wanted:
        return
    known.update({line_id: Line(carrier) for line_id, carrier in wanted.items()})
    for row in await connection.fetch(_LINES, list(wanted)):
        line_id, plan, province, day = row[:4]
        facts = None if plan is None else LineFacts(plan, province)
        known[line_id] = Line(wanted[line_id], facts, day, Tally(*row[4:7]), Tally(*row[7:10]))


def enactment(instrument_id: int, profile_id: int, terms: RuleProfile) -> EnactRules:
    """The command that brings a profile in. Its key names what it does: whoever sends it, it is done once."""
    return EnactRules(HOUSE, f"rules-{instrument_id}-{profile_id}", b"", instrument_id, profile_id, terms)


def changed_lines(caps: Caps) -> list[tuple[Any, ...]]:
    """The rows of the lines that a batch has changed."""
    return [
        (
            line_id, line.facts and line.facts.plan, line.facts and line.facts.province, line.day, line.today.sent,
            line.today.received, line.today.received_mb, line.month.sent, line.month.received, line.month.received_mb,
        )
        for line_id, line in sorted(caps.changed.items())
    ]  # fmt: skip
