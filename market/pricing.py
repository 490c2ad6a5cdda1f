"""Price arithmetic in integers: fees, proceeds, and what the carrier's own top-up would cost."""

from dataclasses import dataclass
from functools import lru_cache

BASIS = 10_000


def fee_minor(amount_minor: int, *, basis_points: int, minimum_minor: int) -> int:
    """The seller's fee on an amount, rounded up: the remainder goes to the house. Never above the amount."""
    return min(amount_minor, max(minimum_minor, -(-amount_minor * basis_points // BASIS)))


@lru_cache(maxsize=1024)
def _steps(charges: str) -> tuple[tuple[int, int], ...]:
    """The steps of charges as an order keeps them, from the largest size down: ``0:20 1000:35``."""
    steps = (step.split(":") for step in charges.split())
    return tuple(sorted(((int(size), int(minor)) for size, minor in steps), reverse=True))


def charge_minor(charges: str | None, *, quantity_mb: int, left_minor: int) -> int:
    """What the carrier charges for moving so much data. It always leaves the seller something of ``left_minor``."""
    if charges is None:
        return 0
    wanted = next((minor for size, minor in _steps(charges) if size <= quantity_mb), 0)
    return max(0, min(wanted, left_minor - 1))


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order would come to at a price, in minor units. A buyer pays the total; a seller gets the net."""

    total_minor: int
    fee_minor: int
    net_minor: int
    top_up_minor: int
    saving_minor: int


def quote(
    *,
    lots: int,
    price_minor: int,
    ceiling_minor: int,
    fee_basis_points: int,
    fee_minimum_minor: int,
    charges: str | None = None,
    lot_units: int = 0,
) -> Quote:
    """Price an order of whole lots beside the carrier's own top-up price (``ceiling_minor`` a lot).

    The fee includes what the carrier charges for moving the data.
    """
    total = lots * price_minor
    fee = fee_minor(total, basis_points=fee_basis_points, minimum_minor=fee_minimum_minor)
    fee += charge_minor(charges, quantity_mb=lots * lot_units, left_minor=total - fee)
    top_up = lots * ceiling_minor
    return Quote(total, fee, total - fee, top_up, top_up - total)
