"""The settlement worker: a lane for each carrier, for the provider and for the house, and the rounds of the sweep."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import breaker, hold_watch, inbox, pushes, restoring, reversals, sweeping, urgency
from settlement.base import read_only
from settlement.buy_ins import CLOSE_BUY_IN
from settlement.capturing import CAPTURE, FINISH, VOID
from settlement.charging import ABANDON, AUTHORISE, CREDIT
from settlement.checkouts import CHECKOUT
from settlement.claims import Steps, next_due
from settlement.custody import RELEASE
from settlement.data_gifts import GIVE, TANK_RELEASE
from settlement.delivery import DELIVER
from settlement.evidence import EVIDENCE
from settlement.gifts import HANDOUT, REDEEM
from settlement.lane import Announce, Lane
from settlement.netting import BUNDLE
from settlement.part_refunds import PART_REFUND
from settlement.payments.errors import PaymentError
from settlement.payouts import PAYOUT, REVERSE, TRANSFER
from settlement.phone_bill_steps import BILL_CANCEL, BILL_CONFIRM, BILL_PREPARE, BILL_REFUND
from settlement.refunding import REFUND
from settlement.reserving import RESERVE
from settlement.steps import HOUSE_LANE, PROVIDER_LANE, Outside
from settlement.trouble import TROUBLE, words
from settlement.waiting import first

log = structlog.get_logger()

STEPS: Steps = {
    step.kind: step
    for step in (
        RESERVE, DELIVER, RELEASE, FINISH, CAPTURE, VOID, REFUND, PART_REFUND, TRANSFER, PAYOUT, REVERSE, REDEEM,
        HANDOUT, GIVE, EVIDENCE, BUNDLE, TANK_RELEASE, AUTHORISE, CREDIT, CHECKOUT, ABANDON,
        BILL_PREPARE, BILL_CONFIRM, BILL_CANCEL, BILL_REFUND, CLOSE_BUY_IN,
    )
}  # fmt: skip
IDLE_SECONDS = 5.0
"""How often to look for work that nobody announced."""
ROUND_SECONDS = 10.0
"""How often the sweep looks for what was left lying."""
JOURNAL_ROUNDS = 6
"""After how many rounds the carriers' journals are read on."""
HOUR_SECONDS = 3600.0
"""How often the provider is asked for events whose webhooks never came."""
SHORTEST_ROUND_SECONDS = 1.0
BREATH_SECONDS = 0.02
"""Announcements that come faster than this are answered together."""


async def run(
    outside: Outside,
    sessions: async_sessionmaker[AsyncSession],
    announce: Announce,
    *,
    wake: asyncio.Event,
    stop: asyncio.Event,
    worker: str,
    steps: Steps = STEPS,
    at_once: int | None = None,
    idle_seconds: float = IDLE_SECONDS,
    round_seconds: float = ROUND_SECONDS,
) -> None:
    """Settle until told to stop; then finish what was taken.

    ``wake`` is set by whoever knows of new work; every ``idle_seconds`` it is looked for
    anyhow. ``worker`` names this process in its claims and must be its own. ``at_once``
    overrides how many calls each lane has in the air.
    """
    lanes = {
        name: Lane(name, outside, steps, sessions, announce, worker, wake.set, at_once or outside.at_once(name))
        for name in (HOUSE_LANE, PROVIDER_LANE, *outside.carriers)
    }
    news = asyncio.Event()
    await _look_where_we_are(sessions, stop)
    await _forget_lanes(sessions)
    async with asyncio.TaskGroup() as group:
        for lane in lanes.values():
            group.create_task(lane.run(stop))
        group.create_task(_call_lanes(sessions, lanes, wake, news, stop, idle_seconds=idle_seconds))
        rounds = Rounds(wake, stop, round_seconds)
        pace = sweeping.Pace()
        group.create_task(rounds.run(lambda: inbox.handle_pending(sessions, outside, announce), news))
        group.create_task(rounds.run(lambda: pushes.handle_pending(sessions)))
        group.create_task(rounds.run(lambda: sweeping.sweep(sessions, outside, announce, pace)))
        group.create_task(
            rounds.run(
                lambda: reversals.look(sessions, outside, announce), every_seconds=JOURNAL_ROUNDS * round_seconds
            )
        )
        group.create_task(rounds.run(lambda: hold_watch.watch(sessions)))
        group.create_task(rounds.run(lambda: urgency.watch(sessions)))
        group.create_task(rounds.run(lambda: inbox.catch_up(sessions, outside.payments), every_seconds=HOUR_SECONDS))


