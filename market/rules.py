"""What a carrier lets its subscribers do: dated rule profiles, and the checks that a sale and a purchase must pass."""

from dataclasses import dataclass
from datetime import datetime, time
from typing import Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from market.refusals import NotAllowed
from market.tables import RuleProfileRow

PERCENT = 100


class RuleProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A carrier's limits. Volumes are MB; day and month are the carrier's, Asia/Shanghai. None means no limit.

    A transfer is one movement from line to line. Each trade is one; a match of more than
    ``largest_transfer_mb`` becomes several.
    """

    resale: Literal["allowed", "gift_only", "forbidden"] = "allowed"
    step_mb: int = 100
    largest_sale_mb: int | None = 10_000
    largest_transfer_mb: int | None = None
    sales_a_day: int | None = None
    sales_a_month: int | None = 20
    """Transfers that a line may send."""
    receipts_a_day: int | None = None
    receipts_a_month: int | None = None
    """Transfers that a line may receive."""
    received_a_day_mb: int | None = None
    received_a_month_mb: int | None = 20_000
    residual_mb: int = 500
    """What the seller must keep of the bucket, or ``residual_percent`` of the plan when that is more."""
    residual_percent: int = 0
    app_directed: bool = True
    """Whether data bound to one app may be sold."""
    hop_limit: int = 1
    """How often data may change hands; 1 means that what was received is never sold again."""
    same_province: bool = False
    transfers_from: time | None = None
    transfers_until: time | None = None
    """The hours of each day in which the carrier transfers; the end is the first moment at which it does not."""
    last_days: int | None = None
    """Data can be transferred in so many days before it expires, not earlier."""
    plans: tuple[tuple[str, str], ...] = (
        ("prepaid", "prepaid"),
        ("postpaid", "postpaid"),
        ("prepaid", "postpaid"),
        ("postpaid", "prepaid"),
    )
    """(seller's plan, buyer's plan) that the carrier transfers between."""

    def __post_init__(self) -> None:
        limits = (
            self.largest_sale_mb, self.largest_transfer_mb, self.sales_a_day, self.sales_a_month, self.receipts_a_day,
            self.receipts_a_month, self.received_a_day_mb, self.received_a_month_mb, self.residual_mb,
            self.residual_percent, self.last_days,
        )  # fmt: skip
        if self.step_mb < 1 or any(limit is not None and limit < 0 for limit in limits):
            raise ValueError("a limit is 0 or more, and a step at least 1 MB")
        if self.hop_limit < 1:
            raise ValueError("data that changes hands does so at least once")
        if (self.transfers_from is None) != (self.transfers_until is None):
            raise ValueError("hours of the day have a beginning and an end")
        if self.transfers_from is not None and self.transfers_from == self.transfers_until:
            raise ValueError("hours of the day begin and end at different times")

    def transfers(self, amount_mb: int) -> int:
        """Transfers that it takes to move so much."""
        return 1 if self.largest_transfer_mb is None else -(-amount_mb // max(self.largest_transfer_mb, 1))


@dataclass(frozen=True, slots=True)
class Sale:
    """The facts of a sale that is asked for, as the carrier and our books tell them."""

    amount_mb: int
    remaining_mb: int
    base_mb: int
    transferable: bool
    app_scope: str | None
    plan: str
    line_state: str
    sales_this_month: int
    distributable: bool = False
    sales_today: int = 0


@dataclass(frozen=True, slots=True)
class Purchase:
    """The facts of a purchase that is asked for."""

    amount_mb: int
    plan: str
    line_state: str
    received_this_month_mb: int
    received_today_mb: int = 0
    receipts_this_month: int = 0
    receipts_today: int = 0


def spare_mb(profile: RuleProfile, *, remaining_mb: int, base_mb: int) -> int:
    """How much of a bucket the seller may part with, in whole steps."""
    keep = max(profile.residual_mb, base_mb * profile.residual_percent // PERCENT)
    return max(0, remaining_mb - keep) // profile.step_mb * profile.step_mb


def check_sale(profile: RuleProfile, sale: Sale) -> None:
    """Refuse a sale that the carrier would refuse, in words that say what is possible.

    Raises:
        NotAllowed: with the code of the rule that stands against it.
    """
    if profile.resale != "allowed":
        raise NotAllowed("This carrier does not allow data to be sold.", code="resale_forbidden")
    _check_line(profile, sale.line_state, sale.plan, seller=True)
    if sale.distributable and profile.hop_limit == 1:
        raise NotAllowed(
            "This data was bought to be handed out: you can pass it on to your users, but not sell it again.",
            code="distribution_only",
        )
    if not sale.transferable or (sale.app_scope and not profile.app_directed):
        raise NotAllowed("This data can't be passed on: the carrier binds it to your line.", code="not_transferable")
    if profile.largest_sale_mb is not None and sale.amount_mb > profile.largest_sale_mb:
        raise NotAllowed(f"At most {profile.largest_sale_mb} MB can be sold in one order.", code="sale_too_large")
    if _is_used_up(profile.sales_a_day, sale.sales_today):
        raise NotAllowed(
            f"This line has sold {sale.sales_today} times today, as often as its carrier allows.",
            code="sales_used_up_today",
        )
    if _is_used_up(profile.sales_a_month, sale.sales_this_month):
        raise NotAllowed(
            f"This line has sold {sale.sales_this_month} times this month, as often as its carrier allows.",
            code="sales_used_up",
        )
    _check_step(profile, sale.amount_mb)
    left = _transfers_left((profile.sales_a_day, sale.sales_today), (profile.sales_a_month, sale.sales_this_month))
    if left is not None and profile.transfers(sale.amount_mb) > left:
        most = left * (profile.largest_transfer_mb or 0)
        raise NotAllowed(
            f"This line can still sell {most} MB: its carrier limits each transfer.", code="sale_too_large"
        )
    spare = spare_mb(profile, remaining_mb=sale.remaining_mb, base_mb=sale.base_mb)
    if sale.amount_mb > spare:
        raise NotAllowed(
            f"You can sell {spare} MB: {sale.remaining_mb} MB are left, and your carrier wants some to stay.",
            code="insufficient_data",
        )


def check_purchase(profile: RuleProfile, purchase: Purchase) -> None:
    """Refuse a purchase that the carrier could not deliver to the line.

    Raises:
        NotAllowed: with the code of the rule that stands against it.
    """
    if profile.resale != "allowed":
        raise NotAllowed("This carrier does not allow data to be sold.", code="resale_forbidden")
    _check_line(profile, purchase.line_state, purchase.plan, seller=False)
    if _is_used_up(profile.receipts_a_day, purchase.receipts_today):
        raise NotAllowed(
            f"This line has received {purchase.receipts_today} times today, as often as its carrier allows.",
            code="receipts_used_up_today",
        )
    if _is_used_up(profile.receipts_a_month, purchase.receipts_this_month):
        raise NotAllowed(
            f"This line has received {purchase.receipts_this_month} times this month, as often as its carrier allows.",
            code="receipts_used_up",
        )
    _check_step(profile, purchase.amount_mb)
    cap = profile.received_a_day_mb
    if cap is not None and purchase.received_today_mb + purchase.amount_mb > cap:
        left = max(0, cap - purchase.received_today_mb)
        raise NotAllowed(f"This line can receive {left} MB more today.", code="receive_cap_today")
    cap = profile.received_a_month_mb
    if cap is not None and purchase.received_this_month_mb + purchase.amount_mb > cap:
        left = max(0, cap - purchase.received_this_month_mb)
        raise NotAllowed(f"This line can receive {left} MB more this month.", code="receive_cap")


def _check_step(profile: RuleProfile, amount_mb: int) -> None:
    if amount_mb % profile.step_mb:
        raise NotAllowed(f"This carrier transfers in steps of {profile.step_mb} MB.", code="off_step")


def _transfers_left(*limits: tuple[int | None, int]) -> int | None:
    """The fewest that any of (cap, used) leaves; None when nothing limits them."""
    return min((cap - used for cap, used in limits if cap is not None), default=None)


def _is_used_up(cap: int | None, used: int) -> bool:
    return cap is not None and used >= cap


def _check_line(profile: RuleProfile, line_state: str, plan: str, *, seller: bool) -> None:
    if line_state != "active":
        raise NotAllowed("This line is not active, so nothing can be moved from or to it.", code="line_not_active")
    if not any(pair[0 if seller else 1] == plan for pair in profile.plans):
        raise NotAllowed("Your kind of plan can't take part in transfers.", code="plan_not_eligible")


async def profile(session: AsyncSession, carrier: str, now: datetime) -> RuleProfile:
    """The carrier's rules in force at a moment; the strictest answer when none are known.

    Raises:
        NotAllowed: no profile is in force, so nothing can be promised for this carrier.
    """
    statement = (
        select(RuleProfileRow.terms)
        .where(RuleProfileRow.carrier == carrier, RuleProfileRow.effective_from <= now)
        .order_by(RuleProfileRow.effective_from.desc())
        .limit(1)
    )
    terms = await session.scalar(statement)
    if terms is None:
        raise NotAllowed("This carrier has no rules in force here yet.", code="no_rules")
    return msgspec.convert(terms, RuleProfile, strict=False)
