"""Orders that are not plain, each kind by example; that all of them go together is proved beside the reference."""

from copy import deepcopy

import pytest

from matching.book import Book
from matching.orders import Decay, SelfTrade, Side, mark
from matching.refusals import NoReference, UnfitLink, UnknownOrder
from tests.matching.tables import DAY, FOK, GTD, IOC, a_book, an_order, drawn, ended, happened, special, table, told


def test_a_day_order_ends_when_its_caller_says() -> None:
    book = Book()
    book.place(an_order(1, "buy 1 at 100", time_in_force=DAY, expires_at=10))

    assert book.next_due == 10
    assert not book.is_due(9)
    assert [order.id for order in book.due(10)] == [1]
    assert ended(book.advance(10)) == [1]
    assert book.next_due is None


# Own group


@pytest.mark.parametrize(
    ("mode", "state", "effects", "after"),
    [
        (SelfTrade.CANCEL_NEWEST, "cancelled", [], "sell 101 | #1 3, #2 5"),
        (SelfTrade.CANCEL_OLDEST, "filled", ["ended #1 self_trade"], "sell 101 | #2 1"),
        (SelfTrade.CANCEL_BOTH, "cancelled", ["ended #1 self_trade"], "sell 101 | #2 5"),
        (SelfTrade.DECREMENT, "filled", ["reduced #9 3", "ended #1 self_trade"], "sell 101 | #2 4"),
    ],
)
def test_the_incoming_order_says_what_becomes_of_its_own_group(
    mode: SelfTrade, state: str, effects: list[str], after: str
) -> None:
    book = a_book("sell 101 | #1 3, #2 5")

    placement = book.place(an_order(9, "buy 4 at 101", group_id=1, self_trade=mode))

    assert placement.state == state
    assert happened(placement.effects) == effects
    assert drawn(book) == after


def test_a_decrement_that_uses_up_the_incoming_order_leaves_the_larger_one_in_its_place() -> None:
    book = a_book("sell 101 | #1 5, #2 5")
    order = an_order(9, "buy 3 at 101", group_id=1, self_trade=SelfTrade.DECREMENT)

    placement = book.place(order)

    assert (placement.state, placement.reason, order.open, order.filled) == ("cancelled", "self_trade", 3, 0)
    assert happened(placement.effects) == ["reduced #1 3"]
    assert drawn(book) == "sell 101 | #1 2, #2 5"
    assert book.orders[1].filled == 0


def test_a_plain_order_with_another_mode_rests_once() -> None:
    book = a_book("sell 101 | #1 3")

    assert book.place(an_order(9, "buy 5 at 101", self_trade=SelfTrade.CANCEL_OLDEST)).state == "open"
    assert drawn(book) == "buy  101 | #9 2"
    assert book.depth(9) == ([(101, 2, 1)], [])


# Icebergs


def test_an_iceberg_shows_a_slice_and_each_new_one_goes_to_the_back() -> None:
    book = Book()
    book.place(special(1, "sell 7 at 101", display=3))
    book.place(an_order(2, "sell 2 at 101"))
    assert book.level(Side.SELL, 101) == (101, 5, 2)

    placement = book.place(an_order(1_000, "buy 4 at 101"))

    assert told(placement.fills) == ["#1 3 at 101", "#2 1 at 101"]
    assert happened(placement.effects) == ["requeued #1"]
    assert drawn(book) == "sell 101 | #2 1, #1 4"
    assert book.level(Side.SELL, 101) == (101, 4, 2)


def test_one_taker_works_through_slice_after_slice() -> None:
    book = Book()
    book.place(special(1, "sell 7 at 101", display=3))
    book.place(an_order(2, "sell 2 at 101"))

    placement = book.place(an_order(1_000, "buy 9 at 101", time_in_force=FOK))

    assert told(placement.fills) == ["#1 3 at 101", "#2 2 at 101", "#1 3 at 101", "#1 1 at 101"]
    assert len(book) == 0


def test_an_iceberg_that_shrinks_keeps_its_place_and_shows_no_more_than_it_has() -> None:
    book = Book()
    book.place(special(1, "sell 7 at 101", display=3))
    book.place(an_order(2, "sell 2 at 101"))

    assert book.amend(1, price=101, quantity=2).kept_place
    assert drawn(book) == "sell 101 | #1 2, #2 2"
    assert book.level(Side.SELL, 101) == (101, 4, 2)
    assert not book.amend(1, price=101, quantity=5).kept_place
    assert book.level(Side.SELL, 101) == (101, 5, 2)


