"""Who bears what when an ended trade comes back. Plain values, no I/O."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why a trade that had ended is opened again."""

    CARRIER_REVERSED = "carrier_reversed"
    """The carrier took the data back from the buyer."""
    DISPUTED = "disputed"
    """The buyer's bank took the money back at the provider."""
    REFUNDED_OUTSIDE = "refunded_outside"
    """The provider gave the money back without being asked by us."""
    CASE_DECIDED = "case_decided"
    """Our officers decided for the buyer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The trade and what the accounts around it have. Money in minor units, data in MB."""

    cause: Cause
    ended_as: str
    amount_minor: int
    """What the reopening is about."""
    price_minor: int
    """What the buyer paid for the trade."""
    fee_minor: int
    quantity_mb: int
    returned_mb: int
    """What came back to the seller's bucket."""
    seller_has_minor: int
    fees_have_minor: int
    outside_minor: int = 0
    """What earlier reopenings of this trade already gave back outside."""
    decided_minor: int = 0
    """What our officers have had paid back before."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Who bears what of it, in minor units; together they are what the buyer is paid back."""

    seller_now: int = 0
    seller_owes: int = 0
    fees: int = 0
    house: int = 0

    @property
    def total(self) -> int:
        return self.seller_now + self.seller_owes + self.fees + self.house


@dataclass(frozen=True, slots=True)
class PaysBack:
    """The buyer is paid back; the shares say by whom."""

    shares: Shares


@dataclass(frozen=True, slots=True)
class BuyerOwes:
    """The buyer's money has gone back outside, and the data stays with the buyer."""

    amount_minor: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """The books need no change."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The trade has not ended yet."""


@dataclass(frozen=True, slots=True)
class ForAPerson:
    """No rule covers it."""

    reason: str


Decision = PaysBack | BuyerOwes | Nothing | Waits | ForAPerson


def decide(one: Standing) -> Decision:
    """What settles a reopening.

    The buyer of data that was taken back is always made whole. Who pays for it
    depends on where the data is: a seller who has all of it again gives the proceeds
    back, and the house its fee; a seller who has not delivered in good faith, so the
    house pays. Money that went back outside is owed by the buyer: the data stays. What
    officers decide for the buyer the seller gives back.
    """
    if one.ended_as not in {"settled", "refunded"}:
        return Waits()
    if one.cause is Cause.CARRIER_REVERSED:
        return _taken_back(one)
    if one.cause is Cause.CASE_DECIDED:
        return _decided(one)
    if one.ended_as == "refunded":
        return ForAPerson("Money went back outside for a trade that was refunded here.")
    if one.amount_minor + one.outside_minor > one.price_minor:
        return ForAPerson("More went back outside than the trade had cost.")
    return BuyerOwes(one.amount_minor)


def _taken_back(one: Standing) -> Decision:
    if one.ended_as == "refunded":
        return Nothing()
    if one.decided_minor:
        return ForAPerson("The buyer was paid back before, after a case.")
    if one.amount_minor != one.price_minor:
        return ForAPerson("The carrier took back another amount than the trade was about.")
    if one.returned_mb < one.quantity_mb:
        return PaysBack(Shares(house=one.price_minor))
    return PaysBack(_by_the_seller(one, one.fee_minor))


def _decided(one: Standing) -> Decision:
    """The seller gives back the share that was decided, and the house the same share of its fee."""
    if one.ended_as == "refunded":
        return ForAPerson("The trade was refunded before it was decided.")
    if one.amount_minor + one.outside_minor > one.price_minor:
        return ForAPerson("More would be paid back than the trade had cost.")
    return PaysBack(_by_the_seller(one, one.fee_minor * one.amount_minor // one.price_minor))


def _by_the_seller(one: Standing, fee_minor: int) -> Shares:
    """The seller pays out of the wallet and owes the rest, the house gives ``fee_minor`` of its fee back."""
    proceeds = one.amount_minor - fee_minor
    seller_now = min(max(one.seller_has_minor, 0), proceeds)
    fees = min(max(one.fees_have_minor, 0), fee_minor)
    return Shares(seller_now, proceeds - seller_now, fees, fee_minor - fees)
