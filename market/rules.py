"""What a carrier lets its subscribers do: dated rule profiles, and the checks that a sale and a purchase must pass."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from market.refusals import NotAllowed
from market.tables import RuleProfileRow

PERCENT = 100


class RuleProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A carrier's limits. Volumes are MB; a month is the carrier's calendar month. None means no limit."""

    resale: Literal["allowed", "gift_only", "forbidden"] = "allowed"
    step_mb: int = 100
    largest_sale_mb: int | None = 10_000
    sales_a_month: int | None = 20
    received_a_month_mb: int | None = 20_000
    residual_mb: int = 500
    """What the seller must keep of the bucket, or ``residual_percent`` of the plan when that is more."""
    residual_percent: int = 0
    app_directed: bool = True
    """Whether data bound to one app may be sold."""
    plans: tuple[tuple[str, str], ...] = (
        ("prepaid", "prepaid"),
        ("postpaid", "postpaid"),
        ("prepaid", "postpaid"),
        ("postpaid", "prepaid"),
    )
    """(seller's plan, buyer's plan) that the carrier transfers between."""


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


@dataclass(frozen=True, slots=True)
class Purchase:
    """The facts of a purchase that is asked for."""

    amount_mb: int
    plan: str
    line_state: str
    received_this_month_mb: int


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
    if sale.distributable:
        raise NotAllowed(
            "This data was bought to be handed out: you can pass it on to your users, but not sell it again.",
            code="distribution_only",
        )
    if not sale.transferable or (sale.app_scope and not profile.app_directed):
        raise NotAllowed("This data can't be passed on: the carrier binds it to your line.", code="not_transferable")
    if profile.largest_sale_mb is not None and sale.amount_mb > profile.largest_sale_mb:
        raise NotAllowed(f"At most {profile.largest_sale_mb} MB can be sold in one order.", code="sale_too_large")
    if profile.sales_a_month is not None and sale.sales_this_month >= profile.sales_a_month:
        raise NotAllowed(
            f"This line has sold {sale.sales_this_month} times this month, as often as its carrier allows.",
            code="sales_used_up",
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
    cap = profile.received_a_month_mb
    if cap is not None and purchase.received_this_month_mb + purchase.amount_mb > cap:
        left = max(0, cap - purchase.received_this_month_mb)
        raise NotAllowed(f"This line can receive {left} MB more this month.", code="receive_cap")


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
