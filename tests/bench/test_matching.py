"""The measure of the book: its stream is fixed and sound, and other books are judged by what they traded on it."""

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from matching.book import Book
from matching.orders import Order, OrderState, Side, TimeInForce
from web.bench import matching, peers
from web.bench.matching import Event
from web.bench.peers import Run

Stream = tuple[list[Order], list[Event]]

EVENTS = 20_000
DIGEST = "ee8658bdaf1db06b156bf1ae0095eaceb24a33c1cab3c829d4b9525f243532ff"


@pytest.fixture(scope="module")
def stream() -> Stream:
    return matching.draw(EVENTS, seed=1)


@pytest.fixture(scope="module")
def written(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    opening, events = stream
    path = tmp_path_factory.mktemp("bench") / "stream"
    peers.write(path, len(opening), map(matching.as_row, [*opening, *events]))
    return path


def test_the_stream_of_a_seed_is_always_the_same(stream: Stream) -> None:
    opening, events = stream

    rows = [",".join(str(int(number)) for number in matching.as_row(event)) for event in [*opening, *events]]

    assert sha256("\n".join(rows).encode()).hexdigest() == DIGEST


def test_half_are_adds_two_in_five_cancels_and_the_rest_takes(
    stream: Stream,
) -> None:
    kinds = [next(iter(matching.as_row(event))) for event in stream[1]]

    shares = [kinds.count(kind) / len(kinds) for kind in (peers.ADD, peers.CANCEL, peers.TAKE)]

    assert shares == pytest.approx([0.5, 0.4, 0.1], abs=0.01)


def test_every_cancel_names_an_open_order_and_every_taker_is_filled_whole(
    stream: Stream,
) -> None:
    opening, events = stream
    book = Book()
    for order in matching.fresh(opening):
        assert not isinstance(order, int)
        book.place(order)

    for event in matching.fresh(events):
        if isinstance(event, int):
            assert event in book
            book.cancel(event)
        else:
            placement = book.place(event)
            if event.time_in_force is TimeInForce.IOC:
                assert placement.state is OrderState.FILLED


def test_nobody_buys_and_sells_and_every_price_is_inside_the_band(
    stream: Stream,
) -> None:
    orders = [event for event in [*stream[0], *stream[1]] if not isinstance(event, int)]

    buyers = {order.party_id for order in orders if order.side is Side.BUY}
    sellers = {order.party_id for order in orders if order.side is Side.SELL}

    assert not buyers & sellers
    assert max(buyers | sellers) < matching.ACCOUNTS
    assert all(matching.LOWEST <= order.price <= matching.HIGHEST for order in orders)


def test_a_driver_trades_what_the_book_trades(stream: Stream, written: Path) -> None:
    opening, events = stream
    _, trades, lots = matching.match_all(matching.a_book(opening), matching.fresh(events[:5_000]))

    run = peers.play_core(written, 5_000)

    assert run == Run(5_000, run.elapsed_ns, lots, trades)
    assert run.elapsed_ns > 0


def test_a_peer_that_traded_otherwise_is_told_to_be_unequal() -> None:
    ours = [Run(10, 1_000, 7, 2), Run(10, 3_000, 7, 2)]

    equal, ratio = peers.figures_of("tortoise", ours, [Run(10, 4_000, 7, 2)])
    unequal, _ = peers.figures_of("hare", ours, [Run(10, 1_000, 7, 2), Run(10, 1_000, 6, 2)])

    assert ratio == 2.0
    assert equal["tortoise_traded_lots_equal"] == 1
    assert equal["tortoise_events_per_second"] == 2_500_000
    assert equal["tortoise_core_events_per_second"] == 5_000_000
    assert unequal["hare_traded_lots_equal"] == 0


def test_the_best_peer_came_to_the_end_and_traded_what_the_book_traded() -> None:
    ratios = {f"core_to_{peer.key}": 2.0 for peer in peers.PEERS}
    equal = {f"{peer.key}_traded_lots_equal": 1 for peer in peers.PEERS}
    ratios |= {"core_to_nanobook": 0.1, "core_to_obook": 0.2, "core_to_limit_order_book": 0.5}
    equal["obook_traded_lots_equal"] = 0

    best = peers.best(equal, ratios)

    assert best == {"core_to_best_peer": 2.0, "core_to_best_silent_peer": 0.5}


def test_a_peer_that_fails_says_why_and_nothing_more_stops(written: Path) -> None:
    with pytest.raises(peers.NotRun, match="No module named 'nanobook'"):
        peers.play(sys.executable, "nanobook", written, 100)


def test_a_machine_without_a_network_still_measures_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    figures, ratios = matching.run(events=2_000)

    assert figures["events_per_second"] > 0
    assert [figures[f"{peer.key}_ran"] for peer in peers.PEERS] == [0] * len(peers.PEERS)
    assert ratios == {}


def test_the_other_packages_can_be_left_out() -> None:
    figures, ratios = matching.run(events=2_000, beside=False)

    assert figures["events"] == 2_000
    assert not [name for name in figures if name.endswith("_ran")]
    assert ratios == {}
