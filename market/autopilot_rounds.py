"""The autopilot at work: once a day for each line a plan is written down, then done step by step under its keys.

A plan is a row for each action, committed before anything is asked for. Whoever dies in the middle leaves rows without
an outcome; the next round asks for them again under the same keys, and the journal gives the same answer. An action of
a line that was paused meanwhile is not asked for any more: if its order is in the market all the same, it is cancelled.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from market import autopilot, notices, trading, usage, views
from market.assets import asset_id
from market.autopilot_rule import Move, Sight, decide
from market.autopilot_tables import AutopilotActionRow, AutopilotRow
from market.gateway import journaled
from market.line_rooms import rooms
from market.parties import Member, member
from market.refusals import Conflict, OutcomeUnknown, Refusal, Unavailable
from market.rounds import Rounds, beside
from market.selling_spare import MB_PER_GB, Desk, Shelf, shelves
from market.tables import InstrumentRow
from market.trading import OrderRequest
from market.usage_days import SHANGHAI, day_of
from market.venue import Venue
from market.views import InstrumentView
from settlement import accounts
from settlement.accounts import Place
from settlement.failpoints import failpoint
from settlement.ledger_tables import AccountRow

log = structlog.get_logger("surplusflow.autopilot")

LOOK_SECONDS = 30.0
BATCH = 50
UNFINISHED = 200
MORNING = time(5)
"""By then carriers have counted the day before, by the clock that our members live by."""
PATIENCE_SECONDS = 8.0
LOST_AFTER = timedelta(days=1)
"""An order that the journal does not have by then was never taken."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What it would do for a line now, and why: the shelf that it looks at, or what keeps it from looking."""

    moves: Sequence[Move]
    shelf: Shelf | None
    view: InstrumentView | None
    code: str | None = None
    """silent: the carrier does not answer; unknown: no day of use is known; closed: nothing to trade it in."""


class End(NamedTuple):
    """What came of an action, and the order that it was about."""

    outcome: str
    order_id: int | None
    detail: str | None = None


