"""The engine of one shard: takes whatever has queued, commits it as one batch, answers, and recovers from anything."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from market.engine import baskets, batch, feed, frozen, intake, lease, meeting, store
from market.engine.batch import Decided, Seat
from market.engine.commands import Command, Envelope, ExpireOrders
from market.engine.desk import Desk
from market.engine.intake import Entry, Queue
from market.engine.lease import Fenced
from market.memory import settle_memory
from settlement.accounts import HOUSE
from settlement.failpoints import failpoint

log = structlog.get_logger()

BATCH_CAP = 256
STANDBY_SECONDS = 0.2
IDLE_MS = 1_000
"""How long an engine waits for commands before it renews its lease."""
COLLECT_AFTER = 50_000
"""Objects made before the collector looks; a batch makes some ten thousand, nearly all gone with it."""
LATE_US = 50_000
"""How long after its time something is done that only the clock asks for; the clocks may differ a little."""
LOOK_US = 200_000
"""How often an engine looks for what only the clock asks for."""
FEW = 16
"""What part of a full batch is not worth a batch of its own while another one is written."""
MEET_SECONDS = 1.0
"""How often an engine looks for instruments that it was given; those that a command is about it finds at once."""
TAKE_AGAIN = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
)
"""The batch may or may not be committed, or may succeed as it is: recover, then take it from the stream again."""
UNWRITABLE = (asyncpg.DataError, asyncpg.ProgramLimitExceededError, OverflowError)
"""The database takes no such value, now or ever."""

Lanes = tuple[asyncpg.Connection, asyncpg.Connection]
Taken = tuple[list[Entry], str, int]


class _Stopped(Exception):
    """The engine was told to stop while it waited for the shard."""


class _Failed(Exception):
    """A batch could not be decided or written, for a reason that lies in its commands."""

    def __init__(self, envelopes: Sequence[Envelope], stream_id: str) -> None:
        super().__init__()
        self.envelopes = envelopes
        self.stream_id = stream_id


@dataclass
class Engine:
    """Runs one shard until stopped. ``commands`` and ``batches`` count what this process has committed."""

    dsn: str
    redis: Redis
    shard: int
    shards: int
    batch_cap: int = BATCH_CAP
    owns_process: bool = False
    """Whether the process does nothing else, so that its memory may be arranged for the books."""
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    commands: int = 0
    batches: int = 0
    _in_doubt: list[Envelope] = field(default_factory=list)
    _lanes: Lanes | None = None
    _looked_us: int = 0
    _met_at: float = 0.0
    _writing: "tuple[Decided, asyncio.Task[None]] | None" = None
    _telling: "asyncio.Task[None] | None" = None
    _taking: "asyncio.Task[Taken] | None" = None
    """What has come meanwhile is read while a batch waits for the database."""

    async def run(self) -> None:
        """Take the shard, then serve it. Raises Fenced when another engine takes it away."""
        intake.read_plainly(self.redis)
        try:
            while not self.stopping.is_set():
                try:
                    seat = await self._take_seat()
                    await self._serve(seat)
                    await lease.give_up(seat.lanes[0], seat.lease)
                except _Stopped:
                    break
                except (*TAKE_AGAIN, RedisError) as error:
                    log.warning("interrupted", shard=self.shard, error=type(error).__name__, detail=str(error))
                    await self._drop_lanes()
                    await asyncio.sleep(STANDBY_SECONDS)
                finally:
                    self.ready.clear()
        finally:
            await self._drop_lanes()

    async def _take_seat(self) -> Seat:
        """Take the lease under a new epoch, then load the books, then answer what was in doubt.

        The order matters: taking the lease waits for the end of any batch whose
        COMMIT is still under way, and only then can its outcome be read.
        """
        if self._lanes is None:
            self._lanes = (await self._connect(), await self._connect())
        connection = self._lanes[0]
        while (held := await lease.take(connection, self.shard, self.holder)) is None:
            if self.stopping.is_set():
                raise _Stopped
            await asyncio.sleep(STANDBY_SECONDS)
        desk = Desk(self.shard, seq=held.last_seq or self.shard, trade=held.last_trade or self.shard)
        desk.now_us = await store.clock_us(connection)
        await meeting.meet(connection, self.redis, held, desk, self.shards)
        async with connection.transaction():
            desk.prepared = await frozen.load(connection, self.shard)
        log.info("shard_taken", shard=self.shard, epoch=held.epoch, open_orders=len(desk.records))

        seat = Seat(self._lanes, held, desk, self.shards, held.stream_id)
        await feed.open_books(self.redis, self.shard, desk, seat.publisher, held.epoch)
        await self._answer_doubtful(seat)
        if self.owns_process:
            settle_memory(COLLECT_AFTER, 20, 100)  # to look through a million orders that wait would take a second
        self.ready.set()
        return seat

    async def _connect(self) -> asyncpg.Connection:
        settings = {
            "statement_timeout": "10000",
            "lock_timeout": "8000",
            "plan_cache_mode": "force_generic_plan",
            "application_name": lease.application_name(self.holder),
        }
        return await asyncpg.connect(self.dsn, timeout=10, server_settings=settings)

    async def _drop_lanes(self) -> None:
        """Let go of both connections. What they were doing has ended, one way or the other, before the lease is had."""
        under_way = (self._taking, self._telling, self._writing and self._writing[1])
        tasks = [task for task in under_way if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._taking = self._telling = self._writing = None
        if self._lanes is not None:
            for connection in self._lanes:
                connection.terminate()
            self._lanes = None
            await asyncio.sleep(0)  # the loop closes what was given up

    async def _answer_doubtful(self, seat: Seat) -> None:
        """Answer the commands of batches whose commit was in doubt from the journal; the others come again."""
        if not self._in_doubt:
            return
        known = await store.answered(seat.lanes[0], [envelope.command for envelope in self._in_doubt])
        committed = [
            envelope for envelope in self._in_doubt if (envelope.command.party_id, envelope.command.key) in known
        ]
        answers = [known[envelope.command.party_id, envelope.command.key][1] for envelope in committed]
        await feed.announce(self.redis, self.shard, committed, answers, feed.News(), seat.read_to)
        log.info("doubt_resolved", shard=self.shard, commands=len(self._in_doubt), committed=len(committed))
        self._in_doubt = []

    async def _serve(self, seat: Seat) -> None:
        """Decide one batch while the one before is written, until told to stop."""
        queue = Queue(seat.read_to, last=seat.read_to)
        while True:
            try:
                await self._keep_promise(seat, queue)
                await self._fill(seat, queue)
                if self.stopping.is_set():
                    await self._written()
                    return
                await self._next_batch(seat, queue)
            except _Failed as failed:
                seat = await self._isolate(failed.envelopes, failed.stream_id)
                queue = Queue(seat.read_to, last=seat.read_to)

    async def _keep_promise(self, seat: Seat, queue: Queue) -> None:
        """While legs of a basket are prepared, decide nothing but what becomes of them."""
        prepared = seat.desk.prepared
        if prepared is None:
            return
        await self._written()
        failpoint("engine.legs_prepared")
        committed = await frozen.decision(seat.lanes[0], seat.lease, prepared.basket_id)
        failpoint("engine.basket_decided")
        envelope = Envelope(baskets.resolution(prepared, self.shard, committed=committed), "", 0)
        self._in_doubt.append(envelope)
        try:
            decided = await self._decide(seat, [envelope], queue.position, None)
            await self._write(seat, decided)
        except _Failed as failed:
            msg = f"Shard {self.shard} cannot keep what it promised to basket {prepared.basket_id}."
            raise RuntimeError(msg) from failed
        failpoint("engine.legs_resolved")
        await self._tell(decided)

    async def _fill(self, seat: Seat, queue: Queue) -> None:
        """Have something to decide: from the stream, or what the time asks for. Renews the lease meanwhile."""
        while not self.stopping.is_set():
            room = self.batch_cap - len(queue.entries)
            if room > 0:
                wait_ms = None if queue.entries else self._patience_ms(seat)
                await self._take(seat, queue, room, wait_ms)
            if due := self._due(seat):
                queue.add(due, queue.last)
            if queue.entries:
                return
            if self._writing is None:
                await self._told()
                await lease.renew(seat.lanes[0], seat.lease)
                await self._meet(seat)
                if await intake.restarted(self.redis, self.shard, queue.last):
                    queue.last = queue.position = "0-0"

    def _patience_ms(self, seat: Seat) -> int:
        """How long to wait for commands: until the clock asks for something, at the most."""
        if (due_us := seat.desk.next_due_us()) is None:
            return IDLE_MS
        return max(10, min(IDLE_MS, (due_us + LATE_US - _clock_us()) // 1000))

    def _due(self, seat: Seat) -> list[Entry]:
        """What the time asks for now, as commands of the house."""
        now_us = _clock_us()
        if now_us - self._looked_us < LOOK_US:
            return []
        self._looked_us = now_us
        due: list[Command] = [
            ExpireOrders(HOUSE, f"time-{instrument_id}-{now_us}", b"", instrument_id)
            for instrument_id in seat.desk.due_instruments(now_us - LATE_US)
        ]
        due += seat.desk.caps.take_due()
        return [Entry(seat.read_to, Envelope(command, "", 0)) for command in due]

    async def _take(self, seat: Seat, queue: Queue, room: int, wait_ms: int | None) -> None:
        """Take what has come; a batch whose writing fails meanwhile is noticed at once."""
        taking, self._taking = self._taking, None
        if taking is None:
            taking = asyncio.create_task(intake.take(self.redis, self.shard, queue.last, room, wait_ms))
        stopped = asyncio.create_task(self.stopping.wait())
        try:
            while not taking.done() and not self.stopping.is_set():
                tasks: set[asyncio.Task[object]] = {taking, stopped}
                if self._writing is not None:
                    tasks.add(self._writing[1])
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if self._writing is not None and self._writing[1].done():
                    await self._committed()
            if not taking.done():
                return
            entries, last, unreadable = taking.result()
        finally:
            taking.cancel()
            stopped.cancel()
        if unreadable:
            log.error("unreadable_commands", shard=self.shard, count=unreadable)
        if last:
            seat.read_to = last
            queue.add(entries, last)

    async def _next_batch(self, seat: Seat, queue: Queue) -> None:
        """Decide what can be decided beside the batch in flight, then wait for that one, then write this one.

        A few commands go with those that come until the batch in flight is committed: they are written no later.
        """
        if self._writing is not None and len(queue.entries) < self.batch_cap // FEW:
            await self._committed()
            await self._take(seat, queue, self.batch_cap - len(queue.entries), None)
        if not intake.is_ordinary(queue.entries[: self.batch_cap]):
            await self._written()
        is_full = len(queue.entries) >= self.batch_cap  # then more waits in the stream
        flying = None if self._writing is None else self._writing[0]
        envelopes = queue.next_batch(seat.desk, flying, self.batch_cap)
        envelopes = await self._ours(seat, envelopes)
        if not envelopes:
            await self._written()
            return
        flying = None if self._writing is None else self._writing[0]
        self._in_doubt += envelopes
        if is_full and (room := self.batch_cap - len(queue.entries)) > 0:
            self._taking = asyncio.create_task(intake.take(self.redis, self.shard, queue.last, room, None))
        failpoint("engine.before_batch")
        decided = await self._decide(seat, envelopes, queue.position, flying)
        await self._committed()
        self._writing = decided, asyncio.create_task(self._write_and_tell(seat, decided))
        if decided.changes.handed is not None:  # only once that is certain do the others' commands go where it went
            await self._written()

    async def _ours(self, seat: Seat, envelopes: list[Envelope]) -> list[Envelope]:
        """The commands that are decided here; those of instruments that another engine serves are sent on to it."""
        is_strange = meeting.is_strange(seat.desk, envelopes)
        if is_strange or time.monotonic() > self._met_at + MEET_SECONDS:
            await self._meet(seat)
        if not is_strange:
            return envelopes
        ours, others = await meeting.apart(seat.free_lane, seat.desk, envelopes, self.shards)
        await meeting.send_on(self.redis, others)
        return ours

    async def _meet(self, seat: Seat) -> None:
        """Load what the shard was given meanwhile. It goes on under another epoch, so no batch may be in flight."""
        self._met_at = time.monotonic()
        if await meeting.is_due(seat.free_lane, seat.desk, self.shards):
            await self._written()
            await meeting.meet(seat.free_lane, self.redis, seat.lease, seat.desk, self.shards)

    async def _decide(
        self, seat: Seat, envelopes: Sequence[Envelope], stream_id: str, flying: Decided | None
    ) -> Decided:
        try:
            prepared = await batch.prepare(seat, envelopes, {} if flying is None else flying.known)
            return await batch.decide(seat, prepared, stream_id)
        except (Fenced, *TAKE_AGAIN):
            raise
        except Exception as error:
            log.exception("batch_failed", shard=self.shard, commands=len(envelopes))
            await self._written()
            raise _Failed(envelopes, stream_id) from error

    async def _write(self, seat: Seat, decided: Decided) -> None:
        try:
            await batch.write(seat, decided)
        except (Fenced, *TAKE_AGAIN):
            raise
        except Exception as error:
            log.exception("batch_failed", shard=self.shard, commands=len(decided.envelopes))
            raise _Failed(decided.envelopes, decided.stream_id) from error

    async def _write_and_tell(self, seat: Seat, decided: Decided) -> None:
        """Write a batch, and begin to tell it as soon as it is committed, after the one before it."""
        await self._write(seat, decided)
        failpoint("engine.after_commit")
        await self._told()
        self._telling = asyncio.create_task(self._tell(decided))

    async def _committed(self) -> None:
        """Wait until the batch in flight is committed."""
        if self._writing is not None:
            _, task = self._writing
            await asyncio.wait({task})
            self._writing = None
            task.result()

    async def _told(self) -> None:
        """Wait until the world knows of what is committed."""
        if self._telling is not None:
            telling, self._telling = self._telling, None
            await telling

    async def _written(self) -> None:
        """Wait until the batch in flight is committed and told to the world."""
        await self._committed()
        await self._told()

    async def _tell(self, decided: Decided) -> None:
        self.commands += decided.taken
        self.batches += 1
        await feed.announce(self.redis, self.shard, decided.envelopes, decided.answers, decided.news, decided.stream_id)
        del self._in_doubt[: len(decided.envelopes)]

    async def _isolate(self, envelopes: Sequence[Envelope], stream_id: str) -> Seat:
        """Commit the commands one half after the other, so that one that cannot be written stops nobody else.

        Gives the seat to go on with: after each failure it is a new one.
        """
        seat = await self._take_seat_again()
        if len(envelopes) > 1:
            half = len(envelopes) // 2
            # The failed batch may have moved its own lease on; what the database has is where the stream stands.
            seat = await self._alone(seat, envelopes[:half], seat.lease.stream_id)
            return await self._alone(seat, envelopes[half:], stream_id)
        try:
            prepared = await batch.prepare(seat, envelopes, {})
            decided = batch.decide_refused(seat, prepared, stream_id)
            await batch.write(seat, decided)
            await self._tell(decided)
        except UNWRITABLE:
            # What the journal cannot hold can never take effect, so nobody needs to find this answer there.
            log.exception("command_unwritable", shard=self.shard)
            seat = await self._take_seat_again()
            answers = [batch.refused(envelopes[0].command)]
            await feed.announce(self.redis, self.shard, envelopes, answers, feed.News(), seat.lease.stream_id)
        seat.read_to = stream_id
        return seat

    async def _alone(self, seat: Seat, envelopes: Sequence[Envelope], stream_id: str) -> Seat:
        """Commit a batch with nothing beside it."""
        self._in_doubt = list(envelopes)
        try:
            decided = await self._decide(seat, envelopes, stream_id, None)
            await self._write(seat, decided)
        except _Failed:
            return await self._isolate(envelopes, stream_id)
        await self._tell(decided)
        seat.read_to = stream_id
        return seat

    async def _take_seat_again(self) -> Seat:
        self._in_doubt = []
        await self._drop_lanes()
        try:
            return await self._take_seat()
        except _Stopped as stopped:
            msg = f"Shard {self.shard} was taken while a batch was being isolated."
            raise Fenced(msg) from stopped


def _clock_us() -> int:
    """This machine's clock: only for when to look; what the time is, the database says."""
    return time.time_ns() // 1000
