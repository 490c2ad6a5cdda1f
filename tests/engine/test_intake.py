"""Where a stream stands while some of what was taken from it still waits."""

from collections.abc import Sequence

import pytest

from market.engine.commands import Envelope, ExpireOrders
from market.engine.desk import Desk
from market.engine.intake import Entry, Queue


def _entries(*numbers: str) -> Sequence[Entry]:
    return [
        Entry(number, Envelope(ExpireOrders(1, f"k{at}", b"", 1), "", 0)) for at, number in enumerate(numbers, start=1)
    ]


@pytest.mark.parametrize(
    ("numbers", "position"),
    [
        (("5-0", "5-1", "6-0"), "5-0"),
        (("5-0", "6-0"), f"5-{2**64 - 1}"),
        (("0-0", "0-0"), "0-0"),  # the house's own, on a stream that nobody has written to yet
    ],
)
def test_the_position_stays_before_what_waits_and_never_before_the_beginning(
    numbers: Sequence[str], position: str
) -> None:
    queue = Queue("0-0", last="0-0")
    queue.add(_entries(*numbers), numbers[-1])

    taken = queue.next_batch(Desk(0), None, 1)

    assert len(taken) == 1
    assert queue.position == position


def test_when_nothing_waits_the_position_is_the_last_entry_readable_or_not() -> None:
    queue = Queue("0-0", last="0-0")
    queue.add(_entries("5-0"), "5-3")

    queue.next_batch(Desk(0), None, 10)

    assert queue.position == "5-3"
