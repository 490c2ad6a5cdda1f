"""Limits beyond price and group: what is passed over, what ends, and that a plan without effect is taken back."""

from matching.book import Book
from tests.matching.limits import Limits
from tests.matching.tables import FOK, an_order, drawn, happened, special, told


def a_guarded(limits: Limits, *words: str) -> Book:
    """Orders 1, 2, ... of parties of the same numbers."""
    book = Book()
    book.guard = limits
    for order_id, these in enumerate(words, 1):
        book.place(an_order(order_id, these))
    return book


def test_a_pair_kept_apart_is_passed_over_and_the_taker_does_not_cross_what_it_could_not_have() -> None:
    book = a_guarded(Limits(apart=[(1, 9)]), "sell 2 at 100", "sell 2 at 101")

    placement = book.place(an_order(9, "buy 3 at 101"))

    assert told(placement.fills) == ["#2 2 at 101"]
    assert happened(placement.effects) == ["skipped #1 2 kept_apart"]
    assert (placement.state, placement.reason) == ("cancelled", "kept_apart")
    assert drawn(book) == "sell 100 | #1 2"


def test_a_pair_kept_apart_does_not_matter_to_who_is_filled_beside_it() -> None:
    book = a_guarded(Limits(apart=[(1, 9)]), "sell 2 at 100", "sell 2 at 101")

    assert book.place(an_order(9, "buy 2 at 101")).state == "filled"


def test_a_pair_trades_what_it_may() -> None:
    book = a_guarded(Limits(together={(1, 9): 2}), "sell 5 at 100", "sell 5 at 100")

    placement = book.place(an_order(9, "buy 6 at 100"))

    assert told(placement.fills) == ["#1 2 at 100", "#2 4 at 100"]
    assert happened(placement.effects) == ["skipped #1 3 enough"]
    assert drawn(book) == "sell 100 | #1 3, #2 1"


def test_a_resting_order_whose_limit_is_used_up_ends() -> None:
    book = a_guarded(Limits(most_sold={1: 0, 2: 1}), "sell 5 at 100", "sell 5 at 100", "sell 5 at 100")

    placement = book.place(an_order(9, "buy 3 at 100"))

    assert told(placement.fills) == ["#2 1 at 100", "#3 2 at 100"]
    assert happened(placement.effects) == ["ended #1 sold", "skipped #2 2 sold", "ended #2 sold"]
    assert placement.state == "filled"


def test_an_incoming_order_whose_limit_is_used_up_stops_there() -> None:
    book = a_guarded(Limits(most_bought={9: 3}), "sell 2 at 100", "sell 2 at 100", "sell 2 at 100")
    order = an_order(9, "buy 6 at 100")

    placement = book.place(order)

    assert told(placement.fills) == ["#1 2 at 100", "#2 1 at 100"]
    assert (placement.state, placement.reason, order.open) == ("cancelled", "bought", 3)
    assert drawn(book) == "sell 100 | #2 1, #3 2"


def test_fill_or_kill_counts_what_the_guard_allows_and_takes_the_plan_back() -> None:
    limits = Limits(apart=[(1, 9)], most_bought={9: 5})
    book = a_guarded(limits, "sell 2 at 100", "sell 4 at 100", "sell 4 at 100")

    assert book.place(an_order(9, "buy 6 at 100", time_in_force=FOK)).reason == "fok_unfilled"
    assert limits.bought == {9: 0}
    assert book.place(an_order(10, "buy 5 at 100", party_id=9, time_in_force=FOK)).state == "filled"
    assert limits.bought == {9: 5}


def test_a_smallest_fill_that_the_guard_does_not_allow_is_no_fill() -> None:
    book = a_guarded(Limits(together={(1, 9): 2}))
    book.place(special(1, "sell 5 at 100", minimum=3))

    placement = book.place(an_order(9, "buy 5 at 100"))

    assert (placement.fills, placement.reason) == ((), "enough")
    assert happened(placement.effects) == ["skipped #1 5 enough"]


def test_a_guarded_book_goes_back_to_plain_matching_without_its_guard() -> None:
    book = a_guarded(Limits(apart=[(1, 9)]), "sell 2 at 100")

    book.guard = None

    assert not book.careful
    assert book.place(an_order(9, "buy 2 at 100")).state == "filled"
