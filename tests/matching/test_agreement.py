"""Our book and the slow, obvious one give the same answers; and a book with a fault is found out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching.book import Book
from matching.orders import Amendment, Order, Placement, TimeInForce
from tests.matching.commands import Amend, Cancel, Command, Disagreement, Place, Run, Wait, random_commands

ROOT = Path(__file__).parents[2]

ids = st.integers(1, 25)
prices = st.integers(1, 6)
lots = st.integers(1, 6)
placing = st.builds(
    Place,
    party=st.integers(1, 5),
    group=st.integers(1, 3),
    buys=st.booleans(),
    price=prices,
    quantity=lots,
    time_in_force=st.sampled_from(["gtc", "gtc", "gtd", "ioc", "fok"]),
    post_only=st.booleans(),
    life=st.integers(1, 4),
)
commands = st.lists(
    placing
    | placing
    | st.builds(Cancel, ids)
    | st.builds(Amend, ids, prices, lots)
    | st.builds(Wait, st.integers(0, 3)),
    max_size=50,
)


@given(commands)
@settings(max_examples=300, deadline=None)
def test_every_answer_is_the_obvious_one(these: list[Command]) -> None:
    Run(Book()).all(these)


@pytest.mark.parametrize("seed", range(5))
def test_long_runs_agree_and_meet_every_kind_of_answer(seed: int) -> None:
    trace = repr(Run(Book()).all(random_commands(1_000, seed)))

    for kind in ("ioc_remainder", "fok_unfilled", "post_only_would_cross", "self_trade", "'filled'", "'open'"):
        assert kind in trace
    for kind in ("amend_below_filled", "amend_would_cross", "(True, ('open'", "(False, ('filled'", "(False, ('open'"):
        assert kind in trace


class LastComeFirstServed(Book):
    """Sends whoever stood in a queue to its end as soon as another joins it."""

    def place(self, order: Order) -> Placement:
        placement = super().place(order)
        while order.before is not None:
            super().place(self.cancel(order.before.id))
        return placement


class TradesWithItself(Book):
    """Takes the incoming order for a stranger's."""

    def place(self, order: Order) -> Placement:
        party_id, group_id = order.party_id, order.group_id
        order.party_id = order.group_id = -order.id
        placement = super().place(order)
        order.party_id, order.group_id = party_id, group_id
        return placement


class FillsOrKillsInPart(Book):
    def place(self, order: Order) -> Placement:
        if order.time_in_force is TimeInForce.FOK:
            order.time_in_force = TimeInForce.IOC
        return super().place(order)


class ForgetsExpiry(Book):
    def expired(self, now_us: int) -> list[Order]:
        return []


class LosesPlaceAtEachAmendment(Book):
    def amend(self, order_id: int, *, price: int, quantity: int) -> Amendment:
        amendment = super().amend(order_id, price=price, quantity=quantity)
        if amendment.kept_place:
            self.place(self.cancel(order_id))
        return amendment


@pytest.mark.parametrize(
    "faulty", [LastComeFirstServed, TradesWithItself, FillsOrKillsInPart, ForgetsExpiry, LosesPlaceAtEachAmendment]
)
def test_a_faulty_book_is_found_out(faulty: type[Book]) -> None:
    with pytest.raises(Disagreement):
        Run(faulty()).all(random_commands(500, seed=1))


def test_the_same_commands_give_the_same_trace_whatever_the_hash_seed() -> None:
    tell = "from tests.matching.commands import fingerprint; print(fingerprint(1_500, seed=7))"
    traces = [
        subprocess.run(
            [sys.executable, "-c", tell],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("0", "1", "4242")
    ]

    assert traces[0].count("open") > 100
    assert traces[0] == traces[1] == traces[2]
