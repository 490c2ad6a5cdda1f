"""Price arithmetic in integers: fees, proceeds, and what the carrier's own top-up would cost."""

from dataclasses import dataclass

BASIS = 10_000


def fee_minor(amount_minor: int, *, basis_points: int, minimum_minor: int) -> int:
    """The seller's fee on an amount, rounded up: the remainder goes to the house. Never above the amount."""
    return min(amount_minor, max(minimum_minor, -(-amount_minor * basis_points // BASIS)))


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order would come to at a price, in minor units. A buyer pays the total; a seller gets the net."""

    total_minor: int
    fee_minor: int
    net_minor: int
    top_up_minor: int
    saving_minor: int


def quote(*, lots: int, price_minor: int, ceiling_minor: int, fee_basis_points: int, fee_minimum_minor: int) -> Quote:
    """Price an order of whole lots beside the carrier's own top-up price (``ceiling_minor`` a lot)."""
    total = lots * price_minor
    fee = fee_minor(total, basis_points=fee_basis_points, minimum_minor=fee_minimum_minor)
    top_up = lots * ceiling_minor
    return Quote(total, fee, total - fee, top_up, top_up - total)
