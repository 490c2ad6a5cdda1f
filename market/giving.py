"""Whether a carrier moves data that is given from one line to another: its rules, without those about sales.

A gift is a transfer like any other: it may be made while gifts and trades together stay within what a line may move.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from market.custody import SHANGHAI, month_start
from market.engine.caps import NATIONAL, Tally, day_of, month_of
from market.engine.times import microseconds
from market.rules import RuleProfile

WAITS = frozenset({"outside_hours", "too_early"})
"""What stands in the way for a time only."""

WORDS = {
    "gifts_forbidden": "This carrier does not allow data to be given.",
    "line_not_active": "The line that would get it is not active.",
    "plan_not_eligible": "The plan of the line that would get it can't take part in transfers.",
    "off_step": "This carrier transfers whole steps only. Choose a multiple of its step.",
    "receipts_used_up_today": "The line that would get it has received as often today as its carrier allows.",
    "receipts_used_up": "The line that would get it has received as often this month as its carrier allows.",
    "receive_cap_today": "The line that would get it has received as much today as its carrier allows.",
    "receive_cap": "The line that would get it has received as much this month as its carrier allows.",
    "sales_used_up_today": "The giving line has sent as often today as its carrier allows.",
    "sales_used_up": "The giving line has sent as often this month as its carrier allows.",
    "other_carrier": "Data is given within one carrier only.",
    "own_line": "This is the line that the data is on.",
    "plans_do_not_match": "The carrier does not transfer between these two kinds of plan.",
    "province_unknown": "This carrier transfers within a province, and that of one of the lines is not known.",
    "other_province": "The carrier transfers within a province only.",
    "transfer_too_large": "This is more than the carrier transfers at once.",
    "outside_hours": "The carrier does not transfer at this hour.",
    "too_early": "The carrier transfers this data in its last days only.",
    "no_charity": "No charity receives data at this carrier.",
    "too_late": "Its date had passed.",
}
"""What keeps data from being given, for the one who wants to give it."""

_LINES = text("""
    select line.id, line.party_id, line.carrier, line.plan, line.province, line.state,
        usage.day, usage.sent_today, usage.sent_month, usage.received_today, usage.received_month,
        usage.received_today_mb, usage.received_month_mb, sent.*, received.*
    from line left join line_usage usage on usage.line_id = line.id
    cross join lateral (
        select count(*) as gifts_sent_month, count(*) filter (where gift.created_at >= :day) as gifts_sent_today
        from data_gift gift join custody on custody.id = gift.custody_id
        where gift.giver_id = line.party_id and gift.created_at >= :month and gift.status <> 'refused'
            and custody.line_id = line.id
    ) sent
    cross join lateral (
        select count(*) as gifts_month, count(*) filter (where created_at >= :day) as gifts_today,
            coalesce(sum(amount_mb), 0)::bigint as gifts_month_mb,
            coalesce(sum(amount_mb) filter (where created_at >= :day), 0)::bigint as gifts_today_mb
        from data_gift where receiver_line_id = line.id and created_at >= :month and status <> 'refused'
    ) received
    where line.id = any(cast(:ids as bigint[]))
