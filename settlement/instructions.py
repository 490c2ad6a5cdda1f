"""The life of an instruction: its states, what can happen to it, and what each outcome of a call means. No I/O.

Two rules carry everything. *Ready* means that no earlier attempt can still take
effect, so sending is safe. And nothing but a definite answer moves money: after any
other, we wait until the attempt can no longer land, ask for our id, and only then
send again, under the same id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

REFUSAL = "refused: "
"""Begins the reason of an instruction whose refusal an earlier attempt may still belie."""
SOONEST = timedelta(seconds=5)
LATEST = timedelta(minutes=15)


class State(StrEnum):
    READY = "ready"
    CLAIMED = "claimed"
    UNKNOWN = "unknown"
    DONE = "done"
    REFUSED = "refused"
    DEAD = "dead"


class Event(StrEnum):
    TAKEN_TO_SEND = "taken_to_send"
    TAKEN_TO_ASK = "taken_to_ask"
    POSTPONED = "postponed"
    """Something else has to happen first; nothing was sent."""
    HAPPENED = "happened"
    REFUSED = "refused"
    """Definitely did not happen, and never will."""
    DOUBTED = "doubted"
    """Refused, while an earlier attempt may still take effect."""
    UNDONE = "undone"
    """This attempt surely did nothing; the next may."""
    ABSENT = "absent"
    """Asked after the longest flight: the outside holds nothing under our id."""
    LOST = "lost"
    """No definite answer."""
    UNDECIDED = "undecided"
    """Asked, but it can't be said yet."""
    ABANDONED = "abandoned"
    """Whoever took it did not come back in time."""
    STUCK = "stuck"
    """A person has to look: an answer that contradicts us, or an end that can't be undone."""
    CARRIED = "carried"
    """Done by the call of the bundle that it is in."""
    RESTORED = "restored"
    """The books are those of a backup: whatever was sent since then is not in them."""
    REOPENED = "reopened"
    """A person has looked: ask, and go on from there."""
    SAID_HAPPENED = "said_happened"
    """Two persons say that it happened."""
    SAID_NEVER = "said_never"
    """Two persons say that it did not happen and never will."""


MOVES: Mapping[tuple[State, Event], State] = {
    (State.READY, Event.TAKEN_TO_SEND): State.CLAIMED,
    (State.READY, Event.POSTPONED): State.READY,
    (State.READY, Event.STUCK): State.DEAD,
    (State.READY, Event.CARRIED): State.DONE,
    (State.READY, Event.RESTORED): State.UNKNOWN,
    (State.UNKNOWN, Event.TAKEN_TO_ASK): State.CLAIMED,
    (State.UNKNOWN, Event.STUCK): State.DEAD,
    (State.CLAIMED, Event.HAPPENED): State.DONE,
    (State.CLAIMED, Event.REFUSED): State.REFUSED,
    (State.CLAIMED, Event.DOUBTED): State.UNKNOWN,
    (State.CLAIMED, Event.UNDONE): State.READY,
    (State.CLAIMED, Event.ABSENT): State.READY,
    (State.CLAIMED, Event.LOST): State.UNKNOWN,
    (State.CLAIMED, Event.UNDECIDED): State.UNKNOWN,
    (State.CLAIMED, Event.ABANDONED): State.UNKNOWN,
    (State.CLAIMED, Event.STUCK): State.DEAD,
    (State.DEAD, Event.REOPENED): State.UNKNOWN,
    (State.DEAD, Event.SAID_HAPPENED): State.DONE,
    (State.DEAD, Event.SAID_NEVER): State.REFUSED,
}
"""Every move there is. Done and refused are final; whatever is not listed is a mistake of ours."""


class BadMove(Exception):
    """A move that is not in the table."""


