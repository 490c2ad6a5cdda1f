"""One batch: commands in, one transaction, answers out. An answer leaves only after its commit is known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from market.engine import store
from market.engine.commands import Answer, Command, encode
from market.engine.desk import NUMBERS, Desk, moment
from market.engine.lease import Lease, renew
from market.engine.records import Changes
from settlement.ledger import Account


@dataclass(slots=True)
class Result:
    """What a committed batch tells the world: an answer for each command, in order, and what changed."""

    answers: list[bytes] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    seq: int = 0
    taken: int = 0
    """Commands that were new."""


@dataclass(slots=True)
class Seat:
    """What an engine writes with: a connection, a held lease, and the desk loaded under that lease."""

    connection: asyncpg.Connection
    lease: Lease
    desk: Desk
    shards: int


async def run(seat: Seat, commands: Sequence[Command], stream_id: str) -> Result:
    """Decide and commit a batch under the lease.

    Whatever exception leaves here, the desk must be thrown away: it may be ahead
    of the database.

    Raises:
        Fenced: another engine has taken the shard.
    """
    connection, lease, desk = seat.connection, seat.lease, seat.desk
    async with connection.transaction():
        now_us = await store.lock_lease(connection, lease)
        if any(command.instrument_id not in desk.instruments for command in commands):
            await store.add_instruments(connection, desk, seat.shards)
        known = await store.answered(connection, commands)
        fresh = [command for command in commands if (command.party_id, command.key) not in known]
        accounts = await store.lock_accounts(connection, desk.begin(fresh, now_us)) if fresh else {}

        result, entries = _decide(desk, commands, known, accounts)

        if entries:
            await store.write(connection, lease, desk, entries, stream_id)
        else:
            await renew(connection, lease)
    result.changes, result.seq, result.taken = desk.changes, lease.last_seq, len(entries)
    return result


def _decide(
    desk: Desk,
    commands: Sequence[Command],
    known: dict[tuple[int, str], tuple[bytes, bytes]],
    accounts: dict[int, Account],
) -> tuple[Result, list[store.Entry]]:
    """Answer each command: with the stored answer when its key is known, else by deciding it."""
    desk.accounts = accounts
    result, entries = Result(), []
    for command in commands:
        place = (command.party_id, command.key)
        if place in known:
            body_hash, answer = known[place]
            result.answers.append(answer if body_hash == command.body_hash else encode(_key_reused(command)))
            continue
        seq, decided = desk.apply(command)
        answer = encode(decided)
        entries.append(store.Entry(seq, command, encode(command), answer, moment(desk.now_us)))
        known[place] = (command.body_hash, answer)
        result.answers.append(answer)
    return result, entries


async def run_refused(seat: Seat, command: Command, stream_id: str) -> Result:
    """Journal a refusal for a command that could not be written, so that it is answered once and for ever."""
    connection, lease, desk = seat.connection, seat.lease, seat.desk
    async with connection.transaction():
        desk.begin([], await store.lock_lease(connection, lease))
        desk.seq += NUMBERS
        answer = refused(command)
        entry = store.Entry(desk.seq, command, encode(command), answer, moment(desk.now_us))
        await store.write(connection, lease, desk, [entry], stream_id)
    return Result([answer], desk.changes, lease.last_seq, 1)


def refused(command: Command) -> bytes:
    """The answer to a command that could not be written."""
    detail = "The market could not take this command. Nothing was changed; our operators have been told."
    return encode(Answer(command.key, command.party_id, accepted=False, code="internal_error", detail=detail))


def _key_reused(command: Command) -> Answer:
    detail = "This key was used for another request. Use a new key for a new request."
    return Answer(command.key, command.party_id, accepted=False, code="idempotency_key_reused", detail=detail)
