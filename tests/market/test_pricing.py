"""Fees and quotes are whole minor units, and nothing of a price is lost or made."""

from hypothesis import given
from hypothesis import strategies as st

from market.pricing import fee_minor, quote

amounts = st.integers(1, 10**12)
shares = st.integers(0, 10_000)


@given(amounts, shares, st.integers(0, 100))
def test_a_fee_is_rounded_up_and_never_above_the_amount(amount: int, share: int, minimum: int) -> None:
    fee = fee_minor(amount, basis_points=share, minimum_minor=minimum)

    assert 0 <= fee <= amount
    assert fee == amount or fee >= minimum
    assert fee == amount or fee * 10_000 >= amount * share
    assert (fee - 1) * 10_000 < amount * share or fee <= max(minimum, 0)


@given(st.integers(1, 10_000), st.integers(1, 100_000), st.integers(1, 100_000))
def test_a_quote_adds_up(lots: int, price: int, ceiling: int) -> None:
    told = quote(lots=lots, price_minor=price, ceiling_minor=ceiling, fee_basis_points=500, fee_minimum_minor=1)

    assert told.total_minor == lots * price
    assert told.fee_minor + told.net_minor == told.total_minor
    assert told.top_up_minor - told.total_minor == told.saving_minor


def test_selling_twenty_lots_at_one_yuan_fifty_earns_twenty_eight_fifty() -> None:
    told = quote(lots=20, price_minor=150, ceiling_minor=300, fee_basis_points=500, fee_minimum_minor=1)

    assert (told.total_minor, told.fee_minor, told.net_minor, told.saving_minor) == (3_000, 150, 2_850, 3_000)