# Conditional orders


def test_a_conditional_order_is_not_shown_and_is_passed_over_by_too_few_lots() -> None:
    book = Book()
    book.place(special(1, "sell 5 at 100", minimum=3))
    book.place(an_order(2, "sell 5 at 101"))
    assert book.depth(9)[1] == [(101, 5, 1)]
    assert book.best_ask == 101

    assert told(book.place(an_order(3, "buy 2 at 101")).fills) == ["#2 2 at 101"]
    assert told(book.place(an_order(4, "buy 3 at 101")).fills) == ["#1 3 at 100"]
    assert told(book.place(an_order(5, "buy 2 at 101")).fills) == ["#1 2 at 100"]  # the rest is below the minimum


def test_seen_and_unseen_orders_trade_by_price_and_then_by_time() -> None:
    book = Book()
    book.place(an_order(1, "sell 1 at 101"))
    book.place(special(2, "sell 1 at 101", all_or_none=True))
    book.place(an_order(3, "sell 1 at 101"))
    book.place(special(4, "sell 1 at 100", all_or_none=True))

    placement = book.place(an_order(9, "buy 4 at 101"))

    assert [fill.maker.id for fill in placement.fills] == [4, 1, 2, 3]


def test_all_or_none_waits_until_enough_has_come_to_rest_and_then_takes() -> None:
    book = a_book("buy 101 | #1 3")
    assert book.place(special(2, "sell 8 at 100", all_or_none=True)).fills == ()

    placement = book.place(an_order(3, "buy 5 at 100"))

    assert [(fill.maker.id, fill.taker.id, fill.price) for fill in placement.fills] == [(1, 2, 101), (3, 2, 100)]
    assert placement.state == "filled"
    assert len(book) == 0


def test_a_smaller_all_or_none_may_trade_at_once() -> None:
    book = a_book("buy 101 | #1 3")
    book.place(special(2, "sell 8 at 100", all_or_none=True))

    amendment = book.amend(2, price=100, quantity=3)

    assert (amendment.kept_place, amendment.state) == (True, "filled")
    assert told(amendment.fills) == ["#1 3 at 101"]


def test_a_cancel_may_clear_the_way_for_a_conditional_order() -> None:
    book = a_book("buy 101 | #1 1, #3 3")
    book.place(special(4, "sell 3 at 100", all_or_none=True, group_id=1))  # its own group stands before it
    assert len(book) == 3

    removed = book.remove(1)

    assert told(removed.fills) == ["#3 3 at 101"]
    assert removed.effects == ()


def test_fill_or_kill_does_not_count_lots_that_their_own_condition_keeps_back() -> None:
    book = Book()
    book.place(special(1, "sell 9 at 100", all_or_none=True))
    book.place(an_order(2, "sell 3 at 101"))

    assert book.place(an_order(3, "buy 4 at 101", time_in_force=FOK)).reason == "fok_unfilled"
    assert book.place(an_order(4, "buy 9 at 101", time_in_force=FOK)).state == "filled"


# Stops


def test_a_stop_waits_unseen_and_becomes_a_market_order_at_its_price() -> None:
    book = a_book("""
        sell 104 | #1 2
        sell 103 | #2 2
    """)
    book.place(special(3, "buy 2 at 105", stop_price=103, time_in_force=IOC))
    assert [order.id for order in book.armed_orders()] == [3]
    assert book.depth(9)[0] == []

    placement = book.place(an_order(4, "buy 1 at 103"))

    assert [(fill.maker.id, fill.taker.id) for fill in placement.fills] == [(2, 4), (2, 3), (1, 3)]
    assert happened(placement.effects) == ["triggered #3"]
    assert drawn(book) == "sell 104 | #1 1"


def test_a_stop_limit_order_waits_on_and_a_stop_that_finds_too_little_ends() -> None:
    book = a_book("sell 103 | #1 1")
    book.place(special(2, "buy 3 at 103", stop_price=103))
    book.place(special(3, "buy 3 at 103", stop_price=103, time_in_force=IOC))

    placement = book.place(an_order(4, "buy 1 at 103"))

    assert happened(placement.effects) == ["triggered #2", "triggered #3", "ended #3 ioc_remainder"]
    assert drawn(book) == "buy  103 | #2 3"


