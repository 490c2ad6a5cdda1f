"""The life of an instruction: every move, and what no sequence of outcomes may ever lead to."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from settlement.instructions import (
    MOVES,
    Absent,
    Attempt,
    BadMove,
    Contradicted,
    Done,
    Event,
    Lost,
    Outcome,
    Refused,
    Rules,
    State,
    Undone,
    doubt_in,
    judge,
    move,
    seconds,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=60)
RULES = Rules(PATIENCE, undoable=True, gives_up=True, sends=3, delays=seconds(2, 60))
FIRST = Attempt(1, asking=False, last_sent_at=NOON)
ASKING = Attempt(1, asking=True, last_sent_at=NOON)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_move_is_in_the_table_or_refused(state: State, event: Event) -> None:
    if (state, event) in MOVES:
        assert move(state, event) is MOVES[state, event]
    else:
        with pytest.raises(BadMove):
            move(state, event)


def test_done_and_refused_are_final() -> None:
    assert not [key for key in MOVES if key[0] in {State.DONE, State.REFUSED}]


def test_only_persons_bring_the_dead_back_to_be_asked_first_or_end_them() -> None:
    assert [(key, state) for key, state in MOVES.items() if key[0] is State.DEAD] == [
        ((State.DEAD, Event.REOPENED), State.UNKNOWN),
        ((State.DEAD, Event.SAID_HAPPENED), State.DONE),
        ((State.DEAD, Event.SAID_NEVER), State.REFUSED),
    ]


@pytest.mark.parametrize(
    ("attempt", "outcome", "state", "pause_seconds"),
    [
        (FIRST, Done("m-1"), State.DONE, 0),
        (FIRST, Refused("no"), State.REFUSED, 0),
        (FIRST, Undone("no connection"), State.READY, 2),
        (FIRST, Lost("time-out"), State.UNKNOWN, 60),
        (FIRST, Lost("accepted", soon=True), State.UNKNOWN, 5),
        (FIRST, Contradicted("other amount"), State.DEAD, 0),
        (replace(FIRST, number=2), Refused("no"), State.UNKNOWN, 60),
        (replace(FIRST, number=2), Undone("no connection"), State.READY, 60),
        (replace(FIRST, number=3), Undone("no connection"), State.REFUSED, 0),
        (ASKING, Done("m-1"), State.DONE, 0),
        (ASKING, Refused("it failed there"), State.REFUSED, 0),
        (ASKING, Absent(), State.UNKNOWN, 60),
        (ASKING, Lost("time-out"), State.UNKNOWN, 5),
        (ASKING, Undone("no connection"), State.UNKNOWN, 5),
    ],
)
def test_what_an_outcome_leads_to(attempt: Attempt, outcome: Outcome, state: State, pause_seconds: int) -> None:
    verdict = judge(attempt, outcome, RULES, NOON)

    assert verdict.state is state
    assert verdict.not_before == NOON + timedelta(seconds=pause_seconds)


def test_not_found_is_final_only_after_the_longest_flight() -> None:
    early = judge(ASKING, Absent(), RULES, NOON + PATIENCE - timedelta(seconds=1))
    late = judge(ASKING, Absent(), RULES, NOON + PATIENCE)

    assert (early.state, early.not_before) == (State.UNKNOWN, NOON + PATIENCE)
    assert late.state is State.READY


def test_a_refusal_of_a_second_attempt_waits_and_asks_before_it_counts() -> None:
    doubted = judge(replace(FIRST, number=2), Refused("RECEIVER_NOT_ELIGIBLE"), RULES, NOON)
    asking = Attempt(2, asking=True, last_sent_at=NOON, doubt=doubt_in(doubted.reason))

    still_out = judge(asking, Lost("time-out"), RULES, NOON + PATIENCE)
    found = judge(asking, Done("m-1"), RULES, NOON + PATIENCE)
    absent = judge(asking, Absent(), RULES, NOON + PATIENCE)

    assert doubt_in(still_out.reason) == "RECEIVER_NOT_ELIGIBLE", "the refusal is remembered while we ask"
    assert found.state is State.DONE
    assert (absent.state, absent.reason) == (State.REFUSED, "RECEIVER_NOT_ELIGIBLE")


def test_what_cannot_be_undone_ends_with_a_person() -> None:
    rules = replace(RULES, undoable=False, gives_up=False)

    assert judge(FIRST, Refused("no"), rules, NOON).state is State.DEAD
    assert judge(replace(FIRST, number=3), Undone("no connection"), rules, NOON).state is State.DEAD


def test_asking_has_an_end() -> None:
    verdict = judge(ASKING, Lost("time-out"), RULES, NOON + timedelta(hours=25))

    assert verdict.state is State.DEAD
    assert "in vain" in str(verdict.reason)


def _outcomes_of_sending() -> Iterator[tuple[Outcome, bool | None]]:
    """What we see of an attempt, and what it really is: done, dead, or (None) flying, to land late or never."""
    yield Done("m-1"), True
    yield Refused("no"), False
    yield Undone("no connection"), False
    yield Lost("time-out"), True
    yield Lost("time-out"), False
    yield Lost("time-out"), None


def test_no_sequence_of_outcomes_moves_twice_or_refunds_what_may_still_move() -> None:
    """Walk every sequence of four attempts at a carrier that lets requests land as late as it may."""
    assert _ends(RULES) == {(State.DONE, 1), (State.REFUSED, 0)}


def test_without_the_wait_the_same_walk_shows_data_moved_twice_and_refunds_that_moved() -> None:
    impatient = replace(RULES, patience=timedelta())

    assert {(State.DONE, 2), (State.REFUSED, 1)} <= _ends(impatient)


def _ends(rules: Rules) -> set[tuple[State, int]]:
    scripts = product(list(_outcomes_of_sending()), repeat=4)
    return {_walk(script, rules, late_ones_land=lands) for script in scripts for lands in (True, False)}


def _walk(script: tuple[tuple[Outcome, bool | None], ...], rules: Rules, *, late_ones_land: bool) -> tuple[State, int]:
    """Run one script to its end: the final state, and how often the carrier has moved the data at last."""
    now, number, moved = NOON, 0, 0
    flights: list[datetime] = []
    state, doubt, last_sent_at = State.READY, None, NOON
    while state in {State.READY, State.UNKNOWN}:
        if state is State.READY:
            outcome, truth = script[number]
            number += 1
            if truth is None and late_ones_land:
                flights.append(now)
            moved += truth is True
            verdict = judge(Attempt(number, asking=False, last_sent_at=now), outcome, rules, now)
        else:
            landed = [sent_at for sent_at in flights if now >= sent_at + PATIENCE]
            moved += len(landed)
            flights = [sent_at for sent_at in flights if sent_at not in landed]
            seen: Outcome = Done("m-1") if moved else Absent()
            attempt = Attempt(number, asking=True, last_sent_at=last_sent_at, doubt=doubt)
            verdict = judge(attempt, seen, rules, now)
        state, doubt, last_sent_at = verdict.state, doubt_in(verdict.reason), verdict.last_sent_at
        now = max(now, verdict.not_before)
    return state, moved + len(flights)
