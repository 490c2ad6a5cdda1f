"""Faults on purpose: by a share of the requests, or by the last digits of a number, so that any can be called up.

All of them act on TMF654 alone, so that nobody is kept from signing in. The shares count in
percent; latency and errors strike every request, the others what changes something.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from settlement.simulators.carrier.bodies import Strict
from settlement.simulators.carrier.database import Database
from settlement.simulators.carrier.refusals import Refusal

Result = TypeVar("Result")
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=120_000)]

SLOW_MS = 2_000
SUFFIX_DIGITS = 4


class Fault(StrEnum):
    REFUSE = "refuse"
    ERROR = "error"
    ERROR_ONCE = "error_once"
    TIMEOUT_AFTER_WORK = "timeout_after_work"
    DUPLICATE = "duplicate"
    SLOW = "slow"
    LATE = "late"


# By the last four digits of the receiver's number, else the sender's; on adjust, transfer and top-up.
FAULT_OF_NUMBER: Mapping[str, Fault] = {
    "9001": Fault.REFUSE,
    "9002": Fault.ERROR_ONCE,
    "9003": Fault.TIMEOUT_AFTER_WORK,
    "9004": Fault.DUPLICATE,
    "9005": Fault.SLOW,
    "9006": Fault.LATE,
}


class Profile(Strict, frozen=True, kw_only=True):
    """How one carrier behaves: its faults, and the terms that differ from carrier to carrier.

    `hang_ms` is how long an answer is kept back after the work, `late_ms` how long before it. Without
    `idempotent` the same external identifier does the work again, as the standard would let a carrier do.
    """

    latency_ms: Milliseconds = 0
    error_rate_percent: Percent = 0
    timeout_after_work_percent: Percent = 0
    late_percent: Percent = 0
    duplicate_percent: Percent = 0
    refuse_percent: Percent = 0
    hang_ms: Milliseconds = 30_000
    late_ms: Milliseconds = 15_000
    idempotent: bool = True
    transfer_limit_mb: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 50_000
    codes_per_ten_minutes: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a fault is chosen by: who takes part, under which id, and whether anything would change."""

    carrier: str
    changes: bool = False
    numbers: tuple[str, ...] = ()
    external_id: str | None = None


class Faults:
    """The profiles of the carriers, and each request's way through them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._profiles: dict[str, Profile] = {}
        self.stopping = asyncio.Event()

    async def profile(self, carrier: str) -> Profile:
        """One process serves all requests, so what was read or written once is kept."""
        if carrier not in self._profiles:
            async with self._database.connection() as connection:
                settings = await connection.fetchval("SELECT settings FROM profile WHERE carrier = $1", carrier)
            self._profiles[carrier] = msgspec.json.decode(settings, type=Profile) if settings else Profile()
        return self._profiles[carrier]

    async def change(self, carrier: str, profile: Profile) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO profile (carrier, settings) VALUES ($1, $2)"
                " ON CONFLICT (carrier) DO UPDATE SET settings = excluded.settings",
                carrier,
                msgspec.json.encode(profile).decode(),
            )
        self._profiles[carrier] = profile

    async def counts(self, carrier: str) -> dict[str, int]:
        """How often each fault struck, since the database was made."""
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT fault, times FROM fault_count WHERE carrier = $1", carrier)
        return dict.fromkeys(Fault, 0) | {row["fault"]: row["times"] for row in rows}

    async def perform(self, attempt: Attempt, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do the work, with whatever fault this attempt has drawn before or after it."""
        profile = await self.profile(attempt.carrier)
        await self._pause(profile.latency_ms)
        fault = await self._draw(attempt, profile)
        if fault is not None:
            await self._count(attempt.carrier, fault)
        await self._strike_before(fault, profile)
        result = await work()
        await self._strike_after(fault, profile)
        return result

    async def _strike_before(self, fault: Fault | None, profile: Profile) -> None:
        if fault is Fault.REFUSE:
            raise Refusal("RECEIVER_NOT_ELIGIBLE", "This carrier refuses this movement.")
        if fault in {Fault.ERROR, Fault.ERROR_ONCE}:
            raise Refusal("UNAVAILABLE")
        if fault is Fault.LATE:
            await self._pause(profile.late_ms)
            if self.stopping.is_set():
                raise Refusal("UNAVAILABLE")

    async def _strike_after(self, fault: Fault | None, profile: Profile) -> None:
        if fault is Fault.TIMEOUT_AFTER_WORK:
            await self._pause(profile.hang_ms)
        if fault is Fault.SLOW:
            await self._pause(SLOW_MS)
        if fault is Fault.DUPLICATE:
            raise Refusal("DUPLICATE")

    async def _draw(self, attempt: Attempt, profile: Profile) -> Fault | None:
        by_number = next((f for n in attempt.numbers if (f := FAULT_OF_NUMBER.get(n[-SUFFIX_DIGITS:]))), None)
        if by_number is Fault.ERROR_ONCE:
            return by_number if await self._first_time(attempt) else None
        if by_number is not None:
            return by_number
        shares = [(Fault.ERROR, profile.error_rate_percent)]
        if attempt.changes:
            shares += [
                (Fault.REFUSE, profile.refuse_percent),
                (Fault.LATE, profile.late_percent),
                (Fault.TIMEOUT_AFTER_WORK, profile.timeout_after_work_percent),
            ]
        if attempt.external_id is not None:
            shares.append((Fault.DUPLICATE, profile.duplicate_percent))
        return next((fault for fault, percent in shares if percent and secrets.randbelow(100) < percent), None)

    async def _first_time(self, attempt: Attempt) -> bool:
        if attempt.external_id is None:
            return True
        async with self._database.connection() as connection:
            key = await connection.fetchval(
                "INSERT INTO fault_once (carrier, key) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING key",
                attempt.carrier,
                attempt.external_id,
            )
        return key is not None

    async def _count(self, carrier: str, fault: Fault) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO fault_count (carrier, fault, times) VALUES ($1, $2, 1)"
                " ON CONFLICT (carrier, fault) DO UPDATE SET times = fault_count.times + 1",
                carrier,
                fault,
            )

    async def _pause(self, milliseconds: int) -> None:
        """Wait, but not longer than the program lives: a request that hangs must not keep it from stopping."""
        if milliseconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(milliseconds / 1000):
                    await self.stopping.wait()
