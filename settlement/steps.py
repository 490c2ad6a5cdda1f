"""What a kind of instruction consists of: read it, send it, ask for it, book its end, undo its refusal."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from settlement.carriers.billing import Billing
from settlement.carriers.errors import CarrierError, CarrierMismatch, CarrierRefused, CarrierUnknown, CarrierUnreachable
from settlement.carriers.port import CarrierPort
from settlement.instructions import (
    DELAYS,
    SENDS_BEFORE_A_PERSON,
    SENDS_BEFORE_UNDOING,
    Contradicted,
    Done,
    Lost,
    Outcome,
    Refused,
    Rules,
    Undone,
)
from settlement.payments.errors import PaymentDeclined, PaymentError, PaymentHalted, PaymentRefused, PaymentUnknown
from settlement.payments.port import Payments

HOUSE_LANE = "house"
PROVIDER_LANE = "provider"
AT_ONCE = 16
"""Calls that the lanes of the provider and of the house have in the air; a carrier's profile says its own."""

Numbers = Mapping[int, str]
"""MSISDNs by line id, as far as they could be found."""


class Request(Protocol):
    """What is sent for one instruction. Never holds a phone number: those are looked up when it is sent."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def lines(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Outside:
    """Everybody we talk to."""

    carriers: Mapping[str, CarrierPort]
    payments: Payments
    numbers_of: Callable[[Sequence[int]], Awaitable[dict[int, str]]]
    mark: str
    provider_patience: timedelta = timedelta(seconds=60)
    """How long a request to the provider may take effect after it left us."""
    slack: timedelta = timedelta(seconds=5)
    """What a claim lasts beyond its call: for reading and writing, and for waiting until it is sent."""
    billing: Mapping[str, Billing] = field(default_factory=dict)
    """The carriers that take payments on the phone bill."""

    def patience(self, lane: str) -> timedelta:
        if lane == HOUSE_LANE:
            return timedelta()
        if lane == PROVIDER_LANE:
            return self.provider_patience
        return timedelta(seconds=self.carriers[lane].profile.max_in_flight_seconds)

    def at_once(self, lane: str) -> int:
        """How many calls may be in the air on a lane."""
        return self.carriers[lane].profile.at_once if lane in self.carriers else AT_ONCE

    def bulk_size(self, lane: str) -> int:
        """How many trades of a pair one call on a lane may move."""
        return self.carriers[lane].profile.bulk_size if lane in self.carriers else 1

    def longest_step(self, lane: str) -> timedelta:
        """How long one step on this lane may take: up to two calls, as when a duplicate is looked up."""
        if lane == HOUSE_LANE:
            return self.slack
        if lane == PROVIDER_LANE:
            return self.slack + timedelta(seconds=2 * self.payments.longest_call_seconds)
        return self.slack + timedelta(seconds=2 * self.carriers[lane].profile.timeout_seconds)


@dataclass(frozen=True, slots=True)
class Postponed:
    """Something else has to happen first."""

    reason: str


R = TypeVar("R", bound=Request)
Loaded = Mapping[int, R | Postponed | Done]
"""By subject: what to send, why not yet, or that there is nothing left to do."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[R]):
    """An instruction that came to an end, for the books."""

    subject_id: int
    request: R | None
    at: datetime
    done: Done = field(default_factory=Done)
    reason: str = ""


@dataclass(frozen=True)
class Step(Generic[R]):
    """One kind of instruction.

    ``load`` may lock and post, and is committed with the claim. ``book`` and ``undo``
    get a batch, are committed with the instructions' end, and return the parties
    that should hear of it. A kind without ``undo`` ends with a person when refused.
    """

    kind: str
    load: Callable[[AsyncSession, Sequence[int], str], Awaitable[Loaded[R]]]
    send: Callable[[Outside, R, Numbers], Awaitable[Outcome]]
    ask: Callable[[Outside, R, Numbers], Awaitable[Outcome]]
    book: Callable[[AsyncSession, Sequence[Ended[R]]], Awaitable[set[int]]]
    undo: Callable[[AsyncSession, Sequence[Ended[R]]], Awaitable[set[int]]] | None = None
    gives_up: bool = False
    delays: tuple[timedelta, ...] = DELAYS
    sends: int | None = None
    """Attempts before it gives up or a person is called, where it isn't the usual number."""

    def rules(self, patience: timedelta) -> Rules:
        usual = SENDS_BEFORE_UNDOING if self.gives_up else SENDS_BEFORE_A_PERSON
        return Rules(patience, self.undo is not None, self.gives_up, self.sends or usual, self.delays)


LONG_NUMBER = re.compile(r"\+?[0-9]{7,}")
LONGEST_REASON = 300
OUR_FAULT = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_TOKEN_CONTEXT"})
"""Our credential has to be mended; the instruction is as good as ever, so nobody is refunded for it."""


async def outcome_of_sending(call: Awaitable[Outcome]) -> Outcome:
    """Every error of the ports in the terms of an instruction. What isn't definite is lost."""
    try:
        return await call
    except CarrierRefused as error:
        words = masked(f"{error.code}: {error.message}")
        return Lost(words) if error.code in OUR_FAULT else Refused(words)
    except PaymentDeclined as error:
        return Refused(error.decline_code or error.code)
    except PaymentRefused as error:
        return Refused(masked(f"{error.code}: {error.detail}" if error.detail else error.code))
    except CarrierUnreachable as error:
        return Undone(error.reason)
    except (CarrierError, PaymentError, TimeoutError) as error:
        return _vague(error)


async def outcome_of_asking(call: Awaitable[Outcome]) -> Outcome:
    """The same for a question: being refused an answer says nothing about the instruction."""
    try:
        return await call
    except (CarrierError, PaymentError, TimeoutError) as error:
        return _vague(error)


def _vague(error: Exception) -> Outcome:
    match error:
        case CarrierMismatch():
            return Contradicted(masked(str(error)))
        case PaymentHalted():
            return Contradicted(masked(error.detail))
        case CarrierUnknown() | PaymentUnknown():
            return Lost(masked(error.reason))
        case _:
            return Lost(masked(str(error)) or "no answer in time")


def masked(words: str) -> str:
    """What others say may hold a phone number, and reasons are read by many."""
    return LONG_NUMBER.sub("######", words)[:LONGEST_REASON]
