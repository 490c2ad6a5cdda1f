"""What the demonstration trades: this and the next month's data of three carriers, and coins."""

import calendar
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from market.listing import Listing
from market.rules import RuleProfile

SHANGHAI = ZoneInfo("Asia/Shanghai")
CUT_OFF = timedelta(hours=2)
"""Trading ends this long before the data expires, so that what was sold can still be delivered."""
LAST_HOUR = timedelta(hours=1)
LOT_MB = 100
APP = "VIDEO"

TOP_UP_MINOR = {"CMCC": 300, "CUCC": 280, "CTCC": 260}
"""What 100 MB of national data cost at the carrier itself, in fen."""
SCOPES = {"CN": 100, "GD": 80, "SH": 80}
"""Scopes and the share of the national price, in percent, that their data costs."""
APP_PERCENT = 50
COIN_TOP_UP_MINOR = 260
"""100 coins become 100 MB, which cost at least this much at any carrier."""
COIN_MINOR = 110
BAND_BASIS_POINTS = 2_000
"""Twice the usual: the traders quote up to 15 % from the middle, and would pause one market in twelve at any time."""
RULES = RuleProfile(sales_a_month=2_000, received_a_month_mb=None, residual_mb=500)
FOREVER = datetime(2100, 1, 1, tzinfo=SHANGHAI)


def month_end(moment: datetime) -> datetime:
    """The end of the carrier's month, which is the next month's first moment."""
    local = moment.astimezone(SHANGHAI)
    days = calendar.monthrange(local.year, local.month)[1]
    return datetime(local.year, local.month, days, tzinfo=SHANGHAI) + timedelta(days=1)


def month_start(moment: datetime) -> datetime:
    """The first moment of the carrier's month."""
    local = moment.astimezone(SHANGHAI)
    return datetime(local.year, local.month, 1, tzinfo=SHANGHAI)


def month_ends(now: datetime) -> tuple[datetime, datetime]:
    """The expiries that are traded: this month's while there is time to trade it, and the next one's."""
    first = month_end(now)
    if now >= first - CUT_OFF - LAST_HOUR:
        first = month_end(first)
    return first, month_end(first)


def listings(now: datetime) -> Iterator[Listing]:
    """Every instrument of the demonstration at a moment."""
    for age, expires_at in enumerate(month_ends(now)):
        for carrier, top_up in TOP_UP_MINOR.items():
            for scope, percent in SCOPES.items():
                yield _data(carrier, scope, None, expires_at, ceiling_minor=top_up * percent // 100, age=age)
            yield _data(carrier, "CN", APP, expires_at, ceiling_minor=top_up * APP_PERCENT // 100, age=age)
    yield Listing(
        symbol="COIN",
        kind="coin",
        closes_at=FOREVER,
        ceiling_minor=COIN_TOP_UP_MINOR,
        reference_minor=COIN_MINOR,
        band_basis_points=BAND_BASIS_POINTS,
    )


def _data(
    carrier: str, scope: str, app_scope: str | None, expires_at: datetime, *, ceiling_minor: int, age: int
) -> Listing:
    last_day = expires_at - timedelta(days=1)
    symbol = f"{carrier}-{scope}-{last_day:%y%m}" + (f"-{app_scope}" if app_scope else "")
    reference = ceiling_minor * (45 + 10 * age) // 100
    return Listing(
        symbol=symbol,
        kind="data",
        carrier=carrier,
        scope=scope,
        app_scope=app_scope,
        expires_at=expires_at,
        closes_at=expires_at - CUT_OFF,
        ceiling_minor=ceiling_minor,
        reference_minor=reference,
        lot_units=LOT_MB,
        band_basis_points=BAND_BASIS_POINTS,
    )
