"""The way to the engine and back: a command goes into the stream of its shard, and its answer is awaited."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Self

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.engine.commands import Answer, Command, Envelope, decode_answer, encode, stream_of
from market.keys import reused
from market.refusals import OutcomeUnknown, Unavailable
from market.sharding import ASSIGNED, Routes
from market.storage import Storage, check_command, told
from settlement.waiting import end

log = structlog.get_logger()

QUEUE_BOUND = 20_000
"""Commands that may wait in a shard's stream; beyond it new ones are turned away."""
ANSWER_SECONDS = 4.0
ASK_SECONDS = 1.0
HEAR_SECONDS = 1.0
"""How often a gateway hears whether the database's volumes run full."""

_SUBMIT = """
if redis.call('xlen', KEYS[1]) >= tonumber(ARGV[1]) then return false end
return redis.call('xadd', KEYS[1], '*', 'c', ARGV[2])
"""

# As text: putting a statement together costs more than running it, and this one runs for every order.
_JOURNALED = text("select body_hash, answer from journal where party_id = :party and key = :key")

_answers = msgspec.json.Decoder(list[tuple[int, Answer]])


@dataclass
class Gateway:
    """Submits commands and waits for their answers; one of it serves a whole process. Open it with ``async with``."""

    redis: Redis
    sessions: async_sessionmaker[AsyncSession]
    shards: int
    channel: str = field(default_factory=lambda: f"surplusflow:answers:{secrets.token_hex(8)}")
    _numbers: Iterator[int] = field(default_factory=count)
    _waiting: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)
    storage: Storage = field(default_factory=Storage)
    _tasks: tuple[asyncio.Task[None], ...] = ()
    _routes: Routes = field(init=False)

    def __post_init__(self) -> None:
        self._routes = Routes(self.sessions, self.shards)

    async def __aenter__(self) -> Self:
        self._submit = self.redis.register_script(_SUBMIT)
        self._tasks = (asyncio.create_task(self._listen()), asyncio.create_task(self._hear_of_storage()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._tasks)

    async def submit(self, command: Command) -> Answer:
        """Send a command and give its answer, a refusal included.

        Whatever gets lost on the way, the journal is asked before anyone is told
        anything, and the command is sent again only under its own key.

        Raises:
            Unavailable: the queue or the storage is full, or the transport is gone; nothing was sent.
            OutcomeUnknown: no answer yet; the same key may be asked or sent again.
            KeyReused: the key was used for another request.
        """
        check_command(self.storage, command)
        number = next(self._numbers)
        waiter = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send(command, number)
            answer = await self._wait(waiter, command)
        finally:
            del self._waiting[number]
        if answer.code == "idempotency_key_reused":
            raise reused()
        if answer.code == "unknown_instrument":
            self._routes.forget()
        return answer

    async def shard_of(self, instrument_id: int) -> int:
        """The shard whose engine serves an instrument, as far as is known here.

        Raises:
            Unavailable: the database had to be asked and does not answer.
        """
        try:
            return await self._routes.shard_of(instrument_id)
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable("The market cannot take commands just now. Try again in a few seconds.") from error

    async def _send(self, command: Command, number: int) -> None:
        shard = await self.shard_of(command.instrument_id)
        try:
            sent = await self._submit(
                keys=[stream_of(shard)], args=[QUEUE_BOUND, encode(Envelope(command, self.channel, number))]
            )
        except (RedisError, OSError) as error:
            raise OutcomeUnknown(
                "The market did not take the command for certain. Ask again with the same key."
            ) from error
        if not sent:
            raise Unavailable("The market is very busy. Try again in a few seconds.", code="queue_full")

    async def _wait(self, waiter: "asyncio.Future[Answer]", command: Command) -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ANSWER_SECONDS
        while (left := deadline - loop.time()) > 0:
            done, _ = await asyncio.wait({waiter}, timeout=min(left, ASK_SECONDS))
            if done:
                return waiter.result()
            if (answer := await self._ask(command)) is not None:
                return answer
        self._routes.forget()  # perhaps the engine that we ask is none any more
        raise OutcomeUnknown("The market has not answered yet. Ask again with the same key; it will not be done twice.")

    async def _ask(self, command: Command) -> Answer | None:
        """What the journal says: an answer may get lost, a journaled command can't."""
        try:
            async with self.sessions() as session:
                found = await journaled(session, command.party_id, command.key)
        except (SQLAlchemyError, OSError):
            return None
        if found is None:
            return None
        body_hash, answer = found
        if body_hash != command.body_hash:
            raise reused()
        return answer

    async def _hear_of_storage(self) -> None:
        while True:
            with contextlib.suppress(RedisError, OSError):  # until it is heard again, the last word holds
                self.storage = await told(self.redis)
            await asyncio.sleep(HEAR_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                async with self.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(self.channel, ASSIGNED)
                    self._routes.forget()  # what was said meanwhile was not heard
                    while True:
                        message = await pubsub.get_message(timeout=None)
                        if message is None:
                            continue
                        if message["channel"] == ASSIGNED.encode():
                            self._routes.forget()
                        else:
                            self._deliver(message["data"])
            except (RedisError, OSError) as error:
                log.warning("answers_interrupted", error=type(error).__name__)
                await asyncio.sleep(0.2)

    def _deliver(self, data: bytes) -> None:
        for number, answer in _answers.decode(data):
            waiter = self._waiting.get(number)
            if waiter is not None and not waiter.done():
                waiter.set_result(answer)


async def journaled(session: AsyncSession, party_id: int, key: str) -> tuple[bytes, Answer] | None:
    """The body's hash and the answer that the journal has for a party's key."""
    row = (await session.execute(_JOURNALED, {"party": party_id, "key": key})).one_or_none()
    return None if row is None else (row.body_hash, decode_answer(row.answer))
