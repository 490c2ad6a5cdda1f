"""The rules of the book, one by one."""

import pytest

from matching.book import Book
from matching.refusals import CrossedBook, DuplicateOrder, UnknownOrder
from tests.matching.tables import FOK, GTD, IOC, a_book, an_order, drawn, ended, orders_of, table, told


def test_an_order_that_meets_nobody_waits_at_its_price() -> None:
    book = a_book("sell 105 | #1 5")

    placement = book.place(an_order(2, "buy 3 at 104"))

    assert placement == ((), "open", None, ())
    assert drawn(book) == table("""
        sell 105 | #1 5
        buy  104 | #2 3
    """)


def test_the_best_price_trades_first_and_at_one_price_the_oldest() -> None:
    book = a_book("""
        sell 102 | #1 5
        sell 101 | #2 2, #3 2
    """)

    placement = book.place(an_order(9, "buy 6 at 102"))

    assert told(placement.fills) == ["#2 2 at 101", "#3 2 at 101", "#1 2 at 102"]
    assert placement.state == "filled"
    assert drawn(book) == "sell 102 | #1 3"


def test_a_seller_meets_the_highest_bid_first() -> None:
    book = a_book("""
        buy 102 | #1 1
        buy 101 | #2 5
    """)

    placement = book.place(an_order(9, "sell 3 at 100"))

    assert told(placement.fills) == ["#1 1 at 102", "#2 2 at 101"]


def test_the_price_is_the_one_that_was_waiting() -> None:
    book = a_book("sell 90 | #1 5")

    placement = book.place(an_order(2, "buy 5 at 100"))

    assert [fill.price for fill in placement.fills] == [90]


def test_nobody_trades_beyond_the_limit_and_the_rest_waits() -> None:
    book = a_book("""
        sell 103 | #1 5
        sell 101 | #2 5
    """)

    placement = book.place(an_order(3, "buy 8 at 102"))

    assert told(placement.fills) == ["#2 5 at 101"]
    assert (placement.state, placement.reason) == ("open", None)
    assert drawn(book) == table("""
        sell 103 | #1 5
        buy  102 | #3 3
    """)


def test_a_maker_filled_in_part_keeps_its_place() -> None:
    book = a_book("sell 101 | #1 5, #2 5")

    book.place(an_order(3, "buy 2 at 101"))

    assert drawn(book) == "sell 101 | #1 3, #2 5"


def test_a_fill_names_both_orders_as_they_are_after_it() -> None:
    book = a_book("sell 101 | #1 5")
    taker = an_order(2, "buy 2 at 101")

    (fill,) = book.place(taker).fills

    assert (fill.maker.id, fill.maker.open, fill.maker.filled) == (1, 3, 2)
    assert (fill.taker, taker.open, taker.filled) == (taker, 0, 2)


def test_an_immediate_order_takes_what_is_there_and_cancels_the_rest() -> None:
    book = a_book("sell 101 | #1 5")
    order = an_order(2, "buy 8 at 101", time_in_force=IOC)

    placement = book.place(order)

    assert told(placement.fills) == ["#1 5 at 101"]
    assert (placement.state, placement.reason, order.open) == ("cancelled", "ioc_remainder", 3)
    assert len(book) == 0


def test_an_immediate_order_with_nothing_in_reach_is_cancelled_whole() -> None:
    book = a_book("sell 105 | #1 5")

    placement = book.place(an_order(2, "buy 8 at 101", time_in_force=IOC))

    assert placement == ((), "cancelled", "ioc_remainder", ())
    assert drawn(book) == "sell 105 | #1 5"


def test_fill_or_kill_takes_all_across_prices() -> None:
    book = a_book("""
        sell 102 | #1 5
        sell 101 | #2 5
    """)

    placement = book.place(an_order(3, "buy 10 at 102", time_in_force=FOK))

    assert told(placement.fills) == ["#2 5 at 101", "#1 5 at 102"]
    assert (placement.state, placement.reason) == ("filled", None)


@pytest.mark.parametrize("words", ["buy 11 at 102", "buy 6 at 101", "buy 1 at 100"])
def test_fill_or_kill_takes_nothing_when_not_all_is_in_reach(words: str) -> None:
    book = a_book("""
        sell 102 | #1 5
        sell 101 | #2 5
    """)
    before = drawn(book)

    placement = book.place(an_order(3, words, time_in_force=FOK))

    assert placement == ((), "cancelled", "fok_unfilled", ())
    assert drawn(book) == before


