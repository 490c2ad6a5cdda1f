"""The autopilot's rule: within its prices, never both ways at once, and calm between its thresholds."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from market.autopilot_rule import Move, Sight, Standing, Wish, decide
from market.forecast import Forecast, Use
from market.views import InstrumentView

AT = datetime(2026, 11, 20, tzinfo=UTC)
WISH = Wish(sells=True, buys=True, sell_down_to_mb=1_000, buy_up_to_mb=500, floor_minor=100, cap_minor=250)


def a_view(**changes: Any) -> InstrumentView:
    values = {
        "id": 1, "symbol": "CMCC-CN-2611", "carrier": "CMCC", "scope": "CN", "app_scope": None, "kind": "data",
        "lot_units": 100, "tick_minor": 1, "floor_minor": 2, "ceiling_minor": 300, "reference_minor": 150,
        "maximum_lots": 1_000, "fee_basis_points": 500, "fee_minimum_minor": 1, "currency": "CNY", "opens_at": AT,
        "closes_at": AT, "expires_at": AT, "state": "open", "best_bid": None, "best_ask": None, "last_minor": None,
        "change_24h": None, "volume_24h_lots": 0,
    }  # fmt: skip
    return InstrumentView(**{**values, **changes})


def a_sight(remaining_mb: int, low: int = 0, likely: int = 0, high: int = 0, **changes: Any) -> Sight:
    values = {"covered_mb": 0, "most_to_sell": 1_000, "most_to_buy": 1_000, **changes}
    return Sight(Forecast(remaining_mb, Use(low, likely, high, 30)), **values)


prices = st.integers(1, 400)


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    buy_up_to, more = draw(st.integers(0, 5_000)), draw(st.integers(0, 5_000))
    sells, buys = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    return Wish(sells, buys, buy_up_to + more, buy_up_to, draw(prices), draw(prices))


@st.composite
def sights(draw: st.DrawFn) -> Sight:
    low, likely, high = sorted(draw(st.tuples(*[st.integers(0, 20_000)] * 3)))
    rooms = {"most_to_sell": draw(st.integers(0, 300)), "most_to_buy": draw(st.integers(0, 300))}
    return a_sight(draw(st.integers(0, 30_000)), low, likely, high, covered_mb=draw(st.integers(0, 3_000)), **rooms)


@st.composite
def orders(draw: st.DrawFn) -> list[Standing]:
    found = []
    for number in range(draw(st.integers(0, 4))):
        quantity = draw(st.integers(1, 80))
        side = draw(st.sampled_from(["buy", "sell"]))
        found.append(Standing(number, side, quantity, draw(st.integers(1, quantity)), draw(prices)))  # type: ignore[arg-type]
    return found


@st.composite
def views(draw: st.DrawFn) -> InstrumentView:
    tick = draw(st.sampled_from([1, 5]))
    on_tick = st.none() | st.integers(-(-2 // tick), 300 // tick).map(lambda each: each * tick)
    best_bid, best_ask, last = draw(on_tick), draw(on_tick), draw(on_tick)
    return a_view(best_bid=best_bid, best_ask=best_ask, last_minor=last, tick_minor=tick)


def after(moves: list[Move], standing: list[Standing]) -> list[Standing]:
    """The orders that are open once everything was done and nothing traded."""
    gone = {move.order_id for move in moves if move.deed == "cancel"}
    shrunk = {move.order_id: move.lots for move in moves if move.deed == "shrink"}
    kept = [
        replace(each, quantity=shrunk[each.order_id], open=each.open - (each.quantity - shrunk[each.order_id]))
        if each.order_id in shrunk
        else each
        for each in standing
        if each.order_id not in gone
    ]
    placed = [
        Standing(100 + at, move.deed, move.lots, move.lots, move.price_minor)
        for at, move in enumerate(moves)
        if move.deed in {"sell", "buy"}
    ]
    return kept + placed


@given(wishes(), sights(), views(), orders())
def test_prices_stay_within_the_members_and_the_carriers(
    wish: Wish, sight: Sight, view: InstrumentView, standing: list[Standing]
) -> None:
    for move in decide(wish, sight, view, standing):
        assert move.lots >= 0
        if move.deed == "sell":
            assert max(wish.floor_minor, view.floor_minor) <= move.price_minor <= view.ceiling_minor
        if move.deed == "buy":
            assert view.floor_minor <= move.price_minor <= min(wish.cap_minor, view.ceiling_minor)
        if move.deed in {"sell", "buy"}:
            assert move.price_minor % view.tick_minor == 0
            assert 0 < move.lots <= (sight.most_to_sell if move.deed == "sell" else sight.most_to_buy)


@given(wishes(), sights(), views(), orders())
def test_it_never_has_orders_of_both_sides_after_a_step(
    wish: Wish, sight: Sight, view: InstrumentView, standing: list[Standing]
) -> None:
    left = after(decide(wish, sight, view, standing), standing)

    assert len({each.side for each in left}) <= 1


@given(wishes(), sights(), views(), orders())
def test_it_never_sells_what_will_be_used_or_shall_stay(
    wish: Wish, sight: Sight, view: InstrumentView, standing: list[Standing]
) -> None:
    on_sale = sum(each.open for each in standing if each.side == "sell") * 100

    left = after(decide(wish, sight, view, standing), standing)

    offered = sum(each.open for each in left if each.side == "sell") * 100
    whole = sight.forecast.remaining_mb + on_sale
    assert offered == 0 or whole - offered >= sight.forecast.use.high_mb + wish.sell_down_to_mb


@given(wishes(), sights(), views(), orders())
def test_a_second_step_finds_nothing_more_to_end(
    wish: Wish, sight: Sight, view: InstrumentView, standing: list[Standing]
) -> None:
    assume(sight.most_to_sell and sight.most_to_buy)
    moves = decide(wish, sight, view, standing)
    left = after(moves, standing)
    moved = 100 * sum(each.open * (1 if each in left else 0) for each in left if each.side == "sell")
    before = 100 * sum(each.open for each in standing if each.side == "sell")
    later = replace(sight, forecast=replace(sight.forecast, remaining_mb=sight.forecast.remaining_mb + before - moved))

    again = decide(wish, later, view, left)

    assert not [move for move in again if move.deed in {"cancel", "shrink"}]


def test_between_the_thresholds_nothing_is_done() -> None:
    assert decide(WISH, a_sight(5_000, 4_000, 4_300, 4_500), a_view(best_ask=200), []) == []


def test_what_is_above_the_upper_one_is_offered_just_under_the_best_ask() -> None:
    moves = decide(WISH, a_sight(9_000, 2_000, 3_000, 4_000), a_view(best_ask=200), [])

    assert moves == [Move("sell", 40, 199)]


def test_below_the_members_floor_nothing_is_offered() -> None:
    moves = decide(WISH, a_sight(9_000), a_view(best_ask=60), [])

    assert moves == [Move("sell", 80, 100)]


def test_what_is_below_the_lower_one_is_bid_for_up_to_the_cap() -> None:
    moves = decide(WISH, a_sight(2_000, 2_500, 3_000, 3_500), a_view(best_ask=290), [])

    assert moves == [Move("buy", 15, 250)]


def test_data_that_is_used_afterwards_is_not_bought_again() -> None:
    assert decide(WISH, a_sight(2_000, 2_500, 3_000, 3_500, covered_mb=1_500), a_view(), []) == []


def test_an_order_shrinks_when_more_is_used_than_was_thought() -> None:
    standing = [Standing(7, "sell", 60, 50, 199)]

    moves = decide(WISH, a_sight(1_000, 2_000, 2_500, 3_000), a_view(best_ask=200), standing)

    assert moves == [Move("shrink", 30, 199, 7)]


def test_an_order_below_a_raised_floor_goes_and_a_new_one_takes_its_place() -> None:
    standing = [Standing(7, "sell", 20, 20, 90)]

    moves = decide(WISH, a_sight(1_000), a_view(best_ask=200), standing)

    assert moves == [Move("cancel", 0, 90, 7), Move("sell", 20, 199)]
