"""Numbers: however one is typed, it is one number; what is no Chinese mobile number takes no part."""

import pytest

from market.numbers import canonical_number, issuing_carrier
from market.refusals import BadInput

NUMBER = "+8613800138000"


@pytest.mark.parametrize(
    "typed",
    [
        "13800138000",
        "+86 138 0013 8000",
        "+86-138-0013-8000",
        "008613800138000",
        "8613800138000",
        "１３８００１３８０００",
        "＋８６１３８００１３８０００",
        "138\u200b0013\u200b8000",
        "\u200f13800138000\ufeff",
        " (138) 0013.8000 ",
    ],
)
def test_however_it_is_typed_it_is_one_number(typed: str) -> None:
    assert canonical_number(typed) == NUMBER


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "1",
        "10086",
        "95588",
        "4008001234",
        "01012345678",
        "02012345678",
        "+8613800138000;ext=1",
        "13800138000#12",
        "13800138000x1",
        "+85261234567",
        "+12025550123",
        "1380013800",
        "138001380001",
        "1380013CALL",
        "13800138000\x00",
        "13800138000,13900139000",
        "+",
        "9" * 19,
        "1" * 61,
        "١٣٨٠٠١٣٨٠٠٠",
    ],
)
def test_anything_else_is_refused_with_its_field_named(typed: str) -> None:
    with pytest.raises(BadInput) as caught:
        canonical_number(typed)

    assert caught.value.field == "phone"


def test_a_foreign_number_is_told_why() -> None:
    with pytest.raises(BadInput, match="mainland China"):
        canonical_number("+85261234567")


@pytest.mark.parametrize(
    ("number", "carrier"),
    [
        ("+8613800138000", "CMCC"),
        ("+8613012345678", "CUCC"),
        ("+8613312345678", "CTCC"),
        ("+8613491234567", "CTCC"),
        ("+8613481234567", "CMCC"),
        ("+8617051234567", "CMCC"),
        ("+8617091234567", "CUCC"),
        ("+8617001234567", "CTCC"),
        ("+8619212345678", None),
    ],
)
def test_the_longest_range_tells_the_issuing_carrier(number: str, carrier: str | None) -> None:
    assert issuing_carrier(number) == carrier
