"""How much a member may trade: a share that grows with the account's age, of a limit that a checked name raises.

Pure rules. Amounts are minor units of money; a month is the 30 days that end now.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum

DOCUMENT_TIMES = 5
"""So many times the limit of a phone has who is known by name."""
SHARES_PERCENT = ((timedelta(days=30), 25), (timedelta(days=60), 50))
"""Of the limit, for accounts younger than that; an older one has all of it."""
OF_AGE_YEARS = 18
MONTH = timedelta(days=30)


class Level(IntEnum):
    """How well a member is known."""

    NOBODY = 0
    """May look."""
    PHONE = 2
    """Has signed in with a phone."""
    DOCUMENT = 3
    """Is known to the carrier by name and document."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the house allows: in a month to whoever has a phone, and in the first trade of all."""

    month_minor: int
    first_minor: int


@dataclass(frozen=True, slots=True)
class Account:
    """What counts of a member; ``used_minor`` is what they traded within the month, and what their orders come to."""

    age: timedelta
    level: Level
    has_traded: bool
    used_minor: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a member may trade within a month, and what is left of it; ``once_minor`` is the most of one order."""

    month_minor: int
    share_percent: int
    left_minor: int
    once_minor: int
    is_first: bool
    """Whether the cap of the first trade is what counts."""

    def takes(self, amount_minor: int) -> bool:
        return amount_minor <= self.once_minor


def share_percent(age: timedelta) -> int:
    """The share of its limit that an account of an age has."""
    return next((share for younger, share in SHARES_PERCENT if age < younger), 100)


def allowance(account: Account, terms: Terms) -> Allowance:
    """What an account may trade now; an amount below nothing is never left."""
    whole = {Level.NOBODY: 0, Level.PHONE: terms.month_minor, Level.DOCUMENT: terms.month_minor * DOCUMENT_TIMES}
    share = share_percent(account.age)
    month = whole[account.level] * share // 100
    left = max(0, month - account.used_minor)
    is_first = not account.has_traded and account.level < Level.DOCUMENT and terms.first_minor < left
    return Allowance(month, share, left, terms.first_minor if is_first else left, is_first)


def born_on(document: str) -> date | None:
    """The birth date in a resident's identity number; none in any other document."""
    digits = document[6:14]
    if len(document) != 18 or not digits.isascii() or not digits.isdigit():  # noqa: PLR2004 - as the number is made
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def comes_of_age(born: date) -> date:
    """The day on which somebody is grown up; who was born on 29 February is on 1 March."""
    try:
        return born.replace(year=born.year + OF_AGE_YEARS)
    except ValueError:
        return date(born.year + OF_AGE_YEARS, 3, 1)
