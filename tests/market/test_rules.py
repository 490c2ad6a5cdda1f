"""A carrier's rules, each by its name."""

from dataclasses import replace

import pytest

from market.refusals import NotAllowed
from market.rules import Purchase, RuleProfile, Sale, check_purchase, check_sale, spare_mb

PROFILE = RuleProfile(sales_a_month=2, received_a_month_mb=2_000, residual_mb=500, largest_sale_mb=5_000)
SALE = Sale(
    amount_mb=2_000,
    remaining_mb=12_000,
    base_mb=20_000,
    transferable=True,
    app_scope=None,
    plan="postpaid",
    line_state="active",
    sales_this_month=0,
)
PURCHASE = Purchase(amount_mb=1_000, plan="prepaid", line_state="active", received_this_month_mb=0)


def test_what_the_rules_allow_passes() -> None:
    check_sale(PROFILE, SALE)
    check_purchase(PROFILE, PURCHASE)


@pytest.mark.parametrize(
    ("profile", "sale", "code"),
    [
        ({"resale": "gift_only"}, {}, "resale_forbidden"),
        ({}, {"line_state": "suspended"}, "line_not_active"),
        ({"plans": (("prepaid", "prepaid"),)}, {}, "plan_not_eligible"),
        ({}, {"transferable": False}, "not_transferable"),
        ({}, {"transferable": False, "distributable": True}, "distribution_only"),
        ({"app_directed": False}, {"app_scope": "VIDEO"}, "not_transferable"),
        ({}, {"amount_mb": 5_100}, "sale_too_large"),
        ({}, {"sales_this_month": 2}, "sales_used_up"),
        ({}, {"remaining_mb": 2_400}, "insufficient_data"),
        ({"residual_percent": 60}, {}, "insufficient_data"),
    ],
)
def test_a_sale_against_the_rules_is_refused(profile: dict[str, object], sale: dict[str, object], code: str) -> None:
    changed = RuleProfile(**({name: getattr(PROFILE, name) for name in PROFILE.__struct_fields__} | profile))

    with pytest.raises(NotAllowed) as refusal:
        check_sale(changed, replace(SALE, **sale))  # type: ignore[arg-type]

    assert refusal.value.code == code
    assert refusal.value.detail.endswith(".")


def test_a_purchase_beyond_what_the_line_may_receive_says_how_much_is_left() -> None:
    with pytest.raises(NotAllowed, match="600 MB more") as refusal:
        check_purchase(PROFILE, replace(PURCHASE, received_this_month_mb=1_400))

    assert refusal.value.code == "receive_cap"


def test_spare_data_leaves_the_larger_of_both_residuals_and_comes_in_whole_steps() -> None:
    assert spare_mb(PROFILE, remaining_mb=2_750, base_mb=20_000) == 2_200
    assert spare_mb(RuleProfile(residual_percent=50), remaining_mb=12_345, base_mb=20_000) == 2_300
    assert spare_mb(PROFILE, remaining_mb=400, base_mb=0) == 0
