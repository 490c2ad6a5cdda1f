"""The call and its auction: what is collected, the one price, and who trades at it."""

import pytest

from matching.book import Book
from matching.orders import SelfTrade, Side
from tests.matching.limits import Limits
from tests.matching.tables import FOK, GTD, IOC, an_order, drawn, ended, happened, orders_of, special, table


def a_call(text: str, **other: int) -> Book:
    book = Book(**other)
    book.calling = True
    for order in sorted(orders_of(text), key=lambda order: order.id):
        book.place(order)
    return book


def test_a_call_collects_without_matching() -> None:
    book = a_call("""
        sell 99 | #1 5
        buy 101 | #2 5
    """)

    assert (book.best_bid, book.best_ask, len(book)) == (101, 99, 2)
    assert book.place(an_order(3, "buy 1 at 101", time_in_force=IOC)).reason == "ioc_remainder"
    assert book.place(an_order(4, "buy 1 at 101", time_in_force=FOK)).reason == "fok_unfilled"
    assert book.place(an_order(5, "buy 1 at 101", post_only=True)).state == "open"
    assert book.amend(5, price=102, quantity=1).fills == ()
    assert book.cancel(5).open == 1
    assert book.place(an_order(6, "buy 1 at 101", time_in_force=GTD, expires_at=10)).state == "open"
    assert ended(book.advance(10)) == [6]


@pytest.mark.parametrize(
    ("text", "reference", "price", "volume", "surplus"),
    [
        ("sell 99 | #1 5\nbuy 101 | #2 5", 100, 100, 5, 0),  # any from 99 to 101, nearest the reference
        ("sell 99 | #1 5\nbuy 101 | #2 5", 90, 99, 5, 0),
        ("sell 99 | #1 5\nbuy 101 | #2 5", 200, 101, 5, 0),
        ("sell 99 | #1 5\nbuy 101 | #2 5", None, 99, 5, 0),  # without one the lowest
        ("sell 100 | #1 9\nsell 99 | #2 3\nbuy 100 | #3 5", 90, 100, 5, -7),  # most lots before the reference
        ("sell 99 | #1 5\nbuy 101 | #2 5\nbuy 100 | #3 2", 100, 101, 5, 0),  # fewest left over before the reference
        ("sell 99 | #1 5\nbuy 101 | #2 8", 100, 100, 5, 3),
    ],
)
def test_the_price_is_that_of_most_lots_then_fewest_left_then_nearest(
    text: str, reference: int | None, price: int, volume: int, surplus: int
) -> None:
    book = a_call(text)
    book.reference = reference

    assert book.indicative() == (price, volume, surplus)
    auction = book.uncross()
    assert (auction.price, auction.volume, auction.surplus) == (price, volume, surplus)
    assert (book.calling, book.reference) == (False, price)


def test_of_two_prices_equally_near_the_reference_it_is_the_lower() -> None:
    assert a_call("sell 90 | #1 5\nbuy 120 | #2 5", tick=10, reference=105).indicative() == (100, 5, 0)


def test_an_uncrossed_call_ends_without_a_trade() -> None:
    book = a_call("sell 101 | #1 5\nbuy 100 | #2 5", reference=7)

    assert book.indicative() is None
    assert book.uncross() == (None, 0, 0, (), ())
    assert (book.calling, book.reference) == (False, 7)


def test_all_trade_at_one_price_by_price_and_then_by_time_and_the_earlier_is_the_maker() -> None:
    book = a_call("""
        sell 101 | #1 2
        sell 99 | #4 2, #5 3
        buy 102 | #3 3
        buy 101 | #2 1, #6 5
    """)

    auction = book.uncross()

    assert [(f.maker.id, f.taker.id, f.price, f.quantity) for f in auction.fills] == [
        (3, 4, 101, 2),
        (3, 5, 101, 1),
        (2, 5, 101, 1),
        (5, 6, 101, 1),
        (1, 6, 101, 2),
    ]
    assert drawn(book) == "buy  101 | #6 2"


