"""The autopilot's settings: what a member lets it do on a line, and how it is switched on, paused and off.

What it decides is in `autopilot_rule.py`, how it is carried out in `autopilot_rounds.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit
from market.autopilot_rule import Standing, Wish
from market.autopilot_tables import AutopilotActionRow, AutopilotRow
from market.parties import Member, line_row
from market.refusals import BadInput, NotFound
from market.usage_days import day_of
from market.venue import Venue

State = Literal["on", "paused", "off"]
MOST_MB = 1_000_000
MOST_MINOR = 100_000_000


@dataclass(frozen=True, slots=True)
class Own:
    """An open order of the autopilot, with the market it is in."""

    standing: Standing
    symbol: str
    party_id: int


def wish_of(row: AutopilotRow) -> Wish:
    return Wish(row.sells, row.buys, row.sell_down_to_mb, row.buy_up_to_mb, row.floor_minor, row.cap_minor)


_OF_PARTY = select(AutopilotRow).where(AutopilotRow.party_id == bindparam("party_id")).order_by(AutopilotRow.line_id)


async def settings_of(session: AsyncSession, member: Member) -> Sequence[AutopilotRow]:
    """The member's settings, by line; a line without one is off."""
    return list(await session.scalars(_OF_PARTY, {"party_id": member.party_id}))


async def log_of(
    session: AsyncSession, member: Member, line_id: int, before: int | None, limit: int
) -> Sequence[AutopilotActionRow]:
    """What it did on a line, newest first; ``before`` is the last id of the page before."""
    query = select(AutopilotActionRow).where(
        AutopilotActionRow.line_id == line_id, AutopilotActionRow.party_id == member.party_id
    )
    if before is not None:
        query = query.where(AutopilotActionRow.id < before)
    return list(await session.scalars(query.order_by(AutopilotActionRow.id.desc()).limit(limit)))


# From the party's open orders, which are few, to the actions that placed them.
_STANDING = text("""
    select open_order.id, side, quantity, open, open_order.price_minor, instrument.symbol, open_order.party_id
    from open_order
    join autopilot_action action on action.order_id = open_order.id and action.kind in ('sell', 'buy')
    join instrument on instrument.id = instrument_id
    where open_order.party_id = :party and action.line_id = :line order by open_order.id
""")


async def standing(session: AsyncSession, party_id: int, line_id: int) -> list[Own]:
    """The orders of the autopilot that are open for a line."""
    rows = await session.execute(_STANDING, {"party": party_id, "line": line_id})
    return [
        Own(
            Standing(row.id, "buy" if row.side == 1 else "sell", row.quantity, row.open, row.price_minor),
            row.symbol,
            row.party_id,
        )
        for row in rows
    ]


def check_wish(wish: Wish) -> None:
    """Refuse a setting that makes no sense, in words.

    Raises:
        BadInput: naming the field.
    """
    if not (wish.sells or wish.buys):
        raise BadInput("Choose selling, buying or both.", field="sells")
    for field, amount_mb in (("buy_up_to", wish.buy_up_to_mb), ("sell_down_to", wish.sell_down_to_mb)):
        if not 0 <= amount_mb <= MOST_MB:
            raise BadInput("Please enter an amount of data that a line could have.", field=field)
    if wish.sell_down_to_mb < wish.buy_up_to_mb:
        raise BadInput("What stays when it sells must not be less than what it buys up to.", field="sell_down_to")
    if not 0 < wish.floor_minor <= MOST_MINOR:
        raise BadInput("Please enter an amount above zero.", field="floor")
    if not 0 < wish.cap_minor <= MOST_MINOR:
        raise BadInput("Please enter an amount above zero.", field="cap")


async def switch_on(venue: Venue, member: Member, line_id: int, wish: Wish, now: datetime) -> None:
    """Let it work on a line by these limits, from the next round on. Doing it again changes the limits.

    Raises:
        BadInput: a limit makes no sense.
        NotFound: the line is somebody else's.
        Forbidden: the line may not be used.
    """
    check_wish(wish)
    async with venue.sessions.begin() as session:
        await line_row(session, member, line_id)
        row = await session.get(AutopilotRow, line_id, with_for_update=True)
        if row is None:
            row = AutopilotRow(line_id=line_id, party_id=member.party_id, version=0)
            session.add(row)
        row.state, row.party_id, row.planned_on = "on", member.party_id, None
        row.sells, row.buys = wish.sells, wish.buys
        row.sell_down_to_mb, row.buy_up_to_mb = wish.sell_down_to_mb, wish.buy_up_to_mb
        row.floor_minor, row.cap_minor = wish.floor_minor, wish.cap_minor
        row.version, row.changed_at = row.version + 1, now
        await _note(session, member, row)


async def switch(venue: Venue, member: Member, line_id: int, state: State, now: datetime) -> list[int]:
    """Pause it, end the pause, or switch it off. But for going on, its open orders are cancelled.

    The cancellations are written down with the switch; gives their ids for `autopilot_rounds.finish`, which
    carries them out at once. A round does it when this process dies before.

    Raises:
        NotFound: it was never on for this line.
    """
    async with venue.sessions.begin() as session:
        row = await session.get(AutopilotRow, line_id, with_for_update=True)
        if row is None or row.party_id != member.party_id:
            raise NotFound("The autopilot was never on for this line.")
        row.state, row.planned_on = state, None
        row.version, row.changed_at = row.version + 1, now
        await _note(session, member, row)
        ending = [] if state == "on" else await standing(session, member.party_id, line_id)
        rows = [
            cancellation(row, own, f"pilot-{line_id}-{row.version}-end-{own.standing.order_id}", now) for own in ending
        ]
        session.add_all(rows)
        await session.flush()
        return [each.id for each in rows]


def cancellation(row: AutopilotRow, own: Own, key: str, now: datetime) -> AutopilotActionRow:
    """The action that takes an order of the autopilot off the market."""
    return AutopilotActionRow(
        line_id=row.line_id,
        party_id=row.party_id,
        day=day_of(now),
        key=key,
        kind="cancel",
        symbol=own.symbol,
        lots=0,
        price_minor=own.standing.price_minor,
        order_id=own.standing.order_id,
    )


async def _note(session: AsyncSession, member: Member, row: AutopilotRow) -> None:
    detail: audit.Detail = {"line": row.line_id, "state": row.state, "version": row.version}
    await audit.append(session, audit.party(member.party_id), "autopilot", f"line:{row.line_id}", detail)
