"""The engine of one shard: takes whatever has queued, commits it as one batch, answers, and recovers from anything."""

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from market.engine import batch, feed, lease, store
from market.engine.batch import Result, Seat
from market.engine.commands import Envelope
from market.engine.desk import Desk
from market.engine.lease import Fenced
from settlement.failpoints import failpoint

log = structlog.get_logger()

BATCH_CAP = 256
STANDBY_SECONDS = 0.2
LIMITS = {"statement_timeout": "10000", "lock_timeout": "8000"}
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


@dataclass
class Engine:
    """Runs one shard until stopped. ``commands`` and ``batches`` count what this process has committed."""

    dsn: str
    redis: Redis
    shard: int
    shards: int
    batch_cap: int = BATCH_CAP
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    commands: int = 0
    batches: int = 0
    _in_doubt: list[Envelope] = field(default_factory=list)

    async def run(self) -> None:
        """Take the shard, then serve it. Raises Fenced when another engine takes it away."""
        connection: asyncpg.Connection | None = None
        while not self.stopping.is_set():
            try:
                if connection is None or connection.is_closed():
                    connection = await asyncpg.connect(self.dsn, timeout=10, server_settings=LIMITS)
                if (seat := await self._take_seat(connection)) is not None:
                    await self._serve(seat)
                    await lease.give_up(connection, seat.lease)
            except (*TAKE_AGAIN, RedisError) as error:
                log.warning("interrupted", shard=self.shard, error=type(error).__name__, detail=str(error))
                await asyncio.sleep(STANDBY_SECONDS)
            finally:
                self.ready.clear()
        if connection is not None:
            await connection.close(timeout=2)

    async def _take_seat(self, connection: asyncpg.Connection) -> Seat | None:
        """Take the lease under a new epoch, then load the books, then answer what was in doubt.

        The order matters: taking the lease waits for the end of any batch whose
        COMMIT is still under way, and only then can its outcome be read. Gives
        None when told to stop while another holder is alive.
        """
        while (held := await lease.take(connection, self.shard, self.holder)) is None:
            if self.stopping.is_set():
                return None
            await asyncio.sleep(STANDBY_SECONDS)
        desk = Desk(self.shard, seq=held.last_seq or self.shard, trade=held.last_trade or self.shard)
        async with connection.transaction():
            desk.now_us = await store.lock_lease(connection, held)
            await store.add_instruments(connection, desk, self.shards)
        log.info("shard_taken", shard=self.shard, epoch=held.epoch, open_orders=len(desk.records))

        seat = Seat(connection, held, desk, self.shards)
        await self._answer_doubtful(seat)
        self.ready.set()
        return seat

    async def _answer_doubtful(self, seat: Seat) -> None:
        """Answer the commands of a batch whose commit was in doubt from the journal; the others come again."""
        if not self._in_doubt:
            return
        known = await store.answered(seat.connection, [envelope.command for envelope in self._in_doubt])
        committed = [
            envelope for envelope in self._in_doubt if (envelope.command.party_id, envelope.command.key) in known
        ]
        answers = [known[envelope.command.party_id, envelope.command.key][1] for envelope in committed]
        await feed.announce(self.redis, seat, committed, Result(answers))
        log.info("doubt_resolved", shard=self.shard, commands=len(self._in_doubt), committed=len(committed))
        self._in_doubt = []

    async def _serve(self, seat: Seat) -> None:
        while (intake := await self._next_intake(seat)) is not None:
            if intake.unreadable:
                log.error("unreadable_commands", shard=self.shard, count=intake.unreadable)
            if intake.envelopes:
                seat = await self._take(seat, intake.envelopes, intake.stream_id)
            seat.lease.stream_id = intake.stream_id

    async def _next_intake(self, seat: Seat) -> feed.Intake | None:
        """Wait for commands, renewing the lease meanwhile; gives None when told to stop."""
        stopped = asyncio.create_task(self.stopping.wait())
        try:
            while not self.stopping.is_set():
                taking = asyncio.create_task(feed.take(self.redis, self.shard, seat.lease.stream_id, self.batch_cap))
                await asyncio.wait({taking, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                    return None
                if (intake := taking.result()) is not None:
                    return intake
                await lease.renew(seat.connection, seat.lease)
                if await feed.restarted_stream(self.redis, self.shard, seat.lease.stream_id):
                    seat.lease.stream_id = "0-0"
            return None
        finally:
            stopped.cancel()

    async def _take(self, seat: Seat, envelopes: Sequence[Envelope], stream_id: str) -> Seat:
        """Commit the commands; isolate one that cannot be written by halving, so that it stops nobody else.

        Gives the seat to go on with: after a failure it is a new one.
        """
        self._in_doubt = list(envelopes)
        failpoint("engine.before_batch")
        try:
            result = await batch.run(seat, [envelope.command for envelope in envelopes], stream_id)
        except (Fenced, *TAKE_AGAIN):
            raise
        except Exception:
            log.exception("batch_failed", shard=self.shard, commands=len(envelopes))
            return await self._isolate(seat, envelopes, stream_id)
        failpoint("engine.after_commit")
        await self._tell(seat, envelopes, result)
        return seat

    async def _isolate(self, seat: Seat, envelopes: Sequence[Envelope], stream_id: str) -> Seat:
        self._in_doubt = []
        fresh = await self._take_seat_again(seat)
        if len(envelopes) > 1:
            half = len(envelopes) // 2
            # The failed batch may have moved its own lease on; what the database has is where the stream stands.
            fresh = await self._take(fresh, envelopes[:half], fresh.lease.stream_id)
            return await self._take(fresh, envelopes[half:], stream_id)
        try:
            await self._tell(fresh, envelopes, await batch.run_refused(fresh, envelopes[0].command, stream_id))
        except UNWRITABLE:
            # What the journal cannot hold can never take effect, so nobody needs to find this answer there.
            log.exception("command_unwritable", shard=self.shard)
            fresh = await self._take_seat_again(fresh)
            await self._tell(fresh, envelopes, Result([batch.refused(envelopes[0].command)]))
        return fresh

    async def _take_seat_again(self, seat: Seat) -> Seat:
        if (fresh := await self._take_seat(seat.connection)) is None:
            raise Fenced(f"Shard {self.shard} was taken while a batch was being isolated.")
        return fresh

    async def _tell(self, seat: Seat, envelopes: Sequence[Envelope], result: Result) -> None:
        self.commands += result.taken
        self.batches += 1
        await feed.announce(self.redis, seat, envelopes, result)
        self._in_doubt = []
