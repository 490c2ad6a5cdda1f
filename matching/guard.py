"""What keeps two orders from trading, or from trading more, beyond price and group: limits that the caller watches."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from matching.orders import Order


class Blame(StrEnum):
    """Whose limit allows no more: the seller's or the buyer's whoever they trade with, or that of the two together."""

    NONE = "none"
    SELL = "sell"
    BUY = "buy"
    PAIR = "pair"


class Verdict(NamedTuple):
    lots: int  # allowed now, of those asked about
    blame: Blame = Blame.NONE
    reason: str = ""  # why not all of them; it becomes the reason of what ends for it


class Guard(Protocol):
    """Asked before each match of a book that has one. It must answer from its own state alone, in the same way twice.

    A match is told to it as soon as it is planned. A plan that comes to nothing, as for a fill-or-kill order that
    cannot be filled, is taken back with the same lots negated, which must leave the guard as it was.
    """

    def verdict(self, sell: Order, buy: Order, lots: int) -> Verdict: ...

    def took(self, sell: Order, buy: Order, lots: int) -> None: ...
