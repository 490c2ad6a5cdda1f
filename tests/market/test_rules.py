"""A carrier's rules, each by its name."""

from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import pytest

import market.demo
from market.listing import programme
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
PROFILES = Path(market.demo.__file__).parent / "rules"
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
        ({"sales_a_day": 1}, {"sales_today": 1}, "sales_used_up_today"),
        ({"step_mb": 300}, {}, "off_step"),
        ({"largest_transfer_mb": 500}, {"sales_this_month": 1}, "sale_too_large"),
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


@pytest.mark.parametrize(
    ("profile", "purchase", "code"),
    [
        ({"receipts_a_day": 2}, {"receipts_today": 2}, "receipts_used_up_today"),
        ({"receipts_a_month": 3}, {"receipts_this_month": 3}, "receipts_used_up"),
        ({"received_a_day_mb": 1_500}, {"received_today_mb": 600}, "receive_cap_today"),
        ({"step_mb": 300}, {}, "off_step"),
    ],
)
def test_a_purchase_against_the_rules_is_refused(profile: dict[str, object], purchase: Any, code: str) -> None:
    changed = RuleProfile(**({name: getattr(PROFILE, name) for name in PROFILE.__struct_fields__} | profile))

    with pytest.raises(NotAllowed) as refusal:
        check_purchase(changed, replace(PURCHASE, **purchase))

    assert refusal.value.code == code


def test_data_that_was_received_may_be_sold_where_it_may_change_hands_again() -> None:
    received = replace(SALE, distributable=True)

    with pytest.raises(NotAllowed) as refusal:
        check_sale(PROFILE, received)
    check_sale(RuleProfile(hop_limit=2, sales_a_month=2), received)

    assert refusal.value.code == "distribution_only"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sales_a_day": -1}, "0 or more"),
        ({"step_mb": 0}, "at least 1 MB"),
        ({"hop_limit": 0}, "at least once"),
        ({"transfers_from": time(8)}, "a beginning and an end"),
        ({"transfers_from": time(8), "transfers_until": time(8)}, "different times"),
    ],
)
def test_a_profile_that_makes_no_sense_is_none(wrong: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RuleProfile(**wrong)


def test_a_large_amount_takes_several_transfers() -> None:
    assert RuleProfile(largest_transfer_mb=1_000).transfers(2_500) == 3
    assert RuleProfile().transfers(2_500) == 1


@pytest.mark.parametrize("name", ["CN", "HK", "ID", "JP", "KR", "PH", "ZA", "strict"])
def test_the_shipped_profiles_can_be_listed_as_they_are(name: str) -> None:
    read = programme((PROFILES / f"{name}.toml").read_text(encoding="utf-8"))

    assert read.rules
    assert not read.instrument
    assert {rules.carrier for rules in read.rules} == {name}
    assert all(rules.effective_from.tzinfo for rules in read.rules)


def test_the_shipped_profiles_hold_what_their_carriers_set() -> None:
    terms = {path.stem: programme(path.read_text(encoding="utf-8")).rules[-1].terms for path in PROFILES.glob("*.toml")}

    assert (terms["KR"].sales_a_month, terms["KR"].largest_transfer_mb, terms["KR"].received_a_month_mb) == (
        2,
        1_000,
        2_000,
    )
    assert (terms["KR"].residual_mb, terms["KR"].residual_percent) == (500, 50)
    assert (terms["ID"].sales_a_day, terms["ID"].receipts_a_day, terms["ID"].residual_mb) == (2, 20, 100)
    assert (terms["ID"].transfers_from, terms["ID"].transfers_until) == (time(1, 1), time(22, 59))
    assert (terms["ZA"].last_days, terms["CN"].same_province, terms["JP"].largest_transfer_mb) == (3, True, 10_000)
    assert all(each.hop_limit == 1 for each in terms.values())
    assert terms["strict"].resale == "forbidden"


def test_spare_data_leaves_the_larger_of_both_residuals_and_comes_in_whole_steps() -> None:
    assert spare_mb(PROFILE, remaining_mb=2_750, base_mb=20_000) == 2_200
    assert spare_mb(RuleProfile(residual_percent=50), remaining_mb=12_345, base_mb=20_000) == 2_300
    assert spare_mb(PROFILE, remaining_mb=400, base_mb=0) == 0
