"""How far one trade has come, step by step with times, as its buyer or its seller may know it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.views import TradeView
from settlement.reopening_tables import ReopeningRow

How = Literal["reached", "waiting", "ahead", "failed"]

# A trade in a bundle is moved by the bundle's instruction; what follows a card payment is its newest step.
_FACTS = text("""
    select coalesce(b.status, s.status) as move_status, coalesce(b.attempt, s.attempt, 0) as move_attempts,
        coalesce(b.last_sent_at, s.last_sent_at) as sent_at, coalesce(b.not_before, s.not_before) as move_again_at,
        p.id is not null as by_card, c.status as card_status, c.attempt as card_attempts, c.not_before as card_again_at,
        case when c.kind = 'capture' and c.status = 'done' then c.ended_at end as captured_at,
        case when lane.state <> 'closed' then lane.next_try_at end as lane_next_at
    from delivery d
    left join instruction s on s.kind = 'deliver' and s.subject_id = d.id
    left join bundle_member m on m.delivery_id = d.id
    left join bundle on bundle.id = m.bundle_id and bundle.status <> 'apart'
    left join instruction b on b.kind = 'bundle' and b.subject_id = bundle.id
    left join payment p on p.id = d.payment_id
    left join lateral (
        select kind, status, attempt, not_before, ended_at from instruction
        where kind in ('finish_payment', 'capture') and subject_id = d.payment_id
        order by kind = 'capture' desc, id desc limit 1
    ) c on true
    left join lane_state lane on lane.lane = d.carrier
    where d.id = :trade_id
""")


class Facts(NamedTuple):
    """What the books say beside the trade itself; an instruction that does not exist has no status."""

    move_status: str | None = None
    move_attempts: int = 0
    sent_at: datetime | None = None
    move_again_at: datetime | None = None
    by_card: bool = False
    card_status: str | None = None
    card_attempts: int | None = None
    card_again_at: datetime | None = None
    captured_at: datetime | None = None
    lane_next_at: datetime | None = None
    """When a carrier that does not answer is tried again."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a trade's way. ``name``: matched, held, sent, delivered, captured, paid, refunded, or a reopening's
    cause. ``waits_for`` says of the one that is due what it waits for, ``again_at`` when that is tried next.
    """

    name: str
    how: How
    at: datetime | None = None
    waits_for: str | None = None
    again_at: datetime | None = None
    attempts: int = 0


async def facts_of(session: AsyncSession, trade_id: int) -> Facts:
    """All that a tracker needs, by one statement."""
    found = (await session.execute(_FACTS, {"trade_id": trade_id})).one_or_none()
    return Facts() if found is None else Facts(*found)


def track(trade: TradeView, facts: Facts, reopened: Sequence[ReopeningRow], now: datetime) -> list[Step]:
    """The steps in their order: what was reached, the one that is due, and what comes after it."""
    steps = [Step("matched", "reached", trade.at), Step("held", "reached", trade.at)]
    steps += _moving(trade, facts, now)
    if trade.status == "refunded":
        steps.append(Step("refunded", "reached", trade.ended_at))
    else:
        steps += _paying(trade, facts, now)
    return steps + [_reopening(row) for row in reopened]


def _moving(trade: TradeView, facts: Facts, now: datetime) -> list[Step]:
    if trade.status in {"delivered", "settled"}:
        sent = [Step("sent", "reached", facts.sent_at)] if trade.kind == "data" and facts.sent_at else []
        return [*sent, Step("delivered", "reached", trade.delivered_at)]
    if trade.status == "refunded":
        sent = [Step("sent", "reached", facts.sent_at)] if trade.kind == "data" and facts.sent_at else []
        return [*sent, Step("delivered", "failed")]
    due = Step("", "waiting", None, *_wait(facts.move_status, facts.move_attempts, _later(facts, now), now),
               attempts=facts.move_attempts)  # fmt: skip
    if trade.kind != "data":
        return [replace(due, name="delivered")]
    if facts.sent_at is None:
        return [replace(due, name="sent"), Step("delivered", "ahead")]
    return [Step("sent", "reached", facts.sent_at), replace(due, name="delivered")]


def _paying(trade: TradeView, facts: Facts, now: datetime) -> list[Step]:
    own_card = facts.by_card and trade.side == "buy"
    if trade.status == "settled":
        captured = [Step("captured", "reached", facts.captured_at or trade.ended_at)] if own_card else []
        return [*captured, Step("paid", "reached", trade.ended_at)]
    if trade.status == "pending":
        return [*([Step("captured", "ahead")] if own_card else []), Step("paid", "ahead")]
    attempts = facts.card_attempts or 0
    waits_for, again_at = _wait(facts.card_status, attempts, facts.card_again_at, now)
    due = Step("", "waiting", None, f"card_{waits_for}", again_at, attempts)
    if own_card and facts.captured_at is None:
        return [replace(due, name="captured"), Step("paid", "ahead")]
    captured = [Step("captured", "reached", facts.captured_at)] if own_card else []
    return [*captured, replace(due, name="paid")]


def _later(facts: Facts, now: datetime) -> datetime | None:
    """When the move is tried next: not before a carrier that does not answer is tried again."""
    times = [at for at in (facts.move_again_at, facts.lane_next_at) if at is not None and at > now]
    return max(times, default=None)


def _wait(status: str | None, attempts: int, again_at: datetime | None, now: datetime) -> tuple[str, datetime | None]:
    """What a step waits for, and when it is tried again if that is known."""
    again_at = again_at if again_at is not None and again_at > now else None
    match status:
        case "dead":
            return "person", None
        case "claimed":
            return "answer", None
        case "unknown":
            return "asking", again_at
        case "ready" if attempts:
            return "trying", again_at
        case _:
            return "turn", again_at


def _reopening(row: ReopeningRow) -> Step:
    if row.status == "withdrawn":
        return Step(f"{row.cause}_withdrawn", "reached", row.ended_at)
    if row.status == "settled":
        return Step(row.cause, "reached", row.ended_at or row.opened_at)
    waits_for = "person" if row.status == "for_a_person" else "ending"
    return Step(row.cause, "waiting", row.opened_at, waits_for)
