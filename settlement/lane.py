"""One lane of work: the instructions of one carrier, of the provider, or of the house."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import netting
from settlement.base import read_only
from settlement.breaker import Breaker, Limits, Standing, show
from settlement.claims import Claim, Result, Steps, conclude, judged, take
from settlement.failpoints import Failed, failpoint
from settlement.instructions import DELAYS, Contradicted, Done, Lost, Outcome, Rules, State, Undone
from settlement.steps import AT_ONCE, Ended, Numbers, Outside, outcome_of_asking, outcome_of_sending
from settlement.trouble import LASTING, TROUBLE, words
from settlement.waiting import first

log = structlog.get_logger()

BATCH = 200
"""Results that are written in one go."""
TRIES = 4
PAUSE_SECONDS = 1.0
BREATH_SECONDS = 0.025
"""Between two looks for work, and before outcomes are written while more are on their way: a transaction costs as much
for one trade as for several."""
SEND_WITHIN = 0.8
"""What could not be sent within this share of the slack is put back: the time that is left may not do for the call."""

NO_NUMBERS: Numbers = MappingProxyType({})

Announce = Callable[[Iterable[int]], Awaitable[None]]
Ending = tuple[Claim, Outcome]


@dataclass(eq=False)
class Lane:
    """Takes what is due, calls, and writes down outcomes as they come: whatever has come in is written together.

    A slow call keeps one of the places in the air and nothing else; a slow carrier
    keeps its own lane and no other.
    """

    name: str
    outside: Outside
    steps: Steps
    sessions: async_sessionmaker[AsyncSession]
    announce: Announce
    worker: str
    changed: Callable[[], None]
    """Called after every commit: something may have become due, here or on another lane."""
    at_once: int = AT_ONCE
    limits: Limits = field(default_factory=Limits)
    breaker: Breaker = field(default_factory=Breaker)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    _turns: Iterable[int] = field(default_factory=count)
    _calls: set[asyncio.Task[None]] = field(default_factory=set)
    _endings: asyncio.Queue[Ending] = field(default_factory=asyncio.Queue)
    _next_take: float = 0.0
    _shown: Standing | None = None
    """How the lane stands for everybody to read; nothing until the first call's outcome."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what was taken by then is finished, each call within its own deadline."""
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write_for_ever())
            while not stop.is_set():
                if not await self._turn(group):
                    await first(self._something_to_do(), stop.wait())
                    await first(stop.wait(), timeout_seconds=self._next_take - _clock())
            if self._calls:
                await asyncio.wait(set(self._calls))
            await self._endings.join()
            writer.cancel()

    async def do(self, claim: Claim, numbers: Numbers = NO_NUMBERS) -> Outcome:
        """Carry out a claim here and now, for somebody who waits for its end and has the numbers that it needs."""
        outcome = claim.outcome or await self._call(claim, numbers, _clock())
        failpoint("settle.after_send")
        await self._write([(claim, outcome)])
        return outcome

    async def _something_to_do(self) -> None:
        """There is work, and a place for it."""
        await self.due.wait()
        if self.breaker.state is not Standing.CLOSED and not self._calls:
            await asyncio.sleep(max(0.0, self.breaker.next_look() - _clock()))
            return
        if not self.breaker.places(self.at_once, len(self._calls), _clock()):
            await asyncio.wait(set(self._calls), return_when=asyncio.FIRST_COMPLETED)

    async def _turn(self, group: asyncio.TaskGroup) -> bool:
        """Take what is due, as far as there are places, and start on it. Says whether to look again at once."""
        places = self.breaker.places(self.at_once, len(self._calls), _clock())
        only_to_ask = not places and self.breaker.may_ask(len(self._calls), _clock())
        if only_to_ask:
            places, self.breaker = 1, self.breaker.asking(self.limits, _clock())
        if not places:
            return False
        self.due.clear()
        started = _clock()
        self._next_take = started + BREATH_SECONDS
        try:
            claims = await self._take(places, only_to_ask=only_to_ask)
        except TROUBLE as error:
            log.warning("settlement_take_failed", lane=self.name, error=words(error))
            await asyncio.sleep(PAUSE_SECONDS)
            return False
        if not claims:
            self.changed()  # what was due has been put off: somebody has to look when it is due again
            return False
        failpoint("settle.after_claim")
        numbers = await self._numbers(claims)
        for claim in claims:
            task = group.create_task(self._perform(claim, numbers, started))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        return len(claims) == places and self.breaker.state is Standing.CLOSED

    async def _take(self, places: int, *, only_to_ask: bool) -> list[Claim]:
        """Claim, and commit it; with a single call on trial, that is written down too."""
        size = self.outside.bulk_size(self.name)
        async with self.sessions() as session:
            if size > 1 and self.breaker.state is Standing.CLOSED:
                await netting.gather(session, self.name, size=size, limit=places * size, mark=self.outside.mark)
            claims = await take(
                session,
                self.steps,
                self.name,
                limit=places,
                holder=f"{self.worker}/{next(iter(self._turns))}",
                patience=self.outside.patience(self.name),
                budget=self.outside.longest_step(self.name),
                mark=self.outside.mark,
                only_to_ask=only_to_ask,
            )
            trying = self.breaker.trying() if claims and not only_to_ask else self.breaker
            if trying is not self.breaker:
                await show(session, self.name, trying, _clock())
            await session.commit()
        if trying is not self.breaker:
            self.breaker, self._shown = trying, trying.state
        return claims

    async def _numbers(self, claims: Sequence[Claim]) -> Numbers | None:
        """The numbers that these claims need; None when they can't be had at the moment."""
        lines = {line for claim in claims if claim.request is not None for line in claim.request.lines}
        if not lines:
            return {}
        try:
            return await self.outside.numbers_of(sorted(lines))
        except Exception:  # whatever it is, nothing has been sent, and the lane goes on
            log.exception("settlement_numbers_failed", lane=self.name)
            return None

    async def _perform(self, claim: Claim, numbers: Numbers | None, started: float) -> None:
        outcome = claim.outcome or await self._call(claim, numbers, started)
        failpoint("settle.after_send")
        self._endings.put_nowait((claim, outcome))

    async def _call(self, claim: Claim, numbers: Numbers | None, started: float) -> Outcome:
        """Make the call before the deadline; after it the claim may be another's."""
        send_by = started + SEND_WITHIN * self.outside.slack.total_seconds()
        if numbers is None or asyncio.get_running_loop().time() > send_by:
            return Undone("it could not be sent in time")
        step = self.steps[claim.kind]
        call, outcome_of = (step.ask, outcome_of_asking) if claim.attempt.asking else (step.send, outcome_of_sending)
        try:
            async with asyncio.timeout_at(started + self.outside.longest_step(self.name).total_seconds()):
                outcome = await outcome_of(call(self.outside, claim.request, numbers))
        except TimeoutError:
            outcome = Lost("no answer in time")
        except Exception as error:  # a mistake of ours must not stop the lane, and leaves the outcome open
            log.exception("settlement_call_failed", lane=self.name, kind=claim.kind, subject=claim.subject_id)
            return Lost(f"our own mistake: {type(error).__name__}")
        if self.name in self.outside.carriers:
            self.breaker = self.breaker.after(outcome, self.limits, _clock())
        return outcome

    async def _write_for_ever(self) -> None:
        while True:
            endings = [await self._endings.get()]
            if self._calls:
                await asyncio.sleep(BREATH_SECONDS)
            while len(endings) < BATCH and not self._endings.empty():
                endings.append(self._endings.get_nowait())
            await self._write(endings)
            await self._show()
            for _ in endings:
                self._endings.task_done()

    async def _show(self) -> None:
        """Write down how the lane stands when that has changed; while it is open, after every trial."""
        breaker = self.breaker
        if self.name not in self.outside.carriers or (breaker.state is self._shown is Standing.CLOSED):
            return
        try:
            async with self.sessions.begin() as session:
                await show(session, self.name, breaker, _clock())
        except TROUBLE as error:
            log.warning("settlement_lane_not_shown", lane=self.name, error=words(error))
            return
        if breaker.state is not self._shown:
            log.info("settlement_lane", lane=self.name, state=breaker.state.value, reason=breaker.reason)
        self._shown = breaker.state

    async def _write(self, endings: Sequence[Ending]) -> None:
        """Write outcomes, those of a kind and an end together; one that the books refuse is left to a person."""
        for tries in range(1, TRIES + 1):
            try:
                await self._write_groups(endings)
            except TROUBLE as error:
                log.warning("settlement_write_failed", lane=self.name, error=words(error), tries=tries)
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return
        log.error("settlement_results_dropped", lane=self.name, count=len(endings))  # they will be asked for

    async def _write_groups(self, endings: Sequence[Ending]) -> None:
        async with self.sessions() as session:
            await read_only(session)
            now = (await session.execute(select(func.now()))).scalar_one()
        groups: dict[tuple[str, State], list[Result]] = {}
        for claim, outcome in endings:
            result = judged(claim, outcome, self._rules(claim.kind), now)
            self._tell(result)
            state = result.verdict.state
            books = state in {State.DONE, State.REFUSED}
            groups.setdefault((claim.kind if books else "", state if books else State.UNKNOWN), []).append(result)
        for group in groups.values():
            await self._write_group(group)

    async def _write_group(self, results: Sequence[Result]) -> None:
        try:
            told = await self._commit(results)
        except Failed:
            raise
        except Exception as error:
            if isinstance(error, TROUBLE) and not isinstance(error, LASTING):
                raise
            await self._write_apart(results, error)
        else:
            self.changed()
            await self.announce(told)

    async def _write_apart(self, results: Sequence[Result], error: Exception) -> None:
        """One of these is refused by the books: find it, and leave it to a person."""
        if len(results) > 1:
            for result in results:
                await self._write_group([result])
            return
        (result,) = results
        log.error("settlement_books_refuse", lane=self.name, kind=result.claim.kind, subject=result.claim.subject_id)
        stuck = Contradicted(f"The books refuse it ({type(error).__name__}): {error}"[:500])
        now = result.verdict.last_sent_at
        await self._commit([judged(result.claim, stuck, self._rules(result.claim.kind), now)])

    async def _commit(self, results: Sequence[Result]) -> set[int]:
        """Write the end of claims of one kind, and what it does to the books, in one transaction."""
        async with self.sessions() as session:
            standing = await conclude(session, results)
            told = await self._book(session, standing) if standing else set()
            failpoint("settle.before_write")
            await session.commit()
        return told

    async def _book(self, session: AsyncSession, results: Sequence[Result]) -> set[int]:
        state, step = results[0].verdict.state, self.steps.get(results[0].claim.kind)
        if step is None or state not in {State.DONE, State.REFUSED}:
            return set()
        ended = [Ended(one.claim.subject_id, one.claim.request, one.at, **_how(one)) for one in results]
        if state is State.DONE:
            return await step.book(session, ended)
        assert step.undo is not None
        return await step.undo(session, ended)

    def _rules(self, kind: str) -> Rules:
        patience = self.outside.patience(self.name)
        if kind in self.steps:
            return self.steps[kind].rules(patience)
        return Rules(patience, undoable=False, gives_up=False, sends=1, delays=DELAYS)

    def _tell(self, result: Result) -> None:
        """Everything but plain success goes to the log; ids only, never a number or a name."""
        if result.verdict.state is State.DONE:
            return
        log.info(
            "settlement_step",
            lane=self.name,
            kind=result.claim.kind,
            subject=result.claim.subject_id,
            attempt=result.claim.attempt.number,
            asked=result.claim.attempt.asking,
            state=result.verdict.state.value,
            reason=result.verdict.reason,
        )


def _clock() -> float:
    """Seconds of the loop's clock, which never goes back."""
    return asyncio.get_running_loop().time()


def _how(result: Result) -> dict[str, Any]:
    outcome = result.outcome
    return {"reason": result.verdict.reason or ""} | ({"done": outcome} if isinstance(outcome, Done) else {})