def test_an_iceberg_takes_part_with_all_its_lots_and_shows_no_more_afterwards() -> None:
    book = a_call("buy 100 | #2 6")
    book.place(special(3, "sell 9 at 100", display=2))
    book.place(an_order(4, "sell 1 at 100"))

    assert book.uncross().volume == 6
    assert book.level(Side.SELL, 100) == (100, 3, 2)
    assert drawn(book) == "sell 100 | #3 3, #4 1"


def test_stops_and_conditional_orders_are_looked_at_after_the_auction() -> None:
    book = a_call("""
        sell 100 | #1 5
        buy 100 | #2 9
    """)
    book.place(special(3, "sell 4 at 100", all_or_none=True))
    book.place(special(4, "buy 1 at 105", stop_price=100))

    auction = book.uncross()

    assert auction.volume == 5
    assert happened(auction.effects) == ["triggered #4"]
    assert [(f.maker.id, f.taker.id, f.price, f.quantity) for f in auction.fills] == [
        (1, 2, 100, 5),
        (4, 3, 105, 1),
        (2, 3, 100, 3),
    ]


def test_pegged_orders_move_after_the_auction() -> None:
    book = a_call("sell 100 | #1 5\nbuy 100 | #2 5", reference=90)
    book.place(special(3, "buy 1 at 1", peg_offset=-5))
    assert book.orders[3].price == 85

    assert happened(book.uncross().effects) == ["repriced #3 85"]
    assert drawn(book) == "buy  95 | #3 1"


@pytest.mark.parametrize("mode", SelfTrade)
def test_own_group_is_passed_for_the_next_and_what_stays_crossed_ends_newest_first(mode: SelfTrade) -> None:
    book = Book()
    book.calling = True
    book.place(an_order(1, "sell 5 at 99", group_id=7))
    book.place(an_order(2, "sell 2 at 99"))
    book.place(an_order(3, "buy 5 at 100", group_id=7, self_trade=mode))

    auction = book.uncross()

    assert [(fill.maker.id, fill.taker.id, fill.quantity) for fill in auction.fills] == [(2, 3, 2)]
    assert happened(auction.effects) == ["ended #3 self_trade"]
    assert drawn(book) == "sell 99 | #1 5"


def test_the_guard_is_asked_about_each_pair() -> None:
    book = Book()
    book.guard = Limits(most_sold={1: 2}, apart=[(2, 4)])
    book.calling = True
    for order_id, words in enumerate(("sell 5 at 99", "sell 5 at 99", "sell 5 at 99", "buy 9 at 99"), 1):
        book.place(an_order(order_id, words))

    auction = book.uncross()

    assert [(fill.maker.id, fill.quantity) for fill in auction.fills] == [(1, 2), (3, 5)]
    assert happened(auction.effects) == [
        "skipped #1 3 sold",
        "ended #1 sold",
        "skipped #2 5 kept_apart",
        "skipped #2 2 kept_apart",
        "ended #4 kept_apart",
    ]
    assert drawn(book) == "sell 99 | #2 5"


def test_siblings_never_both_trade_in_an_auction() -> None:
    book = Book()
    book.calling = True
    book.place(special(1, "sell 5 at 99", party_id=7))
    book.place(special(2, "sell 5 at 100", party_id=7, linked_to=1))
    book.place(an_order(3, "buy 9 at 101"))

    auction = book.uncross()

    assert [(fill.maker.id, fill.quantity) for fill in auction.fills] == [(1, 5)]
    assert happened(auction.effects) == ["ended #2 linked"]


def test_matching_goes_on_after_a_breach_and_its_auction() -> None:
    book = Book(reference=100, band_basis_points=300)
    book.place(an_order(1, "sell 1 at 110"))
    book.place(an_order(2, "buy 2 at 110"))
    assert book.calling

    assert book.uncross().price == 110
    assert book.place(an_order(3, "sell 1 at 110")).state == "filled"
    assert drawn(book) == table("")