def test_a_stop_whose_price_has_been_reached_goes_off_at_once() -> None:
    book = Book(reference=100)

    placement = book.place(special(1, "sell 3 at 95", stop_price=100))

    assert (happened(placement.effects), placement.state) == (["triggered #1"], "open")


def test_stops_set_each_other_off() -> None:
    book = a_book("""
        buy 100 | #1 1
        buy 98 | #2 1
        buy 96 | #3 1
    """)
    book.place(special(4, "sell 1 at 90", stop_price=98, time_in_force=IOC))
    book.place(special(5, "sell 1 at 90", stop_price=100, time_in_force=IOC))

    placement = book.place(an_order(6, "sell 1 at 100"))

    assert happened(placement.effects) == ["triggered #5", "triggered #4"]
    assert [fill.price for fill in placement.fills] == [100, 98, 96]


def test_every_price_of_a_sweep_counts_for_stops_not_only_the_last() -> None:
    book = a_book("sell 100 | #1 1\nsell 104 | #2 1")
    book.reference = 105
    book.place(special(3, "sell 1 at 100", stop_price=100))

    placement = book.place(an_order(4, "buy 2 at 104"))

    assert [fill.price for fill in placement.fills] == [100, 104]
    assert happened(placement.effects) == ["triggered #3"]


def test_an_armed_stop_expires_and_is_amended_and_cancelled_like_others() -> None:
    book = Book()
    book.place(special(1, "buy 3 at 105", stop_price=103, time_in_force=GTD, expires_at=10))
    book.place(special(2, "buy 3 at 105", stop_price=103))

    assert book.amend(2, price=104, quantity=2).state == "open"
    assert [order.id for order in book.all_orders()] == [1, 2]
    assert ended(book.advance(10)) == [1]
    assert book.cancel(2).open == 2
    assert (len(book), book.special_orders) == (0, 0)


# One cancels the other


def a_pair(book: Book, **other: object) -> None:
    book.place(special(1, "sell 5 at 105", party_id=7))
    book.place(special(2, "sell 5 at 90", party_id=7, stop_price=95, linked_to=1, time_in_force=IOC, **other))


def test_a_trade_of_one_even_in_part_ends_the_other() -> None:
    book = Book()
    a_pair(book)

    placement = book.place(an_order(3, "buy 1 at 105"))

    assert told(placement.fills) == ["#1 1 at 105"]
    assert happened(placement.effects) == ["ended #2 linked"]
    assert drawn(book) == "sell 105 | #1 4"


def test_a_trigger_of_one_ends_the_other_before_it_can_trade() -> None:
    book = a_book("buy 95 | #3 2")
    a_pair(book)

    placement = book.place(an_order(4, "sell 1 at 95"))

    assert happened(placement.effects)[:2] == ["triggered #2", "ended #1 linked"]
    assert [fill.taker.id for fill in placement.fills] == [4, 2]


def test_a_cancel_or_the_end_of_its_time_ends_the_sibling_too() -> None:
    book = Book()
    a_pair(book)
    assert happened(book.remove(2).effects) == ["ended #1 linked"]

    book.place(special(4, "sell 5 at 105", party_id=7, time_in_force=GTD, expires_at=10))
    book.place(special(5, "sell 5 at 106", party_id=7, linked_to=4))
    assert happened(book.advance(10).effects) == ["ended #4 expired", "ended #5 linked"]


def test_one_taker_never_trades_with_both_siblings() -> None:
    book = Book()
    book.place(special(1, "sell 5 at 100", party_id=7))
    book.place(special(2, "sell 5 at 101", party_id=7, linked_to=1))

    assert book.place(an_order(3, "buy 6 at 101", time_in_force=FOK)).reason == "fok_unfilled"
    assert told(book.place(an_order(4, "buy 6 at 101", time_in_force=IOC)).fills) == ["#1 5 at 100"]
    assert len(book) == 0