async def outlook(venue: Venue, who: Member, row: AutopilotRow, now: datetime) -> Outlook:
    """Look at the line as it is now, and decide; nothing is changed but the day's reading."""
    seen = await usage.look(venue, who, now, patience_seconds=PATIENCE_SECONDS, only=row.line_id)
    if not seen or seen[0].buckets is None:
        return Outlook((), None, None, "silent")
    async with venue.sessions() as session:
        instruments = await views.instruments(session, now)
        left = await rooms(session, {row.line_id: seen[0].line.carrier}, now)
        room = left.get(row.line_id)
        purse_minor = await _purse(session, venue, who)
        own = await autopilot.standing(session, who.party_id, row.line_id)
    found = [each for each in shelves(seen[0], Desk(instruments, room, now)) if not each.kind.app_scope]
    shelf = next((each for each in found if not each.is_later), None)
    if shelf is None or shelf.forecast is None:
        return Outlook((), shelf, None, "unknown")
    view = shelf.view
    if view is None or room is None:
        return Outlook((), shelf, None, "closed")
    receives = 0 in {room.receipts_today, room.receipts_month}
    room_mb = [each for each in (room.receive_today_mb, room.receive_month_mb) if each is not None]
    affordable = purse_minor // max(1, min(row.cap_minor, view.ceiling_minor))
    most_to_buy = 0 if receives else min([affordable, *(each // view.lot_units for each in room_mb)])
    sight = Sight(shelf.forecast, shelf.covered_mb, shelf.most_lots, most_to_buy)
    here = [each.standing for each in own if each.symbol == view.symbol]
    return Outlook(decide(autopilot.wish_of(row), sight, view, here), shelf, view)


async def _purse(session: AsyncSession, venue: Venue, who: Member) -> int:
    """What is free in the wallet, in minor units."""
    place = Place(who.party_id, await asset_id(session, venue.settings.currency), "wallet")
    found = await accounts.find_or_create(session, [place])
    await session.commit()
    return (await session.get_one(AccountRow, found[place])).available


async def fly(venue: Venue, now: datetime) -> int:
    """One round: finish what was begun, then plan and do what is due; says how many actions were carried out."""
    async with venue.sessions() as session:
        begun = list(await session.scalars(_unfinished()))
        due = list(await session.scalars(_due(now)))
    done = await finish(venue, begun, now)
    for line_id in due:
        try:
            planned = await plan(venue, line_id, now)
        except (Unavailable, OutcomeUnknown) as refusal:
            log.warning("autopilot_waits", line=line_id, code=refusal.code)
            continue
        failpoint("autopilot.planned")
        done += await finish(venue, planned, now)
    return done


def _unfinished() -> Select[int]:
    query = select(AutopilotActionRow.id).where(AutopilotActionRow.outcome.is_(None))
    return query.order_by(AutopilotActionRow.id).limit(UNFINISHED)


def _due(now: datetime) -> Select[int]:
    """Lines whose plan of the day is still to be made; a setting that was just changed is due at any hour."""
    today = day_of(now)
    waits: ColumnElement[bool] = AutopilotRow.planned_on.is_(None)
    if now.astimezone(SHANGHAI).time() >= MORNING:
        waits = or_(waits, AutopilotRow.planned_on < today)
    query = select(AutopilotRow.line_id).where(AutopilotRow.state == "on", waits)
    return query.order_by(AutopilotRow.line_id).limit(BATCH)


async def plan(venue: Venue, line_id: int, now: datetime) -> list[int]:
    """Decide what to do for a line today and write it down; gives the actions' ids.

    What was decided for a setting that was changed meanwhile is forgotten: the next round decides anew.
    """
    async with venue.sessions() as session:
        row = await session.get_one(AutopilotRow, line_id)
        who, version = await member(session, row.party_id), row.version
    found = await outlook(venue, who, row, now)
    if found.code == "silent":
        return []
    async with venue.sessions.begin() as session:
        row = await session.get_one(AutopilotRow, line_id, with_for_update=True)
        if row.state != "on" or row.version != version:
            return []
        row.planned_on, row.looked_at = day_of(now), now
        actions = [_action(row, move, found, number, now) for number, move in enumerate(found.moves)]
        session.add_all(actions)
        await session.flush()
        return [each.id for each in actions]


def _action(row: AutopilotRow, move: Move, found: Outlook, number: int, now: datetime) -> AutopilotActionRow:
    assert found.view is not None
    return AutopilotActionRow(
        line_id=row.line_id,
        party_id=row.party_id,
        day=day_of(now),
        key=f"pilot-{row.line_id}-{row.version}-{day_of(now):%Y%m%d}-{number}-{move.deed}",
        kind=move.deed,
        symbol=found.view.symbol,
        lots=move.lots,
        price_minor=move.price_minor,
        order_id=move.order_id,
    )


async def finish(venue: Venue, action_ids: Sequence[int], now: datetime) -> int:
    """Carry actions out, one after the other; what gets no definite answer stays for the next round."""
    done = 0
    for action_id in action_ids:
        async with venue.sessions() as session:
            action = await session.get_one(AutopilotActionRow, action_id)
            setting = await session.get_one(AutopilotRow, action.line_id)
            who = await member(session, action.party_id)
        if action.outcome is not None:
            continue
        try:
            ended = await _do(venue, who, action, setting, now)
        except OutcomeUnknown:
            continue
        except Refusal as refusal:
            ended = End(refusal.code, action.order_id, refusal.detail)
        if ended is None:
            continue
        failpoint("autopilot.done")
        await _conclude(venue, action_id, ended, now)
        done += 1
    return done


async def _do(
    venue: Venue, who: Member, action: AutopilotActionRow, setting: AutopilotRow, now: datetime
) -> End | None:
    """What came of an action; nothing as long as that is not known."""
    if action.kind in {"sell", "buy"}:
        if setting.state == "on" and action.key.startswith(f"pilot-{setting.line_id}-{setting.version}-"):
            return End("done", await _place(venue, who, action))
        return await _recall(venue, who, action, now)
    assert action.order_id is not None
    try:
        if action.kind == "cancel":
            await trading.cancel(venue, who, action.order_id, action.key)
        else:
            price, lots = action.price_minor, action.lots
            await trading.amend(venue, who, action.order_id, price_minor=price, lots=lots, key=action.key)
    except Conflict:
        return End("ended", action.order_id)
    return End("done", action.order_id)


async def _place(venue: Venue, who: Member, action: AutopilotActionRow) -> int | None:
    request = OrderRequest(
        symbol=action.symbol,
        side="sell" if action.kind == "sell" else "buy",
        lots=action.lots,
        price_minor=action.price_minor,
        line_id=action.line_id,
    )
    placed = await trading.place(venue, who, request, action.key)
    failpoint("autopilot.placed")
    assert placed.answer is not None
    return placed.answer.order_id


async def _recall(venue: Venue, who: Member, action: AutopilotActionRow, now: datetime) -> End | None:
    """Take back an order that shall not be any more, if it was taken all the same; what it had reserved is swept."""
    async with venue.sessions() as session:
        answered = await journaled(session, who.party_id, action.key)
    if answered is None:
        return End("paused", None) if now - action.created_at > LOST_AFTER else None
    answer = answered[1]
    if not answer.accepted or answer.order_id is None:
        return End(answer.code or "refused", None, answer.detail)
    try:
        await trading.cancel(venue, who, answer.order_id, f"{action.key}-back")
    except Conflict:
        return End("done", answer.order_id)
    return End("paused", answer.order_id)


async def _conclude(venue: Venue, action_id: int, ended: End, now: datetime) -> None:
    """Write down what came of it and tell the member. An order that a pause overtook is cancelled at once."""
    async with venue.sessions.begin() as session:
        action = await session.get_one(AutopilotActionRow, action_id)
        setting = await session.get_one(AutopilotRow, action.line_id, with_for_update=True)
        if action.outcome is not None:
            return
        action.outcome, action.order_id, action.detail, action.ended_at = (
            ended.outcome,
            ended.order_id,
            ended.detail,
            now,
        )
        overtaken = setting.state != "on" and ended.outcome == "done" and action.kind in {"sell", "buy"}
        await _tell(session, action)
        await session.flush()
        if not overtaken:
            return
        ending = await autopilot.standing(session, action.party_id, action.line_id)
        rows = [
            autopilot.cancellation(setting, own, f"{action.key}-late", now)
            for own in ending
            if own.standing.order_id == ended.order_id
        ]
        session.add_all(rows)
        await session.flush()
        late = [each.id for each in rows]
    await finish(venue, late, now)


async def _tell(session: AsyncSession, action: AutopilotActionRow) -> None:
    if action.outcome == "paused":
        return
    refused = action.outcome not in {"done", "ended"}
    lot = (
        await session.scalar(select(InstrumentRow.lot_units).where(InstrumentRow.symbol == action.symbol)) or MB_PER_GB
    )
    await notices.tell(
        session,
        action.party_id,
        "pilot_refused" if refused else f"pilot_{action.kind}",
        "/autopilot",
        once=f"pilot-{action.id}",
        amount_mb=action.lots * lot,
        gb_minor=action.price_minor * MB_PER_GB // lot,
    )


def flying(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Fly beside whatever else a program does."""
    return beside(
        venue,
        Rounds("autopilot", lambda venue: fly(venue, datetime.now(UTC)), LOOK_SECONDS),
        Rounds("old readings", _forget, 3_600.0),
    )


async def _forget(venue: Venue) -> None:
    async with venue.sessions.begin() as session:
        await usage.forget(session, datetime.now(UTC))
