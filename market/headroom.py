"""What a carrier's rules leave a line to do today and this month, for the ticket to say before it is refused."""

from dataclasses import dataclass

from market.engine.caps import Tally
from market.rules import RuleProfile


@dataclass(frozen=True, slots=True)
class Headroom:
    """Transfers and MB that are left of each limit; none where the carrier sets no limit."""

    profile: RuleProfile
    sends_today: int | None
    sends_month: int | None
    receipts_today: int | None
    receipts_month: int | None
    receive_today_mb: int | None
    receive_month_mb: int | None


def headroom(profile: RuleProfile, today: Tally, month: Tally) -> Headroom:
    """What a profile leaves a line that has moved so much."""
    return Headroom(
        profile,
        _left(profile.sales_a_day, today.sent),
        _left(profile.sales_a_month, month.sent),
        _left(profile.receipts_a_day, today.received),
        _left(profile.receipts_a_month, month.received),
        _left(profile.received_a_day_mb, today.received_mb),
        _left(profile.received_a_month_mb, month.received_mb),
    )


def _left(cap: int | None, used: int) -> int | None:
    return None if cap is None else max(0, cap - used)