def test_an_incoming_order_that_trades_does_not_meet_its_sibling_any_more() -> None:
    book = a_book("sell 102 | #3 1\nsell 100 | #2 1")
    book.place(special(4, "sell 1 at 101", party_id=7))

    placement = book.place(special(9, "buy 2 at 102", party_id=7, linked_to=4))

    assert told(placement.fills) == ["#2 1 at 100", "#3 1 at 102"]
    assert (happened(placement.effects), placement.state) == (["ended #4 linked"], "filled")


def test_siblings_are_of_one_party_and_only_two() -> None:
    book = Book()
    a_pair(book)

    with pytest.raises(UnfitLink):
        book.place(special(3, "sell 5 at 106", party_id=8, linked_to=1))
    with pytest.raises(UnfitLink):
        book.place(special(3, "sell 5 at 106", party_id=7, linked_to=1))
    assert len(book) == 2


# Pegged orders


def test_a_pegged_order_follows_trades_and_goes_to_the_back() -> None:
    book = Book(tick=5, reference=100)
    book.place(special(1, "buy 5 at 5", peg_offset=-10))
    book.place(an_order(2, "buy 5 at 100"))
    book.place(an_order(3, "buy 5 at 95"))
    assert drawn(book).splitlines()[-1] == "buy  90 | #1 5"

    placement = book.place(an_order(4, "sell 1 at 100"))
    assert placement.effects == ()

    placement = book.place(an_order(5, "sell 5 at 95"))
    assert told(placement.fills) == ["#2 4 at 100", "#3 1 at 95"]
    assert happened(placement.effects) == ["repriced #1 90"]
    assert drawn(book) == table("""
        buy  95 | #3 4
        buy  85 | #1 5
    """)


@pytest.mark.parametrize(
    ("words", "offset", "price"),
    [
        ("buy 1 at 5", 0, 100),
        ("buy 1 at 5", 20, 105),  # one tick below the best ask
        ("buy 1 at 5", -95, 50),  # the lowest price of the static band
        ("sell 1 at 5", 5, 105),
        ("sell 1 at 5", -95, 95),  # one tick above the best bid
        ("sell 1 at 5", 500, 150),  # the highest
    ],
)
def test_a_pegged_order_stays_in_the_band_and_never_takes(words: str, offset: int, price: int) -> None:
    book = Book(tick=5, reference=100, lowest=48, highest=152)
    book.place(an_order(1, "sell 9 at 110"))
    book.place(an_order(2, "buy 9 at 90"))
    order = special(3, words, peg_offset=offset)

    placement = book.place(order)

    assert (placement.fills, placement.state, order.price) == ((), "open", price)


def test_a_pegged_order_needs_something_to_follow_and_somewhere_to_wait() -> None:
    with pytest.raises(NoReference):
        Book().place(special(1, "buy 1 at 5", peg_offset=0))

    book = Book(tick=5, reference=100, lowest=50)
    book.place(an_order(1, "sell 9 at 50"))
    assert book.place(special(2, "buy 1 at 5", peg_offset=0)).reason == "post_only_would_cross"


# Falling prices


def test_a_falling_price_takes_exactly_its_steps_and_trades_where_it_meets_a_bid() -> None:
    book = a_book("buy 92 | #1 1")
    decay = Decay(start=100, floor=91, step=4, every_us=10, since_us=5)
    order = special(2, "sell 3 at 100", decay=decay)
    book.place(order)
    path: dict[int, int] = {}

    for now in range(5, 60):
        book.advance(now)
        path.setdefault(order.price, now)
        assert order.price == decay.price_at(now)

    assert path == {100: 5, 96: 15, 92: 25, 91: 35}
    assert (order.filled, book.next_due) == (1, None)


def test_steps_that_were_slept_through_happen_in_the_order_of_time() -> None:
    book = Book()
    book.place(an_order(1, "buy 1 at 96", time_in_force=GTD, expires_at=15))
    book.place(an_order(2, "buy 1 at 92", time_in_force=GTD, expires_at=26))
    book.place(special(3, "sell 3 at 100", decay=Decay(100, 80, 4, 10, 5)))

    moved = book.advance(1_000)

    assert told(moved.fills) == ["#2 1 at 92"]  # the first bid ended at the very moment of the step
    assert happened(moved.effects)[:3] == ["ended #1 expired", "repriced #3 100", "repriced #3 96"]
    assert drawn(book) == "sell 80 | #3 2"


