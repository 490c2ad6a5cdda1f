"""The plan of an instrument's sessions: made when it is listed, and carried out step by step by the scheduler.

A session is a call: orders are collected from a time on, then an auction is held at a moment that
nobody outside can foresee. What a person has stopped waits; what was missed is held late, in its order.
"""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.engine.commands import Answer, SetState, State
from market.engine.sessions import CALL_US
from market.engine.times import microseconds
from market.refusals import BadInput
from market.session_tables import SessionRow
from settlement.accounts import HOUSE

Kind = Literal["opening", "closing"]
CARRIER_TIME = ZoneInfo("Asia/Shanghai")
COLLECTS_FOR: dict[Kind, timedelta] = {"opening": timedelta(minutes=30), "closing": timedelta(minutes=10)}
"""How long orders are collected when the listing does not say otherwise."""
BEFORE_CLOSE = timedelta(minutes=2)
"""The last closing auction ends this long before the close at the earliest, so that its window lies before it."""
WINDOW_SECONDS = 60
LONGEST_WINDOW_SECONDS = 3600
SHORTEST_CALL = timedelta(microseconds=CALL_US)
"""A call that begins late lasts as long as this, or as it was planned when that is less."""
PURPOSE = b"surplusflow/sessions/end"
COLLECTING: dict[Kind, State] = {"opening": "pre_open", "closing": "auction"}


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One planned call. Its auction is held at ``ends_at`` or within so many seconds behind it."""

    kind: Kind
    begins_at: datetime
    ends_at: datetime
    window_seconds: int = WINDOW_SECONDS

    @property
    def over_at(self) -> datetime:
        return self.ends_at + timedelta(seconds=self.window_seconds)


# Making a plan


def opening(opens_at: datetime, pre_opens_at: datetime | None) -> Session:
    """The auction that an instrument opens with."""
    return Session(kind="opening", begins_at=pre_opens_at or opens_at - COLLECTS_FOR["opening"], ends_at=opens_at)


def closing(closes_at: datetime, days: int) -> list[Session]:
    """A last-chance auction on each of the last days before the close, at the close's own hour in carrier time."""
    last = closes_at.astimezone(CARRIER_TIME) - BEFORE_CLOSE
    ends = (last - timedelta(days=before) for before in reversed(range(days)))
    return [Session(kind="closing", begins_at=at - COLLECTS_FOR["closing"], ends_at=at) for at in ends]


def check_plan(plan: Sequence[Session], opens_at: datetime | None, closes_at: datetime) -> None:
    """Refuse a plan that can't be carried out; ``plan`` is in the order of time.

    Raises:
        BadInput: saying in words what is wrong with it.
    """
    former: Session | None = None
    for session in plan:
        if any(moment.tzinfo is None for moment in (session.begins_at, session.ends_at)):
            raise BadInput("a session's times need their zone.")
        if not 0 <= session.window_seconds <= LONGEST_WINDOW_SECONDS:
            raise BadInput(f"the window of a session is 0 to {LONGEST_WINDOW_SECONDS} seconds.")
        if session.begins_at >= session.ends_at:
            raise BadInput("a session must begin before it ends.")
        if former is not None and session.begins_at < former.over_at:
            raise BadInput("a session must begin after the window of the one before has passed.")
        if session.over_at > closes_at:
            raise BadInput("a session must be over, with its window, when trading closes.")
        if session.kind == "opening" and (former is not None or opens_at is None or session.ends_at < opens_at):
            raise BadInput("the opening session comes first, and ends at opens_at or later.")
        if session.kind == "closing" and opens_at is not None and session.begins_at < opens_at:
            raise BadInput("a closing session can't begin before opens_at.")
        former = session


def add_plan(session: AsyncSession, instrument_id: int, plan: Iterable[Session]) -> None:
    """Write the plan of an instrument that is being listed."""
    session.add_all(
        SessionRow(
            instrument_id=instrument_id,
            kind=each.kind,
            begins_at=each.begins_at,
            ends_at=each.ends_at,
            window_seconds=each.window_seconds,
        )
        for each in plan
    )


# Carrying it out


class Due(NamedTuple):
    """A step that is due: the command that asks the engine for it, and the session that it is a step of."""

    command: SetState
    session_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Current:
    """The session of an instrument that is under way, or else the next one, with how the instrument stands."""

    id: int
    instrument_id: int
    symbol: str
    kind: Kind
    begins_at: datetime
    ends_at: datetime
    window_seconds: int
    attempt: int
    begun_at: datetime | None
    call_ends_at: datetime | None

    def step(self, secret_key: str, now: datetime) -> SetState | None:
        """What is due of it, if anything is."""
        if self.begun_at is None:
            if now < self.begins_at:
                return None
            ends_at = max(self.ends_at, now + min(SHORTEST_CALL, self.ends_at - self.begins_at))
            return self._command("begin", COLLECTING[self.kind], call_ends_us=microseconds(ends_at))
        earliest = self.call_ends_at or self.ends_at
        if now < earliest + end_offset(secret_key, self.id, self.window_seconds):
            return None
        return self._command("end", "open")

    def _command(self, what: str, state: State, call_ends_us: int | None = None) -> SetState:
        """The key names the step, so that two schedulers, or one that comes again, take it once."""
        again = f"-{self.attempt}" if self.attempt else ""
        key = f"{what}-session-{self.id}{again}"
        return SetState(HOUSE, key, b"", self.instrument_id, state, by="schedule", call_ends_us=call_ends_us)


