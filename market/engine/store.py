"""The engine's reads and writes: a batch locks all it needs at once and writes set-based, in one transaction."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from market.engine.commands import Command
from market.engine.desk import Desk, microseconds
from market.engine.instruments import MAXIMUM_LIFE_US, Instrument
from market.engine.lease import Fenced, Lease
from market.engine.records import COLUMNS, Changes, Record
from matching.rules import MarketState, Terms
from settlement.ledger import Account, Kind

_INSTRUMENTS = """
select instrument.id, symbol, asset_id, money.id as money_id, asset.carrier, lot_units, fee_basis_points,
    fee_minimum_minor, tick_minor, floor_minor, ceiling_minor, maximum_lots, opens_at, closes_at, state
from instrument join asset on asset.id = asset_id join asset money on money.code = currency
where instrument.id % $1 = $2 and not instrument.id = any($3::bigint[])
"""
_OPEN_ORDERS = f"""
select {", ".join(COLUMNS)} from orders where state = 'open' and instrument_id = any($1::bigint[]) order by priority
"""  # noqa: S608 - the columns are our own
_LOCK_LEASE = """
select epoch, clock_timestamp() from engine_lease where shard = $1 for no key update
"""
_ANSWERED = """
select party_id, key, body_hash, answer from journal
where (party_id, key) in (select * from unnest($1::bigint[], $2::text[]))
"""
_LOCK_ACCOUNTS = """
select id, party_id, asset_id, available, held from account where id = any($1::bigint[])
order by id for no key update
"""
_WRITE_BALANCES = """
update account set available = new.available, held = new.held
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as new (id, available, held) where account.id = new.id
"""
_WRITE_ORDERS = """
update orders set price_minor = new.price_minor, quantity = new.quantity, open = new.open, filled = new.filled,
    state = new.state, reason = new.reason, version = new.version, priority = new.priority, updated_at = new.updated_at
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[],
    $9::bigint[], $10::timestamptz[])
    as new (id, price_minor, quantity, open, filled, state, reason, version, priority, updated_at)
where orders.id = new.id
"""
_CHANGING = ("id", "price_minor", "quantity", "open", "filled", "state", "reason", "version", "priority", "updated_at")
_LINK = """
with link as (
    insert into audit_link (chain, number, first_seq, last_seq, payload, former_hash, hash, at)
    values ($7, $5, $8, $3, null, $9, $6, $10)
)
update engine_lease set stream_id = $2, last_seq = $3, last_trade = $4, last_link = $5, last_hash = $6,
    renewed_at = clock_timestamp() where shard = $1
"""
_WRITE_INSTRUCTIONS = """
insert into instruction (kind, subject_id, lane) select * from unnest($1::text[], $2::bigint[], $3::text[])
on conflict (kind, subject_id) do nothing
"""
_WRITE_STATES = """
update instrument set state = new.state from unnest($1::bigint[], $2::text[]) as new (id, state)
where instrument.id = new.id
"""


@dataclass(slots=True)
class Entry:
    """One command with the answer that it got."""

    seq: int
    command: Command
    stored_command: bytes
    answer: bytes
    at: datetime


async def add_instruments(connection: asyncpg.Connection, desk: Desk, shards: int) -> None:
    """Bring the instruments of the shard that the desk does not know yet, with their open orders."""
    rows = await connection.fetch(_INSTRUMENTS, shards, desk.shard, list(desk.instruments))
    fresh = [_instrument(row) for row in rows]
    desk.instruments.update({instrument.id: instrument for instrument in fresh})
    orders = await connection.fetch(_OPEN_ORDERS, [instrument.id for instrument in fresh])
    desk.load(Record(*row) for row in orders)


async def lock_lease(connection: asyncpg.Connection, lease: Lease) -> int:
    """Hold the lease for this transaction; gives the database's time in microseconds. Raises Fenced."""
    epoch, now = await connection.fetchrow(_LOCK_LEASE, lease.shard)
    if epoch != lease.epoch:
        raise Fenced(f"Shard {lease.shard} is at epoch {epoch}; this engine holds {lease.epoch}.")
    return microseconds(now)


async def answered(
    connection: asyncpg.Connection, commands: Sequence[Command]
) -> dict[tuple[int, str], tuple[bytes, bytes]]:
    """The hash and the answer of each command that the journal already has, by party and key."""
    rows = await connection.fetch(
        _ANSWERED, [command.party_id for command in commands], [command.key for command in commands]
    )
    return {(row["party_id"], row["key"]): (row["body_hash"], row["answer"]) for row in rows}


async def lock_accounts(connection: asyncpg.Connection, account_ids: Iterable[int]) -> dict[int, Account]:
    """Lock the accounts in the order of their ids, as everyone does, so that nobody deadlocks."""
    rows = await connection.fetch(_LOCK_ACCOUNTS, list(account_ids))
    return {row[0]: Account(*row) for row in rows}


