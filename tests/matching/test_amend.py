"""What changing an order does to its place, and what it may not do."""

import pytest

from matching.book import Book
from matching.refusals import AmendBelowFilled, AmendWouldCross, UnknownOrder
from tests.matching.tables import GTD, a_book, an_order, drawn, ended, table, told

QUEUE = "sell 101 | #1 5, #2 5"


@pytest.mark.parametrize(
    ("price", "quantity", "after", "kept"),
    [
        (101, 3, "sell 101 | #1 3, #2 5", True),  # fewer lots at the same price
        (101, 5, "sell 101 | #1 5, #2 5", True),  # nothing changed
        (101, 6, "sell 101 | #2 5, #1 6", False),  # more lots
        (102, 5, "sell 102 | #1 5\nsell 101 | #2 5", False),  # a worse price
        (100, 3, "sell 101 | #2 5\nsell 100 | #1 3", False),  # a better price, fewer lots
    ],
)
def test_an_order_keeps_its_place_only_when_nobody_behind_it_loses(
    price: int, quantity: int, after: str, kept: bool
) -> None:
    book = a_book(QUEUE)

    amendment = book.amend(1, price=price, quantity=quantity)

    assert drawn(book) == after
    assert (amendment.kept_place, amendment.state, amendment.fills) == (kept, "open", ())
    assert (amendment.price_before, amendment.open_before) == (101, 5)
    assert amendment.order is book.get(1)
    assert book.depth(9)[1] == [(level.price, level.quantity, level.orders) for level in a_book(after).depth(9)[1]]


def test_a_new_price_may_trade_as_a_taker_and_the_rest_waits() -> None:
    book = a_book("""
        sell 102 | #1 3
        buy 100 | #2 5
    """)

    amendment = book.amend(2, price=102, quantity=5)

    assert told(amendment.fills) == ["#1 3 at 102"]
    assert (amendment.state, amendment.open_before) == ("open", 5)
    assert drawn(book) == "buy  102 | #2 2"


def test_the_new_quantity_counts_what_is_already_filled() -> None:
    book = a_book("sell 101 | #1 5")
    book.place(an_order(2, "buy 3 at 101"))

    amendment = book.amend(1, price=101, quantity=4)

    assert (amendment.open_before, amendment.order.open, amendment.order.filled) == (2, 1, 3)


@pytest.mark.parametrize("quantity", [3, 2, 0, -1])
def test_a_quantity_not_above_what_is_filled_is_refused_and_changes_nothing(quantity: int) -> None:
    book = a_book("sell 101 | #1 5")
    book.place(an_order(2, "buy 3 at 101"))

    with pytest.raises(AmendBelowFilled, match="3 lots of this order are already filled"):
        book.amend(1, price=100, quantity=quantity)
    assert drawn(book) == "sell 101 | #1 2"


def test_an_amended_order_that_meets_its_own_group_is_cancelled() -> None:
    book = Book()
    book.place(an_order(1, "sell 5 at 101", group_id=7))
    book.place(an_order(2, "buy 5 at 100", group_id=7))

    amendment = book.amend(2, price=101, quantity=5)

    assert (amendment.state, amendment.reason, amendment.order.open) == ("cancelled", "self_trade", 5)
    assert drawn(book) == "sell 101 | #1 5"


@pytest.mark.parametrize(("words", "price"), [("buy 5 at 100", 102), ("sell 5 at 103", 101)])
def test_a_post_only_order_that_would_trade_at_its_new_price_stays_as_it_was(words: str, price: int) -> None:
    book = a_book("""
        sell 102 | #1 5
        buy 101 | #2 5
    """)
    book.place(an_order(3, words, post_only=True))
    before = drawn(book)

    with pytest.raises(AmendWouldCross):
        book.amend(3, price=price, quantity=5)
    assert drawn(book) == before


def test_a_post_only_order_may_move_where_it_does_not_trade() -> None:
    book = a_book("sell 103 | #1 5")
    book.place(an_order(2, "buy 5 at 100", post_only=True))

    assert book.amend(2, price=102, quantity=5).state == "open"


def test_an_amended_order_still_expires_once() -> None:
    book = Book()
    book.place(an_order(1, "buy 5 at 100", time_in_force=GTD, expires_at=10))
    book.amend(1, price=99, quantity=5)

    assert ended(book.advance(10)) == [1]
    assert ended(book.advance(10)) == []


def test_only_an_open_order_can_be_amended() -> None:
    with pytest.raises(UnknownOrder):
        Book().amend(1, price=100, quantity=1)


def test_an_order_cannot_be_amended_to_no_price() -> None:
    book = a_book(QUEUE)

    with pytest.raises(AssertionError):
        book.amend(1, price=0, quantity=5)
    assert drawn(book) == QUEUE


def test_a_table_is_drawn_as_it_was_read() -> None:
    text = table("""
        sell 103 | #1 5
        buy  101 | #2 1, #3 2
    """)

    assert drawn(a_book(text)) == text


def test_a_renewed_order_keeps_its_place_and_ends_at_its_new_time_alone() -> None:
    book = a_book("sell 101 | #1 5")
    order = an_order(2, "sell 5 at 101")
    order.time_in_force, order.expires_at = GTD, 100
    book.place(order)
    book.place(an_order(3, "sell 5 at 101"))

    assert [one.id for one in book.renew(2, 900)] == [2]

    assert drawn(book) == "sell 101 | #1 5, #2 5, #3 5"
    assert ended(book.advance(500)) == []
    assert ended(book.advance(900)) == [2]


def test_an_order_without_an_end_is_left_as_it_is_and_an_unknown_one_is_refused() -> None:
    book = a_book("sell 101 | #1 5")

    assert book.renew(1, 900) == []
    with pytest.raises(UnknownOrder):
        book.renew(9, 900)
