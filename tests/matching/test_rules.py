"""What an order must meet to be admitted, each rule with the code and the words of its refusal."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from matching.orders import Decay, Order, Side, TimeInForce, Traits
from matching.refusals import Refusal
from matching.rules import MarketState, Terms, check

OPENS, CLOSES, NOW = 1_000, 2_000, 1_500
GTC, GTD, IOC, FOK, DAY = TimeInForce


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


DECAY = Decay(start=100, floor=50, step=10, every_us=1_000_000, since_us=NOW)


def falls(**other: int) -> Traits:
    return Traits(decay=replace(DECAY, **other))


@pytest.mark.parametrize(
    ("traits", "order", "code"),
    [
        (Traits(display=5), {}, None),
        (Traits(display=10), {}, "bad_display"),
        (Traits(display=0), {}, "bad_display"),
        (Traits(display=1), {"quantity": 100}, None),
        (Traits(display=1), {"quantity": 1_000}, "bad_quantity"),
        (Traits(display=5), {"time_in_force": IOC}, "must_rest"),
        (Traits(display=5), {"market": True, "time_in_force": IOC}, "must_rest"),
        (Traits(display=5), {"post_only": True}, None),
        (Traits(minimum=10), {}, None),
        (Traits(minimum=3), {"time_in_force": IOC}, None),
        (Traits(minimum=11), {}, "bad_minimum"),
        (Traits(minimum=0), {}, "bad_minimum"),
        (Traits(minimum=3), {"time_in_force": FOK}, "fill_or_kill_instead"),
        (Traits(all_or_none=True), {}, None),
        (Traits(all_or_none=True), {"time_in_force": IOC}, "fill_or_kill_instead"),
        (Traits(all_or_none=True, minimum=3), {}, "condition_stands_alone"),
        (Traits(all_or_none=True, display=3), {}, "condition_stands_alone"),
        (Traits(minimum=3), {"post_only": True}, "condition_stands_alone"),
        (Traits(minimum=3, peg_offset=5), {}, "condition_stands_alone"),
        (Traits(stop_price=110), {}, None),
        (Traits(stop_price=110), {"time_in_force": IOC, "market": True}, None),
        (Traits(stop_price=110, minimum=3), {}, None),
        (Traits(stop_price=111), {}, "off_tick"),
        (Traits(stop_price=1_005), {}, "outside_band"),
        (Traits(stop_price=110), {"post_only": True}, "stop_takes"),
        (Traits(peg_offset=-5), {}, None),
        (Traits(peg_offset=0), {"post_only": True}, None),
        (Traits(peg_offset=-5), {"time_in_force": IOC}, "must_rest"),
        (Traits(peg_offset=-4), {}, "peg_off_tick"),
        (Traits(peg_offset=-5, stop_price=110), {}, "peg_stands_alone"),
        (Traits(peg_offset=-5, decay=DECAY), {}, "peg_stands_alone"),
        (falls(), {}, None),
        (falls(), {"side": Side.BUY}, "decay_is_for_sales"),
        (falls(), {"time_in_force": FOK}, "must_rest"),
        (falls(), {"post_only": True}, "decay_stands_alone"),
        (Traits(decay=DECAY, stop_price=110), {}, "decay_stands_alone"),
        (Traits(decay=DECAY, display=5), {}, "decay_stands_alone"),
        (falls(floor=5), {}, "outside_band"),
        (falls(floor=52), {}, "off_tick"),
        (falls(floor=100), {}, "bad_decay"),
        (falls(step=3), {}, "bad_decay"),
        (falls(step=0), {}, "bad_decay"),
        (falls(every_us=999_999), {}, "bad_decay"),
        (Traits(linked_to=1), {}, None),
        (Traits(linked_to=1), {"time_in_force": IOC}, "must_rest"),
        (Traits(linked_to=1, stop_price=110), {"time_in_force": IOC}, None),
    ],
)
def test_traits_fit_the_order_and_each_other(traits: Traits, order: dict[str, Any], code: str | None) -> None:
    assert refused(the_terms(), traits=traits, **({"side": Side.SELL} | order)) == code


def test_a_price_falls_in_no_more_than_so_many_steps() -> None:
    terms = the_terms(tick=1, maximum_price=5_000)

    assert refused(terms, price=1_010, side=Side.SELL, traits=falls(start=1_010, floor=10, step=1)) is None
    assert refused(terms, price=1_011, side=Side.SELL, traits=falls(start=1_011, floor=10, step=1)) == "bad_decay"


@pytest.mark.parametrize("state", [MarketState.PRE_OPEN, MarketState.AUCTION, MarketState.PAUSED])
@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({}, None),
        ({"time_in_force": DAY, "expires_at": 1_600}, None),
        ({"time_in_force": IOC}, "market_collecting"),
        ({"time_in_force": FOK}, "market_collecting"),
        ({"market": True}, "market_collecting"),
        ({"time_in_force": IOC, "traits": Traits(stop_price=110)}, None),  # it waits for its price
    ],
)
def test_a_collecting_market_takes_what_can_wait(state: MarketState, order: dict[str, Any], code: str | None) -> None:
    assert state.collects
    assert refused(the_terms(state=state), **order) == code


def test_only_the_pre_opening_takes_orders_before_the_opening() -> None:
    assert refused(the_terms(state=MarketState.PRE_OPEN), OPENS - 1) is None
    assert refused(the_terms(state=MarketState.AUCTION), OPENS - 1) == "market_not_open"
    assert not any(state.collects for state in (MarketState.OPEN, MarketState.HALTED, MarketState.CLOSED))


def test_a_day_order_comes_with_the_days_end() -> None:
    assert refused(the_terms(), time_in_force=DAY) == "expiry_missing"


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


@dataclass(slots=True, eq=False)
class KeptOrder(Order):
    """An order with columns of its keeper's, as an engine derives one; those are looked at when they are made."""

    account_id: int = 0


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
def test_orders_that_make_no_sense_are_told_from_whole_ones(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "id": 1,
        "party_id": 1,
        "group_id": 1,
        "side": Side.BUY,
        "price": 5,
        "quantity": 10,
        "open": 10,
    }
    assert Order(**right).is_whole()

    assert not Order(**right | wrong).is_whole()