def test_post_only_never_takes() -> None:
    book = a_book("sell 101 | #1 5")

    placement = book.place(an_order(2, "buy 1 at 101", post_only=True))

    assert placement == ((), "cancelled", "post_only_would_cross", ())
    assert drawn(book) == "sell 101 | #1 5"


def test_post_only_waits_like_any_other_below_the_best_ask() -> None:
    book = a_book("sell 101 | #1 5")

    assert book.place(an_order(2, "buy 1 at 100", post_only=True)).state == "open"
    assert told(book.place(an_order(3, "sell 1 at 100")).fills) == ["#2 1 at 100"]


@pytest.mark.parametrize("same", [{"group_id": 1}, {"party_id": 1}], ids=["one household", "one party, new household"])
def test_a_self_trade_cancels_the_newest_and_leaves_the_resting_order(same: dict[str, int]) -> None:
    book = a_book("sell 101 | #1 5")

    placement = book.place(an_order(2, "buy 5 at 101", **same))

    assert placement == ((), "cancelled", "self_trade", ())
    assert drawn(book) == "sell 101 | #1 5"


def test_fills_made_before_meeting_the_own_group_stand() -> None:
    book = a_book("""
        sell 102 | #4 5
        sell 101 | #1 2, #2 5, #3 5
    """)
    order = an_order(9, "buy 9 at 102", group_id=2)

    placement = book.place(order)

    assert told(placement.fills) == ["#1 2 at 101"]
    assert (placement.state, placement.reason, order.open) == ("cancelled", "self_trade", 7)
    assert drawn(book) == table("""
        sell 102 | #4 5
        sell 101 | #2 5, #3 5
    """)


def test_an_order_filled_before_its_own_group_is_reached_is_simply_filled() -> None:
    book = a_book("sell 101 | #1 2, #2 5")

    assert book.place(an_order(9, "buy 2 at 101", group_id=2)).state == "filled"


@pytest.mark.parametrize("same", [{"group_id": 2}, {"party_id": 2}])
def test_fill_or_kill_does_not_count_what_lies_behind_its_own_group(same: dict[str, int]) -> None:
    book = a_book("sell 101 | #1 2, #2 5, #3 5")

    assert book.place(an_order(8, "buy 3 at 101", time_in_force=FOK, **same)).reason == "fok_unfilled"
    assert book.place(an_order(9, "buy 2 at 101", time_in_force=FOK, **same)).state == "filled"


def test_an_order_beside_its_own_group_on_one_side_is_no_self_trade() -> None:
    book = a_book("buy 101 | #1 5")

    assert book.place(an_order(2, "buy 5 at 101", group_id=1)).state == "open"


def test_a_cancelled_order_leaves_its_queue_wherever_it_stood() -> None:
    for gone, left in {1: "#2 2, #3 3", 2: "#1 1, #3 3", 3: "#1 1, #2 2"}.items():
        book = a_book("sell 101 | #1 1, #2 2, #3 3")

        cancelled = book.cancel(gone)

        assert (cancelled.id, cancelled.open) == (gone, gone)
        assert drawn(book) == f"sell 101 | {left}"


def test_a_price_disappears_with_its_last_order_and_can_come_back() -> None:
    book = a_book("""
        sell 103 | #1 1
        sell 102 | #2 1
        sell 101 | #3 1
    """)

    book.cancel(2)
    assert [level.price for level in book.depth(9)[1]] == [101, 103]

    book.place(an_order(4, "sell 7 at 102"))
    assert book.depth(9)[1] == [(101, 1, 1), (102, 7, 1), (103, 1, 1)]


def test_only_an_open_order_can_be_cancelled() -> None:
    book = a_book("sell 101 | #1 1, #2 1")
    book.cancel(2)
    book.place(an_order(3, "buy 1 at 101"))

    for order_id in (1, 2, 3, 99):
        with pytest.raises(UnknownOrder, match=f"Order {order_id} is not open"):
            book.cancel(order_id)


def test_an_order_that_left_keeps_no_other_order_alive() -> None:
    book = a_book("sell 101 | #1 1, #2 1, #3 1")

    middle, first = book.cancel(2), book.get(1)
    book.place(an_order(4, "buy 1 at 101"))

    for order in (middle, first):
        assert order is not None
        assert (order.level, order.before, order.after) == (None, None, None)


def test_a_number_already_in_the_book_is_refused() -> None:
    book = a_book("sell 101 | #1 5")

    with pytest.raises(DuplicateOrder):
        book.place(an_order(1, "buy 5 at 101"))
    assert drawn(book) == "sell 101 | #1 5"