# The dynamic band


def test_a_trade_beyond_the_band_does_not_happen_and_starts_a_call() -> None:
    book = Book(reference=100, band_basis_points=300)
    for order_id, price in {1: 102, 2: 103, 3: 104}.items():
        book.place(an_order(order_id, f"sell 1 at {price}"))

    placement = book.place(an_order(4, "buy 3 at 110"))

    assert told(placement.fills) == ["#1 1 at 102", "#2 1 at 103"]
    assert (happened(placement.effects), placement.state, book.calling) == (["breached 104"], "open", True)
    assert (book.best_bid, book.best_ask) == (110, 104)
    assert book.place(an_order(5, "buy 1 at 110", time_in_force=IOC)).reason == "ioc_remainder"


def test_an_immediate_order_that_breaches_ends_for_that_reason_and_a_fill_or_kill_breaches_nothing() -> None:
    book = Book(reference=100, band_basis_points=300)
    book.place(an_order(1, "sell 1 at 103"))
    book.place(an_order(2, "sell 1 at 104"))

    assert book.place(an_order(3, "buy 2 at 110", time_in_force=FOK)).reason == "fok_unfilled"
    assert not book.calling
    assert book.place(an_order(4, "buy 2 at 110", time_in_force=IOC)).reason == "band_breached"
    assert book.calling


@pytest.mark.parametrize(("price", "calling"), [(97, False), (96, True), (105, False), (106, True)])
def test_the_band_is_rounded_inward(price: int, calling: bool) -> None:
    book = Book(reference=101, band_basis_points=400)  # 96.96 to 105.04
    book.place(an_order(1, f"sell 1 at {price}" if price > 101 else f"buy 1 at {price}"))

    book.place(an_order(2, "buy 1 at 200" if price > 101 else "sell 1 at 1"))

    assert book.calling == calling


# Looking at it, and loading it


def test_what_stands_ahead_is_what_is_shown_at_better_prices_and_before_it() -> None:
    book = Book()
    book.place(special(1, "sell 7 at 100", display=3))
    book.place(an_order(2, "sell 2 at 101"))
    book.place(special(3, "sell 9 at 101", all_or_none=True))
    book.place(an_order(4, "sell 2 at 101"))

    assert [book.ahead_of(order_id) for order_id in (1, 2, 3, 4)] == [(0, 0), (1, 3), (2, 5), (2, 5)]
    with pytest.raises(UnknownOrder):
        book.ahead_of(5)


def test_an_order_of_any_kind_leaves_nothing_behind() -> None:
    book = Book(reference=100)
    book.place(special(1, "sell 7 at 110", display=3))
    book.place(special(2, "sell 7 at 110", minimum=3))
    book.place(special(3, "buy 7 at 120", stop_price=120))
    book.place(special(4, "buy 7 at 1", peg_offset=-5))
    book.place(special(5, "sell 7 at 111", decay=Decay(111, 101, 1, 10, 0)))
    book.place(special(6, "sell 7 at 111", linked_to=5, party_id=5))
    assert (len(book), book.special_orders) == (6, 6)

    for order in list(book.all_orders()):
        if order.id in book:
            book.cancel(order.id)

    assert (len(book), book.special_orders, book.careful) == (0, 0, False)
    assert (book.pegs, book.links, list(book.all_orders()), book.depth(9)) == ({}, {}, [], ([], []))


def test_a_crossed_book_is_loaded_while_it_is_calling_and_cannot_just_go_on() -> None:
    book = Book()
    book.calling = True
    book.load([an_order(1, "sell 1 at 100"), an_order(2, "buy 1 at 101")])

    with pytest.raises(AssertionError):
        book.calling = False
    assert book.uncross().volume == 1
    assert not book.calling


def test_a_mark_stands_for_what_an_order_is_and_is_the_same_everywhere() -> None:
    order = an_order(5, "buy 3 at 100")
    assert mark(order) == 8770637682819926533
    assert 0 <= mark(order) < 2**64

    marks = {mark(order)}
    for name in ("id", "price", "open", "priority"):
        other = deepcopy(order)
        setattr(other, name, getattr(other, name) + 1)
        marks.add(mark(other))
    assert len(marks) == 5
