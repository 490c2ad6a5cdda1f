"""What an order must meet to be admitted, each rule with the code and the words of its refusal."""

from typing import Any

import pytest

from matching.orders import Order, Side, TimeInForce
from matching.refusals import Refusal
from matching.rules import MarketState, Terms, check

OPENS, CLOSES, NOW = 1_000, 2_000, 1_500
GTC, GTD, IOC, FOK = TimeInForce


def the_terms(**other: Any) -> Terms:
    prices = {"tick": 5, "minimum_price": 10, "maximum_price": 1_000}
    session = {"opens_at": OPENS, "closes_at": CLOSES}
    return Terms(**(prices | session | {"maximum_quantity": 100} | other))


def refused(terms: Terms, now_us: int = NOW, **order: Any) -> str | None:
    """The code of the refusal, or None when the order is admitted."""
    values: dict[str, Any] = {"price": 100, "quantity": 10, "time_in_force": GTC}
    try:
        check(terms, now_us, **(values | order))
    except Refusal as refusal:
        return refusal.code
    return None


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({}, None),
        ({"quantity": 1}, None),
        ({"quantity": 100}, None),
        ({"quantity": 101}, "bad_quantity"),
        ({"quantity": 0}, "bad_quantity"),
        ({"quantity": -1}, "bad_quantity"),
        ({"price": 101}, "off_tick"),
        ({"price": 10}, None),
        ({"price": 5}, "outside_band"),
        ({"price": 0}, "outside_band"),
        ({"price": -100}, "outside_band"),
        ({"price": 1_000}, None),
        ({"price": 1_005}, "outside_band"),
        ({"post_only": True}, None),
        ({"post_only": True, "time_in_force": GTD, "expires_at": 1_600}, None),
        ({"post_only": True, "time_in_force": IOC}, "post_only_must_rest"),
        ({"post_only": True, "time_in_force": FOK}, "post_only_must_rest"),
        ({"time_in_force": IOC}, None),
        ({"time_in_force": IOC, "price": 2_000}, "outside_band"),  # a market order's protection price too
        ({"time_in_force": GTD}, "expiry_missing"),
        ({"time_in_force": GTC, "expires_at": 1_600}, "expiry_unexpected"),
        ({"time_in_force": GTD, "expires_at": NOW}, "expiry_passed"),
        ({"time_in_force": GTD, "expires_at": NOW + 1}, None),
        ({"time_in_force": GTD, "expires_at": CLOSES}, None),
        ({"time_in_force": GTD, "expires_at": CLOSES + 1}, "expiry_after_close"),
    ],
)
def test_an_order_is_admitted_by_its_size_price_and_life(order: dict[str, Any], code: str | None) -> None:
    assert refused(the_terms(), **order) == code


@pytest.mark.parametrize(
    ("state", "now", "code"),
    [
        (MarketState.OPEN, OPENS - 1, "market_not_open"),
        (MarketState.OPEN, OPENS, None),
        (MarketState.OPEN, CLOSES - 1, None),
        (MarketState.OPEN, CLOSES, "market_closed"),
        (MarketState.CANCEL_ONLY, NOW, "market_cancel_only"),
        (MarketState.HALTED, NOW, "market_halted"),
        (MarketState.CLOSED, NOW, "market_closed"),
        (MarketState.HALTED, CLOSES, "market_closed"),  # a halt does not outlive the market
        (MarketState.HALTED, OPENS - 1, "market_not_open"),
    ],
)
def test_nothing_is_admitted_outside_the_session_in_a_halt_or_after_the_close(
    state: MarketState, now: int, code: str | None
) -> None:
    assert refused(the_terms(state=state), now) == code


@pytest.mark.parametrize(("life", "code"), [(300, None), (301, "expiry_too_far")])
def test_an_order_lives_no_longer_than_the_market_allows(life: int, code: str | None) -> None:
    assert refused(the_terms(maximum_life_us=300), time_in_force=GTD, expires_at=NOW + life) == code


def test_terms_may_be_as_small_as_one() -> None:
    assert refused(the_terms(tick=1, minimum_price=1, maximum_quantity=1), price=1, quantity=1) is None


def test_a_closed_market_is_named_before_the_orders_own_faults() -> None:
    assert refused(the_terms(state=MarketState.CLOSED), quantity=0, price=3) == "market_closed"


def test_a_refusal_says_what_to_do_in_figures() -> None:
    with pytest.raises(Refusal) as caught:
        check(the_terms(), NOW, price=1_005, quantity=10, time_in_force=GTC)

    words = "The price 1005 is outside this market's limits. Choose 10 to 1000 minor units per lot."
    assert str(caught.value) == words
    assert caught.value.words.format(**caught.value.values) == words


def test_every_refusal_has_a_code_of_its_own_and_a_whole_sentence() -> None:
    kinds = [Refusal]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())

    codes = [kind.code for kind in kinds]
    assert len(codes) == len(set(codes)) > 15
    assert all(kind.words.endswith(".") for kind in kinds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tick": 0},
        {"minimum_price": 0},
        {"maximum_price": 9},
        {"maximum_quantity": 0},
        {"closes_at": OPENS},
        {"maximum_price": 2**40, "maximum_quantity": 2**23},  # a value that the ledger could not hold
    ],
)
def test_terms_that_make_no_sense_cannot_be_written_down(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        the_terms(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 1},
        {"time_in_force": "gtc"},
        {"price": 0},
        {"open": 0},
        {"open": 11},
        {"expires_at": 5},
        {"time_in_force": GTD},
    ],
)
def test_orders_that_make_no_sense_cannot_be_written_down(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "id": 1,
        "party_id": 1,
        "group_id": 1,
        "side": Side.BUY,
        "price": 5,
        "quantity": 10,
        "open": 10,
    }
    Order(**right)

    with pytest.raises(AssertionError):
        Order(**(right | wrong))