def test_orders_expire_at_their_time_by_time_and_then_by_id() -> None:
    book = Book()
    for order_id, expires_at in {1: 30, 2: 10, 4: 20, 3: 20}.items():
        book.place(an_order(order_id, "buy 1 at 100", time_in_force=GTD, expires_at=expires_at))
    book.place(an_order(5, "buy 1 at 100"))

    assert ended(book.advance(9)) == []
    assert ended(book.advance(20)) == [2, 3, 4]
    assert drawn(book) == "buy  100 | #1 1, #5 1"
    assert ended(book.advance(1_000)) == [1]


def test_an_order_that_left_before_its_time_does_not_expire_as_well() -> None:
    book = Book()
    for order_id in (1, 2, 3):
        book.place(an_order(order_id, "buy 1 at 100", time_in_force=GTD, expires_at=10))
    book.cancel(2)
    book.place(an_order(4, "sell 1 at 100"))

    assert ended(book.advance(10)) == [3]


def test_an_expiry_belongs_to_the_order_and_not_to_its_number() -> None:
    book = Book()
    book.place(an_order(1, "buy 1 at 100", time_in_force=GTD, expires_at=10))
    book.cancel(1)
    book.place(an_order(1, "buy 1 at 100", time_in_force=GTD, expires_at=20))

    assert ended(book.advance(15)) == []
    assert ended(book.advance(20)) == [1]


def test_expiries_of_orders_long_gone_take_no_room() -> None:
    book = Book()

    for order_id in range(1_000):
        book.place(an_order(order_id, "buy 1 at 100", time_in_force=GTD, expires_at=10_000 - order_id))
        if order_id % 10:
            book.cancel(order_id)

    assert len(book.expiries) <= 2 * len(book) + 64
    assert ended(book.advance(10_000)) == list(range(990, -1, -10))


def test_a_book_is_loaded_as_it_was_without_trading() -> None:
    book = a_book("""
        sell 103 | #1 5
        sell 102 | #3 5, #2 1
        buy 101 | #5 2, #4 2
    """)

    again = Book()
    again.load(an_order(o.id, f"{o.side.name.lower()} {o.open} at {o.price}") for o in book.open_orders())

    assert drawn(again) == drawn(book)
    assert (again.best_bid, again.best_ask, len(again)) == (101, 102, 5)


def test_an_order_loaded_in_part_filled_remembers_what_it_filled() -> None:
    book = Book()
    book.load([an_order(1, "sell 9 at 100", open=4)])

    (fill,) = book.place(an_order(2, "buy 9 at 100")).fills

    assert (fill.quantity, fill.maker.filled) == (4, 9)


@pytest.mark.parametrize("lines", [["sell 101 | #1 5", "buy 101 | #2 5"], ["buy 102 | #2 5", "sell 101 | #1 5"]])
def test_a_crossed_book_is_not_loaded(lines: list[str]) -> None:
    with pytest.raises(CrossedBook):
        Book().load(orders_of("\n".join(lines)))


def test_the_same_order_is_not_loaded_twice() -> None:
    with pytest.raises(DuplicateOrder):
        Book().load(orders_of("sell 101 | #1 5, #1 5"))


def test_an_order_that_cannot_wait_is_not_loaded() -> None:
    with pytest.raises(AssertionError):
        Book().load([an_order(1, "sell 1 at 100", time_in_force=IOC)])


def test_depth_shows_lots_and_orders_best_first_as_deep_as_asked() -> None:
    book = a_book("""
        sell 103 | #1 5
        sell 102 | #2 1, #3 2
        buy 101 | #4 4
        buy 99 | #5 6, #6 1
    """)

    bids, asks = book.depth(9)
    assert bids == [(101, 4, 1), (99, 7, 2)]
    assert asks == [(102, 3, 2), (103, 5, 1)]
    assert book.depth(1) == (bids[:1], asks[:1])
    assert book.depth(0) == ([], [])


def test_an_empty_book_has_no_best_price() -> None:
    book = Book()

    assert (book.best_bid, book.best_ask, book.depth(5), list(book.open_orders())) == (None, None, ([], []), [])


def test_open_orders_come_in_the_order_they_would_trade() -> None:
    book = a_book("""
        sell 103 | #1 5
        sell 102 | #3 1, #2 2
        buy 101 | #6 4
        buy 99 | #4 6, #5 1
    """)

    assert [order.id for order in book.open_orders()] == [6, 4, 5, 3, 2, 1]
    assert 6 in book
    assert 7 not in book
    assert book.get(7) is None
