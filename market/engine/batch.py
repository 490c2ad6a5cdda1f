"""One batch: commands in, one transaction, answers out. An answer leaves only after its commit is known.

A batch has three steps. `prepare` begins the transaction, locks the accounts and asks the
journal; `decide` asks nobody and leaves behind all that is to be written; `write` is one
statement and the commit. While one batch is written the next may be prepared and decided,
as long as it touches none of the accounts that the first does.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
from asyncpg.transaction import Transaction

from market import sharding
from market.engine import feed, frozen, handover, lines, store, writing
from market.engine.commands import Answer, Command, Envelope, Received, encode
from market.engine.desk import NUMBERS, Desk
from market.engine.lease import Lease, renew
from market.engine.records import Changes
from settlement.failpoints import failpoint
from settlement.ledger import Account

IN_ONE_BREATH = 32
"""Commands that are decided before the loop looks whether the database has answered."""

Known = dict[tuple[int, str], tuple[bytes, bytes]]
"""The body's hash and the answer, by party and key."""


@dataclass(slots=True)
class Seat:
    """What an engine works with: two connections, a held lease, and the desk loaded under that lease.

    Batches take turns on the connections.
    """

    lanes: tuple[asyncpg.Connection, asyncpg.Connection]
    lease: Lease
    desk: Desk
    shards: int
    read_to: str
    """The last entry of the stream that was taken, committed or not."""
    turn: int = 0
    publisher: feed.Publisher = field(default_factory=feed.Publisher)

    def next_lane(self) -> asyncpg.Connection:
        self.turn = 1 - self.turn
        return self.lanes[self.turn]

    @property
    def free_lane(self) -> asyncpg.Connection:
        """The connection that no batch in flight has."""
        return self.lanes[1 - self.turn]


@dataclass(slots=True)
class Prepared:
    """A batch whose transaction has begun, with all that its decisions need."""

    connection: asyncpg.Connection
    transaction: Transaction
    envelopes: Sequence[Envelope]
    known: Known
    accounts: dict[int, Account]


@dataclass(slots=True)
class Decided:
    """A batch that only has to be written: what, and what the world is told when that is done."""

    connection: asyncpg.Connection
    transaction: Transaction
    envelopes: Sequence[Envelope]
    answers: list[bytes]
    news: feed.News
    taken: int
    """Commands that were new."""
    stream_id: str
    written: writing.Written | None
    touched: frozenset[int]
    known: Known
    changes: Changes


async def prepare(seat: Seat, envelopes: Sequence[Envelope], in_flight: Known) -> Prepared:
    """Begin a batch: lock what it will take from, and look which of its keys are answered already."""
    connection, desk = seat.next_lane(), seat.desk
    transaction = connection.transaction()
    await transaction.start()
    commands = [envelope.command for envelope in envelopes]
    now_us, known = await store.answered_now(connection, commands)
    known.update(in_flight)
    fresh = [command for command in commands if (command.party_id, command.key) not in known]
    await lines.meet(connection, desk, fresh)
    wanted = desk.begin(fresh, now_us)
    accounts = await store.lock_accounts(connection, wanted) if wanted else {}
    return Prepared(connection, transaction, envelopes, known, accounts)


async def decide(seat: Seat, prepared: Prepared, stream_id: str) -> Decided:
    """Answer each command: with the stored answer when its key is known, else by deciding it.

    It waits for nothing, but draws breath: meanwhile the batch before it goes on, from being written to its commit.
    Whatever exception leaves here or `write`, the desk must be thrown away: it is
    ahead of the database.
    """
    desk, known = seat.desk, prepared.known
    desk.accounts = prepared.accounts
    answers, entries, made = [], [], {}
    for number, envelope in enumerate(prepared.envelopes, start=1):
        if number % IN_ONE_BREATH == 0:
            await asyncio.sleep(0)
        command = envelope.command
        place = (command.party_id, command.key)
        if place in known:
            body_hash, answer = known[place]
            answers.append(answer if body_hash == command.body_hash else encode(_key_reused(command)))
            continue
        seq, decided = desk.apply(command)
        answer = encode(decided)
        stored = envelope.stored if isinstance(envelope, Received) else encode(command)
        entries.append(writing.Entry(seq, command, stored, answer))
        known[place] = made[place] = (command.body_hash, answer)
        answers.append(answer)
    desk.end(entry.command for entry in entries)
    written = writing.written(seat.lease, desk, entries, stream_id) if entries else None
    return Decided(
        prepared.connection,
        prepared.transaction,
        prepared.envelopes,
        answers,
        seat.publisher.news(desk, seat.lease.epoch),
        len(entries),
        stream_id,
        written,
        frozenset(desk.changes.holds) | prepared.accounts.keys(),
        made,
        desk.changes,
    )


async def write(seat: Seat, decided: Decided) -> None:
    """Write a batch and commit it.

    Raises:
        Fenced: another engine has taken the shard; nothing was committed.
    """
    if decided.changes.legs or decided.changes.resolved:
        await frozen.write(decided.connection, seat.lease.shard, decided.changes)
    if (handed := decided.changes.handed) is not None:
        await sharding.assign(decided.connection, handed.unit, former=seat.lease.shard, shard=handed.shard)
    if decided.written is None:
        await renew(decided.connection, seat.lease)
    else:
        fence = await decided.connection.fetchval(decided.written.statement, *decided.written.parameters)
        writing.check_fence(fence, seat.lease)
    if handed is not None:
        failpoint("engine.handing_over")
    await decided.transaction.commit()
    if handed is not None:
        failpoint("engine.handed_over")
        handover.let_go(seat.desk, handed)


def decide_refused(seat: Seat, prepared: Prepared, stream_id: str) -> Decided:
    """Refuse a command that could not be written, so that it is answered once and for ever."""
    (envelope,) = prepared.envelopes
    desk, command = seat.desk, envelope.command
    desk.seq += NUMBERS
    answer = refused(command)
    entry = writing.Entry(desk.seq, command, encode(command), answer)
    desk.end([command])
    written = writing.written(seat.lease, desk, [entry], stream_id)
    return Decided(
        prepared.connection, prepared.transaction, prepared.envelopes, [answer],
        seat.publisher.news(desk, seat.lease.epoch), 1, stream_id, written, frozenset(), {}, desk.changes,
    )  # fmt: skip


def refused(command: Command) -> bytes:
    """The answer to a command that could not be written."""
    detail = "The market could not take this command. Nothing was changed; our operators have been told."
    return encode(Answer(command.key, command.party_id, accepted=False, code="internal_error", detail=detail))


def _key_reused(command: Command) -> Answer:
    detail = "This key was used for another request. Use a new key for a new request."
    return Answer(command.key, command.party_id, accepted=False, code="idempotency_key_reused", detail=detail)
