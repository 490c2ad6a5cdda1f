"""Taking instructions to work on, and writing down what became of them.

A claim is committed before the first byte leaves, and no row stays locked during a
call. Whoever does not come back before the deadline loses the claim; what it may
have sent is then unknown, and asked for. A result counts only while its claim does.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.instructions import (
    Attempt,
    Contradicted,
    Done,
    Event,
    Outcome,
    Rules,
    State,
    Verdict,
    doubt_in,
    judge,
    move,
)
from settlement.steps import Postponed, Step

STRETCH = 0.2
"""Pauses are stretched by up to this share, so that many that failed together do not return together."""
POSTPONED = timedelta(seconds=2)
LONGEST_POSTPONEMENT = timedelta(minutes=1)

NOT_KNOWN = Postponed("this release does not know this kind of step")
"""While two releases are at work, the older one leaves the newer one's steps to it."""

Steps = Mapping[str, Step[Any]]

_DUE = text("""
    select id, kind, subject_id, status, attempt, last_sent_at, claim_deadline, reason, request_hash, created_at,
        now() as at
    from instruction
    where lane = :lane and status in ('ready', 'claimed', 'unknown') and not_before <= now()
    order by not_before, id limit :limit for no key update skip locked
""")
_DUE_TO_ASK = text("""
    select id, kind, subject_id, status, attempt, last_sent_at, claim_deadline, reason, request_hash, created_at,
        now() as at
    from instruction
    where lane = :lane and status in ('claimed', 'unknown') and not_before <= now()
    order by not_before, id limit :limit for no key update skip locked
""")
_THIS = text("""
    select id, kind, subject_id, status, attempt, last_sent_at, claim_deadline, reason, request_hash, created_at,
        now() as at
    from instruction
    where kind = :kind and subject_id = :subject and (status = 'unknown' or status = 'ready' and not_before <= now())
    for no key update skip locked
""")
_CLAIM = text("""
    update instruction set status = 'claimed', claimed_by = :holder, attempt = claim.attempt,
        claim_deadline = :deadline, not_before = :deadline, last_sent_at = claim.last_sent_at,
        request_hash = coalesce(instruction.request_hash, claim.request_hash)
    from unnest(
        cast(:ids as bigint[]), cast(:attempts as bigint[]), cast(:sent as timestamptz[]), cast(:hashes as bytea[])
    ) as claim (id, attempt, last_sent_at, request_hash)
    where instruction.id = claim.id
""")
_PUT_OFF = text("""
    update instruction set status = later.status, not_before = later.not_before, reason = later.reason,
        last_sent_at = coalesce(later.last_sent_at, instruction.last_sent_at), claimed_by = null, claim_deadline = null
    from unnest(
        cast(:ids as bigint[]), cast(:statuses as text[]), cast(:not_before as timestamptz[]),
        cast(:reasons as text[]), cast(:sent as timestamptz[])
    ) as later (id, status, not_before, reason, last_sent_at)
    where instruction.id = later.id
""")
_CONCLUDE = text("""
    update instruction set status = result.status, not_before = result.not_before, reason = result.reason,
        last_sent_at = result.last_sent_at, claimed_by = null, claim_deadline = null,
        external_reference = coalesce(result.reference, instruction.external_reference),
        ended_at = case when result.status in ('done', 'refused', 'dead') then now() end
    from unnest(
        cast(:ids as bigint[]), cast(:holders as text[]), cast(:statuses as text[]), cast(:not_before as timestamptz[]),
        cast(:reasons as text[]), cast(:sent as timestamptz[]), cast(:references as text[])
    ) as result (id, holder, status, not_before, reason, last_sent_at, reference)
    where instruction.id = result.id and instruction.status = 'claimed' and instruction.claimed_by = result.holder
    returning instruction.id, now() as at
""")
_NEXT = text("""
    select lane, (
        select min(not_before) from instruction
        where instruction.lane = wanted.lane and status in ('ready', 'claimed', 'unknown')
    ) - now()
    from unnest(cast(:lanes as text[])) as wanted (lane)
""")
_REOPEN = text("""
    update instruction set status = :status, not_before = now(), ended_at = null,
        last_sent_at = coalesce(last_sent_at, created_at)
    where id = :id and status = 'dead' returning lane
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """One instruction in somebody's hands. ``outcome`` is there when nothing has to be sent."""

    id: int
    kind: str
    subject_id: int
    holder: str
    attempt: Attempt
    request: Any | None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a claim."""

    claim: Claim
    outcome: Outcome
    verdict: Verdict
    at: datetime
    """The database's time at which it was judged, and once it is written, that of the transaction."""


async def take(
    session: AsyncSession,
    steps: Steps,
    lane: str,
    *,
    limit: int,
    holder: str,
    patience: timedelta,
    budget: timedelta,
    mark: str,
    only_to_ask: bool = False,
) -> list[Claim]:
    """Claim what is due on a lane, for ``budget``; the caller commits before anything is sent.

    A claim that somebody else let lapse is not taken over but becomes unknown:
    what was sent under it may land for as long as ``patience``. ``only_to_ask`` leaves
    what would have to be sent.
    """
    rows = list(await session.execute(_DUE_TO_ASK if only_to_ask else _DUE, {"lane": lane, "limit": limit}))
    return await _take(session, steps, rows, holder=holder, patience=patience, budget=budget, mark=mark)


async def take_this(
    session: AsyncSession, steps: Steps, kind: str, subject_id: int, *, holder: str, budget: timedelta, mark: str
) -> Claim | None:
    """Claim one instruction out of turn, for somebody who waits; the caller commits before anything is sent.

    None when another has it in hands, it has ended, or its pause before the next
    attempt is not over. Asking is never too early: what is not there yet stays unknown.
    """
    rows = list(await session.execute(_THIS, {"kind": kind, "subject": subject_id}))
    claims = await _take(session, steps, rows, holder=holder, patience=timedelta(), budget=budget, mark=mark)
    return claims[0] if claims else None


async def _take(
    session: AsyncSession,
    steps: Steps,
    rows: Sequence[Row[Any]],
    *,
    holder: str,
    patience: timedelta,
    budget: timedelta,
    mark: str,
) -> list[Claim]:
    lapsed = [row for row in rows if row.status == State.CLAIMED]
    mine = [row for row in rows if row.status != State.CLAIMED]
    await _put_off(session, [_abandoned(row, patience) for row in lapsed])
    loaded = await _load(session, steps, mine, mark)
    waiting = [(row, found) for row in mine if isinstance(found := loaded.get(row.id), Postponed)]
    await _put_off(session, [_postponed(row, found) for row, found in waiting])

    ready = [row for row in mine if not isinstance(loaded.get(row.id), Postponed)]
    claims = [_claim(row, loaded.get(row.id), holder) for row in ready]
    if claims:
        await session.execute(_CLAIM, _claimed(claims, ready, holder, budget))
    return claims


async def _load(session: AsyncSession, steps: Steps, rows: Sequence[Row[Any]], mark: str) -> dict[int, Any]:
    """By instruction: the request, or what stands in its place; nothing for a subject that does not exist.

    What this release does not know is left alone.
    """
    loaded: dict[int, Any] = {row.id: NOT_KNOWN for row in rows if row.kind not in steps}
    for kind in sorted({row.kind for row in rows} & steps.keys()):
        ids = {row.subject_id: row.id for row in rows if row.kind == kind}
        found = await steps[kind].load(session, list(ids), mark)
        loaded |= {ids[subject_id]: one for subject_id, one in found.items()}
    return loaded


def _claim(row: Row[Any], loaded: Any, holder: str) -> Claim:
    asking = row.status == State.UNKNOWN
    move(State(row.status), Event.TAKEN_TO_ASK if asking else Event.TAKEN_TO_SEND)
    attempt = Attempt(
        number=row.attempt if asking else row.attempt + 1,
        asking=asking,
        last_sent_at=row.last_sent_at if asking else row.at,
        doubt=doubt_in(row.reason) if asking else None,
    )
    request = None if isinstance(loaded, Done) else loaded
    outcome: Outcome | None = loaded if isinstance(loaded, Done) else None
    if loaded is None:
        outcome = Contradicted(f"There is nothing to do as {row.kind} {row.subject_id}.")
    elif request is not None and row.request_hash not in {None, _hash(request)}:
        outcome = Contradicted("What we would send now is not what we sent before.")
    return Claim(row.id, row.kind, row.subject_id, holder, attempt, request, outcome)


def _claimed(claims: Sequence[Claim], rows: Sequence[Row[Any]], holder: str, budget: timedelta) -> dict[str, Any]:
    return {
        "holder": holder,
        "deadline": rows[0].at + budget,
        "ids": [claim.id for claim in claims],
        "attempts": [claim.attempt.number for claim in claims],
        "sent": [claim.attempt.last_sent_at for claim in claims],
        "hashes": [None if claim.request is None else _hash(claim.request) for claim in claims],
    }


def _hash(request: Any) -> bytes:
    return hashlib.sha256(request.fingerprint.encode()).digest()


def _abandoned(row: Row[Any], patience: timedelta) -> tuple[int, str, datetime, str, datetime | None]:
    state = move(State.CLAIMED, Event.ABANDONED)
    return (
        row.id,
        state.value,
        row.claim_deadline + patience,
        "the one who took it did not come back",
        row.claim_deadline,
    )


def _postponed(row: Row[Any], found: Postponed) -> tuple[int, str, datetime, str, datetime | None]:
    """The longer it has waited, the seldomer it looks; whoever ends the waiting hurries it on."""
    pause = min(max((row.at - row.created_at) / 4, POSTPONED), LONGEST_POSTPONEMENT)
    return row.id, row.status, row.at + pause, found.reason, None


async def _put_off(session: AsyncSession, later: Sequence[tuple[int, str, datetime, str, datetime | None]]) -> None:
    if later:
        names = ("ids", "statuses", "not_before", "reasons", "sent")
        await session.execute(_PUT_OFF, dict(zip(names, map(list, zip(*later, strict=True)), strict=True)))


def judged(claim: Claim, outcome: Outcome, rules: Rules, now: datetime) -> Result:
    return Result(claim, outcome, judge(claim.attempt, outcome, rules, now), now)


async def conclude(session: AsyncSession, results: Sequence[Result]) -> list[Result]:
    """Write the results whose claims still stand, and say which those are. The others count for nothing."""
    rows = [_concluded(result) for result in results]
    names = ("ids", "holders", "statuses", "not_before", "reasons", "sent", "references")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    standing = {row.id: row.at for row in await session.execute(_CONCLUDE, columns)}
    return [replace(result, at=standing[result.claim.id]) for result in results if result.claim.id in standing]


def _concluded(result: Result) -> tuple[int, str, str, datetime, str | None, datetime, str | None]:
    verdict = result.verdict
    pause = max(verdict.not_before - result.at, timedelta())  # from now on: the clock may have jumped since it was sent
    return (
        result.claim.id,
        result.claim.holder,
        verdict.state.value,
        verdict.not_before + pause * random.uniform(0, STRETCH),
        verdict.reason,
        verdict.last_sent_at,
        result.outcome.reference if isinstance(result.outcome, Done) else None,
    )


async def next_due(session: AsyncSession, lanes: Sequence[str]) -> dict[str, timedelta]:
    """How long until something is due, by lane; zero or less when it is."""
    rows = await session.execute(_NEXT, {"lanes": list(lanes)})
    return {lane: pause for lane, pause in rows if pause is not None}


async def reopen(session: AsyncSession, instruction_id: int) -> str | None:
    """A person has looked at a dead instruction: it is asked for, and goes on from there. Says its lane."""
    state = move(State.DEAD, Event.REOPENED)
    lane: str | None = await session.scalar(_REOPEN, {"id": instruction_id, "status": state.value})
    return lane