""")


@dataclass(frozen=True, slots=True)
class Party:
    """One line as a giver or a receiver: what is known of it, and what it has moved, gifts included."""

    line_id: int
    party_id: int
    carrier: str
    plan: str
    province: str
    state: str = "active"
    today: Tally = field(default_factory=Tally)
    month: Tally = field(default_factory=Tally)


def obstacle(
    rules: RuleProfile, giver: Party, receiver: Party, amount_mb: int, *, expires_at: datetime, now: datetime
) -> str | None:
    """The code of what keeps a carrier from moving so much from the one line to the other now; none when nothing does.

    A code among `WAITS` passes with time.
    """
    return (
        _between(rules, giver, receiver, amount_mb)
        or receiving_obstacle(rules, receiver, amount_mb)
        or _sending_obstacle(rules, giver, amount_mb)
        or shut(rules, expires_at, now)
    )


def receiving_obstacle(rules: RuleProfile, receiver: Party, amount_mb: int) -> str | None:
    """What keeps a line from receiving so much."""
    times = rules.transfers(amount_mb)
    today, month = receiver.today, receiver.month
    if rules.resale == "forbidden":
        return "gifts_forbidden"
    if receiver.state != "active":
        return "line_not_active"
    if all(taker != receiver.plan for _, taker in rules.plans):
        return "plan_not_eligible"
    if amount_mb % rules.step_mb:
        return "off_step"
    limits = (
        (rules.receipts_a_day, today.received + times, "receipts_used_up_today"),
        (rules.receipts_a_month, month.received + times, "receipts_used_up"),
        (rules.received_a_day_mb, today.received_mb + amount_mb, "receive_cap_today"),
        (rules.received_a_month_mb, month.received_mb + amount_mb, "receive_cap"),
    )
    return next((code for cap, after, code in limits if cap is not None and after > cap), None)


def _sending_obstacle(rules: RuleProfile, giver: Party, amount_mb: int) -> str | None:
    times = rules.transfers(amount_mb)
    limits = (
        (rules.sales_a_day, giver.today.sent + times, "sales_used_up_today"),
        (rules.sales_a_month, giver.month.sent + times, "sales_used_up"),
    )
    return next((code for cap, after, code in limits if cap is not None and after > cap), None)


def _between(rules: RuleProfile, giver: Party, receiver: Party, amount_mb: int) -> str | None:
    if giver.carrier != receiver.carrier:
        return "other_carrier"
    if giver.line_id == receiver.line_id:
        return "own_line"
    if (giver.plan, receiver.plan) not in rules.plans:
        return "plans_do_not_match"
    if rules.same_province and NATIONAL in {giver.province, receiver.province}:
        return "province_unknown"
    if rules.same_province and giver.province != receiver.province:
        return "other_province"
    return "transfer_too_large" if rules.largest_transfer_mb == 0 and amount_mb else None


def shut(rules: RuleProfile, expires_at: datetime, now: datetime) -> str | None:
    """Why the carrier moves nothing of data with this expiry now."""
    begins, ends = rules.transfers_from, rules.transfers_until
    if begins is not None and ends is not None:
        at = now.astimezone(SHANGHAI).time()
        within = begins <= at < ends if begins < ends else at >= begins or at < ends
        if not within:
            return "outside_hours"
    if rules.last_days is not None and now < expires_at - timedelta(days=rules.last_days):
        return "too_early"
    return None


def parts(rules: RuleProfile, amount_mb: int) -> list[int]:
    """An amount as the transfers that it takes, each of whole steps."""
    largest = rules.largest_transfer_mb
    if largest is None or amount_mb <= largest:
        return [amount_mb]
    most = max(largest // rules.step_mb, 1) * rules.step_mb
    return [min(most, amount_mb - done) for done in range(0, amount_mb, most)]


async def parties(session: AsyncSession, line_ids: Iterable[int], now: datetime) -> dict[int, Party]:
    """Lines by id, with what each has moved in the carrier's day and month."""
    month = month_start(now)
    day = now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = await session.execute(_LINES, {"ids": sorted(set(line_ids)), "month": month, "day": day})
    return {row.id: _party(row, day_of(microseconds(now))) for row in rows}


def _party(row: Row[Any], today: int) -> Party:
    of_today = row.day == today
    of_month = row.day is not None and month_of(row.day) == month_of(today)
    return Party(
        row.id, row.party_id, row.carrier, row.plan, row.province, row.state,
        Tally(
            row.gifts_sent_today + (row.sent_today if of_today else 0),
            row.gifts_today + (row.received_today if of_today else 0),
            row.gifts_today_mb + (row.received_today_mb if of_today else 0),
        ),
        Tally(
            row.gifts_sent_month + (row.sent_month if of_month else 0),
            row.gifts_month + (row.received_month if of_month else 0),
            row.gifts_month_mb + (row.received_month_mb if of_month else 0),
        ),
    )  # fmt: skip