def move(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        BadMove: such an event can't happen in this state.
    """
    try:
        return MOVES[state, event]
    except KeyError:
        raise BadMove(f"An instruction that is {state} can't be {event}.") from None


@dataclass(frozen=True, slots=True)
class Done:
    """It happened, under this reference of theirs."""

    reference: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """This attempt was definitely refused; found by asking, that the whole instruction was."""

    reason: str
    ours: bool = False
    """We refused it ourselves: nobody outside was asked."""


@dataclass(frozen=True, slots=True)
class Undone:
    """This attempt surely did nothing: no byte left us, or it was turned away at the door."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """It may or may not have happened. ``soon``: they have it and are at work, so we may ask at once."""

    reason: str
    soon: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """They hold nothing under our id at this moment."""


@dataclass(frozen=True, slots=True)
class Contradicted:
    """Their answer is not about what we asked for."""

    reason: str


Outcome = Done | Refused | Undone | Lost | Absent | Contradicted


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient we are with one kind of instruction.

    ``patience`` is the longest time that a request can take effect after it left.
    ``undoable`` says that a refusal can be made good in our books; ``gives_up`` that
    the same may be done when the last of ``sends`` attempts did nothing.
    """

    patience: timedelta
    undoable: bool
    gives_up: bool
    sends: int
    delays: tuple[timedelta, ...]
    """Pauses before the second attempt, the third and so on; the last is used again."""
    ask_for: timedelta = timedelta(hours=24)
    """How long after the last attempt we keep asking before a person is called."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of an instruction while somebody works on it."""

    number: int
    """How often it has been sent, this time included."""
    asking: bool
    last_sent_at: datetime
    """When the last byte of any attempt can have left, as far as is known."""
    doubt: str | None = None
    """A refusal that an earlier attempt may still belie."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where an outcome leads."""

    event: Event
    state: State
    not_before: datetime
    last_sent_at: datetime
    reason: str | None = None


def judge(attempt: Attempt, outcome: Outcome, rules: Rules, now: datetime) -> Verdict:  # noqa: PLR0911 - one for each outcome
    """What an outcome means for the instruction. ``not_before`` is the earliest moment; later is always safe."""
    match outcome:
        case Done():
            return _verdict(attempt, Event.HAPPENED, None, now)
        case Contradicted(reason):
            return _verdict(attempt, Event.STUCK, reason, now)
        case _ if attempt.asking:
            return _judge_asked(attempt, outcome, rules, now)
        case Refused(reason) if attempt.number > 1:
            return _verdict(attempt, Event.DOUBTED, REFUSAL + reason, now, rules.patience)
        case Refused(reason):
            return _verdict(attempt, _refusal(rules), reason, now)
        case Undone(reason):
            return _again(attempt, rules, Event.UNDONE, reason, now)
        case Lost(reason, soon):
            return _verdict(attempt, Event.LOST, reason, now, min(SOONEST, rules.patience) if soon else rules.patience)
        case Absent():
            raise BadMove("An instruction that was just sent can't be absent.")


def _judge_asked(attempt: Attempt, outcome: Outcome, rules: Rules, now: datetime) -> Verdict:
    lands_by = attempt.last_sent_at + rules.patience
    match outcome:
        case Refused(reason):
            return _verdict(attempt, _refusal(rules), reason, now)
        case Absent() if now < lands_by:
            return _verdict(attempt, Event.UNDECIDED, _kept(attempt, "not arrived yet"), now, lands_by - now)
        case Absent() if attempt.doubt is not None:
            return _verdict(attempt, _refusal(rules), attempt.doubt, now)
        case Absent():
            return _again(attempt, rules, Event.ABSENT, "it did not arrive", now)
        case Lost(reason) | Undone(reason) if now > attempt.last_sent_at + rules.ask_for:
            return _verdict(attempt, Event.STUCK, f"asked for {rules.ask_for} in vain: {reason}", now)
        case Lost(reason) | Undone(reason):
            pause = min(max((now - attempt.last_sent_at) / 4, min(SOONEST, rules.patience)), LATEST)
            return _verdict(attempt, Event.UNDECIDED, _kept(attempt, reason), now, pause)
    raise AssertionError(outcome)


def _again(attempt: Attempt, rules: Rules, event: Event, reason: str, now: datetime) -> Verdict:
    """Nothing is alive any more: try again after a pause, or end it when it has been tried often enough."""
    if attempt.number < rules.sends:
        pause = rules.delays[min(attempt.number, len(rules.delays)) - 1]
        return _verdict(attempt, event, reason, now, pause)
    words = f"did not succeed in {attempt.number} attempts: {reason}"
    return _verdict(attempt, Event.REFUSED if rules.gives_up else Event.STUCK, words, now)


def _refusal(rules: Rules) -> Event:
    return Event.REFUSED if rules.undoable else Event.STUCK


def _verdict(
    attempt: Attempt, event: Event, reason: str | None, now: datetime, pause: timedelta = timedelta()
) -> Verdict:
    """Of an attempt that was just sent, the last byte can have left until this moment."""
    sent_at = attempt.last_sent_at if attempt.asking else now
    return Verdict(event, move(State.CLAIMED, event), now + pause, sent_at, reason)


def _kept(attempt: Attempt, reason: str) -> str:
    return REFUSAL + attempt.doubt if attempt.doubt is not None else reason


def doubt_in(reason: str | None) -> str | None:
    """The refusal that a stored reason remembers."""
    return reason.removeprefix(REFUSAL) if reason and reason.startswith(REFUSAL) else None


def seconds(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=value) for value in values)


DELAYS = seconds(2, 15, 60, 60, 60, 120, 300)
SENDS_BEFORE_UNDOING = 8
"""Together with the pauses: about a quarter of an hour, after which a buyer gets the money back."""
SENDS_BEFORE_A_PERSON = 60