async def write(
    connection: asyncpg.Connection, lease: Lease, desk: Desk, entries: Sequence[Entry], stream_id: str
) -> None:
    """Write all that a batch changed. Nothing is visible before the caller's commit."""
    changes = desk.changes
    at = entries[0].at
    await connection.copy_records_to_table(
        "journal",
        records=[
            (
                entry.seq, lease.shard, lease.epoch, entry.command.party_id, entry.command.key,
                entry.command.body_hash, entry.stored_command, entry.answer, entry.at,
            )
            for entry in entries
        ],
    )  # fmt: skip
    await _write_orders(connection, changes)
    if changes.trades:
        await _write_trades(connection, changes)
    if changes.instructions:
        await connection.execute(_WRITE_INSTRUCTIONS, *map(list, zip(*changes.instructions, strict=True)))
    if changes.holds:
        await _write_holds(connection, desk, at)
    if changes.states:
        await connection.execute(_WRITE_STATES, list(changes.states), list(changes.states.values()))
    if changes.surveillance:
        await connection.copy_records_to_table(
            "surveillance_event",
            columns=("kind", "party_id", "instrument_id", "order_id", "detail", "at"),
            records=changes.surveillance,
        )
    await _link(connection, lease, desk, entries, stream_id)


async def _write_orders(connection: asyncpg.Connection, changes: Changes) -> None:
    if changes.placed:
        await connection.copy_records_to_table(
            "orders",
            columns=COLUMNS,
            records=[tuple(getattr(record, name) for name in COLUMNS) for record in changes.placed.values()],
        )
    if changes.changed:
        columns = [[getattr(record, name) for record in changes.changed.values()] for name in _CHANGING]
        await connection.execute(_WRITE_ORDERS, *columns)


async def _write_trades(connection: asyncpg.Connection, changes: Changes) -> None:
    await connection.copy_records_to_table(
        "trade",
        records=[
            (
                trade.id, trade.instrument_id, trade.price_minor, trade.quantity, trade.buy.id, trade.sell.id,
                trade.buy.party_id, trade.sell.party_id, trade.taker_side, trade.fee_minor, trade.at,
            )
            for trade in changes.trades
        ],
    )  # fmt: skip
    await connection.copy_records_to_table(
        "delivery",
        columns=(
            "id", "carrier", "custody_id", "custody_account_id", "quantity", "money_account_id", "payment_id",
            "amount_minor", "fee_minor", "proceeds_account_id", "receiver_line_id", "coin_account_id", "status",
            "created_at",
        ),
        records=[
            (
                trade.id, trade.carrier, trade.sell.custody_id, trade.sell.account_id, trade.units,
                trade.buy.account_id, trade.buy.payment_id, trade.price_minor * trade.quantity, trade.fee_minor,
                trade.sell.proceeds_account_id,
                trade.buy.line_id if trade.carrier else None,
                None if trade.carrier else trade.buy.proceeds_account_id,
                "pending", trade.at,
            )
            for trade in changes.trades
        ],
    )  # fmt: skip


async def _write_holds(connection: asyncpg.Connection, desk: Desk, at: datetime) -> None:
    holds = [(seq, account_id, amount) for (seq, account_id), amount in desk.changes.holds.items() if amount]
    await connection.copy_records_to_table(
        "posting",
        records=[
            (seq, account_id, int(Kind.HOLD if amount > 0 else Kind.RELEASE), f"cmd_{seq}", -amount, amount, at)
            for seq, account_id, amount in holds
        ],
    )
    touched = [desk.accounts[account_id] for account_id in sorted({account_id for _, account_id, _ in holds})]
    await connection.execute(
        _WRITE_BALANCES,
        [account.id for account in touched],
        [account.available for account in touched],
        [account.held for account in touched],
    )


def chain_hash(former: bytes, rows: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """SHA-256 over the former link's hash and each row's number, command and answer, as they are stored."""
    digest = hashlib.sha256(former)
    for seq, command, answer in rows:
        digest.update(b"%d:%d:%d:" % (seq, len(command), len(answer)))
        digest.update(command)
        digest.update(answer)
    return digest.digest()


async def _link(
    connection: asyncpg.Connection, lease: Lease, desk: Desk, entries: Sequence[Entry], stream_id: str
) -> None:
    """Chain the batch to the one before, and move the shard's numbers on."""
    link_hash = chain_hash(lease.last_hash, ((entry.seq, entry.stored_command, entry.answer) for entry in entries))
    former, first_seq, at = lease.last_hash, entries[0].seq, entries[0].at
    lease.last_seq, lease.last_trade = desk.seq, desk.trade
    lease.last_link, lease.last_hash, lease.stream_id = lease.last_link + 1, link_hash, stream_id
    await connection.execute(
        _LINK, lease.shard, stream_id, lease.last_seq, lease.last_trade, lease.last_link, link_hash,
        f"engine-{lease.shard}", first_seq, former, at,
    )  # fmt: skip


def _instrument(row: asyncpg.Record) -> Instrument:
    terms = Terms(
        tick=row["tick_minor"],
        minimum_price=row["floor_minor"],
        maximum_price=row["ceiling_minor"],
        maximum_quantity=row["maximum_lots"],
        opens_at=microseconds(row["opens_at"]),
        closes_at=microseconds(row["closes_at"]),
        state=MarketState(row["state"]),
        maximum_life_us=MAXIMUM_LIFE_US,
    )
    return Instrument(
        row["id"], row["symbol"], row["asset_id"], row["money_id"], row["carrier"], row["lot_units"],
        row["fee_basis_points"], row["fee_minimum_minor"], terms,
    )  # fmt: skip