async def _look_where_we_are(sessions: async_sessionmaker[AsyncSession], stop: asyncio.Event) -> None:
    """Nothing is sent out of restored books before what they forgot is asked for; without an answer nothing starts."""
    while not stop.is_set():
        try:
            async with sessions.begin() as session:
                await restoring.look(session)
        except TROUBLE as error:
            log.warning("settlement_home_not_known", error=words(error))
            await first(stop.wait(), timeout_seconds=SHORTEST_ROUND_SECONDS)
        else:
            return


async def _forget_lanes(sessions: async_sessionmaker[AsyncSession]) -> None:
    """How lanes stood for a worker that is gone says nothing of how they stand for this one."""
    try:
        async with sessions.begin() as session:
            await breaker.forget(session)
    except TROUBLE as error:
        log.warning("settlement_lanes_not_forgotten", error=words(error))


async def _call_lanes(
    sessions: async_sessionmaker[AsyncSession],
    lanes: dict[str, Lane],
    wake: asyncio.Event,
    news: asyncio.Event,
    stop: asyncio.Event,
    *,
    idle_seconds: float,
) -> None:
    """Tell each lane when something is due on it."""
    while not stop.is_set():
        wake.clear()
        pause = idle_seconds
        try:
            async with sessions() as session:
                await read_only(session)
                due = await next_due(session, list(lanes))
        except TROUBLE as error:
            log.warning("settlement_look_failed", error=words(error))
        else:
            for name, wait in due.items():
                if wait.total_seconds() <= 0:
                    lanes[name].due.set()
                else:
                    pause = min(pause, wait.total_seconds())
        await first(stop.wait(), timeout_seconds=BREATH_SECONDS)
        await first(wake.wait(), stop.wait(), timeout_seconds=pause)
        if wake.is_set():
            news.set()


@dataclass(frozen=True)
class Rounds:
    """Work that is done again and again, beside the lanes."""

    wake: asyncio.Event
    stop: asyncio.Event
    seconds: float

    async def run(
        self,
        work: Callable[[], Awaitable[int]],
        news: asyncio.Event | None = None,
        every_seconds: float | None = None,
    ) -> None:
        """Do the work at every round, and sooner when there is news, until told to stop.

        What it changed may have made instructions due.
        """
        news, pause = news or asyncio.Event(), every_seconds or self.seconds
        while not self.stop.is_set():
            news.clear()
            await self._once(work)
            await first(self.stop.wait(), timeout_seconds=min(SHORTEST_ROUND_SECONDS, pause))
            await first(news.wait(), self.stop.wait(), timeout_seconds=pause)

    async def _once(self, work: Callable[[], Awaitable[int]]) -> None:
        """One round; whatever goes wrong in it, the next one comes. Being told to stop ends it where it stands."""
        round_ = asyncio.ensure_future(work())
        try:
            await first(asyncio.wait({round_}), self.stop.wait())
        finally:
            round_.cancel()
        try:
            if await round_:
                self.wake.set()
        except asyncio.CancelledError:
            if not self.stop.is_set():
                raise
        except (*TROUBLE, PaymentError) as error:
            log.warning("settlement_round_failed", error=words(error))
        except Exception:
            log.exception("settlement_round_broken")