_CURRENT = text("""
select distinct on (session.instrument_id) session.id, instrument_id, symbol, kind, begins_at, ends_at, window_seconds,
    attempt, begun_at, call_ends_at
from session join instrument on instrument.id = instrument_id
where ended_at is null and state <> 'closed' and stopped_by is null and closes_at > :now
    and not exists (select from instrument where stopped_by = 'switch')
order by session.instrument_id, begins_at, session.id
""")
_BEGUN = text("update session set begun_at = :now where id = :id and begun_at is null")
_ENDED = text("""
update session set ended_at = :now, price_minor = :price_minor, lots = :lots where id = :id and ended_at is null
""")
_REFUSED = text("update session set attempt = attempt + 1 where id = :id and attempt = :attempt and ended_at is null")
_CLOSED = text("""
update session set ended_at = :now, price_minor = :price_minor, lots = :lots
where instrument_id = :instrument_id and begun_at is not null and ended_at is null
""")


async def due(session: AsyncSession, secret_key: str, now: datetime) -> list[Due]:
    """What the plans ask for now: of each instrument one step at the most, so that no call overtakes another.

    While the switch for the whole market is thrown nothing is due.
    """
    rows = (await session.execute(_CURRENT, {"now": now})).mappings()
    currents = [Current(**row) for row in rows]
    steps = [(current.step(secret_key, now), current) for current in currents]
    return [Due(command, current.id, current.attempt) for command, current in steps if command is not None]


async def note(session: AsyncSession, step: Due, answer: Answer, now: datetime) -> None:
    """Keep what the engine made of a step. A refused one is asked for again, under another key."""
    if not answer.accepted:
        await session.execute(_REFUSED, {"id": step.session_id, "attempt": step.attempt})
    elif step.command.state == "open":
        await session.execute(_ENDED, {"id": step.session_id, "now": now, **_result(answer)})
    else:
        await session.execute(_BEGUN, {"id": step.session_id, "now": now})


async def note_closed(session: AsyncSession, instrument_id: int, answer: Answer, now: datetime) -> None:
    """A call that was under way when its market closed ended with that."""
    await session.execute(_CLOSED, {"instrument_id": instrument_id, "now": now, **_result(answer)})


def _result(answer: Answer) -> dict[str, int | None]:
    auction = answer.auction
    return {
        "price_minor": None if auction is None else auction.price_minor,
        "lots": None if auction is None else auction.volume,
    }


def end_offset(secret_key: str, session_id: int, window_seconds: int) -> timedelta:
    """How long after its earliest end a session's auction is held: the same for all who have the secret, uniform."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret_key.encode())
    drawn = int.from_bytes(hmac.digest(key, b"%d" % session_id, sha256), "big")
    return timedelta(microseconds=drawn % (window_seconds * 1_000_000 + 1))


# Showing it


@dataclass(frozen=True, slots=True)
class SessionView:
    """How a market stands and what its plan brings next."""

    symbol: str
    kind: str
    carrier: str | None
    scope: str | None
    app_scope: str | None
    expires_at: datetime | None
    state: str
    stopped_by: str | None
    state_before: str | None
    paused_until: datetime | None
    call_ends_at: datetime | None
    session_kind: str | None
    """The session that is under way, or the next one."""
    begins_at: datetime | None
    ends_at: datetime | None
    begun_at: datetime | None
    closes_at: datetime

    @property
    def next_step(self) -> tuple[str, datetime]:
        """What comes next, as a word, and when at the earliest."""
        if self.paused_until is not None:
            return "auction", self.paused_until
        if self.session_kind is None or self.begins_at is None or self.ends_at is None:
            return "close", self.closes_at
        if self.begun_at is None:
            return self.session_kind, self.begins_at
        return "auction", self.call_ends_at or self.ends_at


_OVERVIEW = text("""
select symbol, asset.kind, carrier, scope, app_scope, expires_at, state, stopped_by, state_before, paused_until,
    call_ends_at, current.kind as session_kind, begins_at, ends_at, begun_at, closes_at
from instrument join asset on asset.id = asset_id
left join lateral (
    select kind, begins_at, ends_at, begun_at from session
    where instrument_id = instrument.id and ended_at is null order by begins_at limit 1
) current on true
where state <> 'closed' and (cast(:carrier as text) is null or carrier = :carrier)
order by asset.kind desc, carrier, expires_at, symbol
""")


async def overview(session: AsyncSession, carrier: str | None = None) -> list[SessionView]:
    """Every market that is not closed, or those of one carrier."""
    rows = (await session.execute(_OVERVIEW, {"carrier": carrier})).mappings()
    return [SessionView(**row) for row in rows]


_LINES = text("""
select symbol, session.kind, begins_at, ends_at, window_seconds
from session join instrument on instrument.id = instrument_id
where symbol = any(:symbols) and ended_at is null order by symbol, begins_at
""")


async def lines(session: AsyncSession, symbols: Sequence[str]) -> list[str]:
    """The sessions still to come of some instruments, a line each, in carrier time."""
    rows = await session.execute(_LINES, {"symbols": list(symbols)})
    return [
        f"{row.symbol} {row.kind}: collects from {row.begins_at.astimezone(CARRIER_TIME):%Y-%m-%d %H:%M}, "
        f"auction within {row.window_seconds} s of {row.ends_at.astimezone(CARRIER_TIME):%Y-%m-%d %H:%M}"
        for row in rows
    ]
