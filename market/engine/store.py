"""The engine's reads and writes: a batch locks all it needs at once, and is written by one statement in one round trip.

The statement is one round trip on purpose: while PostgreSQL works it off, the engine
decides the next batch. Rows go in as a few arrays each; `plan_cache_mode` must be
`force_generic_plan`, or it would be planned anew every time.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from market.engine import lines
from market.engine.commands import Command
from market.engine.desk import Desk
from market.engine.instruments import MAXIMUM_LIFE_US, Instrument, Standing
from market.engine.lease import Fenced, Lease
from market.engine.records import Changes, Record
from market.engine.times import microseconds, moment
from market.engine.traits import restore_traits, stored_traits
from matching.book import Book
from matching.orders import SelfTrade, Side, TimeInForce
from matching.rules import MarketState, Terms
from settlement.ledger import Account

LOADED_AT_ONCE = 10_000

_INSTRUMENTS = """
select instrument.id, symbol, asset_id, money.id as money_id, asset.carrier, lot_units, fee_basis_points,
    fee_minimum_minor, tick_minor, floor_minor, ceiling_minor, maximum_lots, opens_at, closes_at, state,
    band_basis_points, paused_until, call_ends_at, stopped_by, state_before, listed_state, reference_minor,
    last.price_minor as last_minor, asset.expires_at
from instrument join asset on asset.id = asset_id join asset money on money.code = currency
left join lateral (
    select price_minor from trade where trade.instrument_id = instrument.id
    order by trade.at desc, trade.id desc limit 1
) last on true
"""
_OF_SHARD = "where instrument.shard = $1 and not instrument.id = any($2::bigint[])"
_OPEN_ORDERS = """
select id, instrument_id, party_id, group_id, side, price_minor, quantity, open, time_in_force, market, post_only,
    self_trade, expires_at, traits, fee_basis_points, fee_minimum_minor, account_id, proceeds_account_id, line_id,
    custody_id, payment_id, version, priority, created_at
from open_order where instrument_id = any($1::bigint[]) order by priority, id
"""
_ANSWERED = """
select party_id, key, body_hash, answer from journal
where (party_id, key) in (select * from unnest($1::bigint[], $2::text[]))
"""
_LOCK_ACCOUNTS = """
select id, party_id, asset_id, available, held from account where id = any($1::bigint[])
order by id for no key update
"""

_TERMS = (
    "id instrument_id party_id group_id side price_minor quantity {} time_in_force market post_only self_trade "
    "expires_at traits fee_basis_points fee_minimum_minor account_id proceeds_account_id line_id custody_id "
    "payment_id version priority"
)
_TRADE = "id instrument_id price_minor quantity buy_order_id sell_order_id buyer_id seller_id taker_side fee_minor"
_DELIVERY = (
    "id carrier custody_id custody_account_id quantity money_account_id payment_id amount_minor fee_minor "
    "proceeds_account_id receiver_line_id coin_account_id"
)
_LINE = (
    "line_id plan province day sent_today received_today received_today_mb sent_month received_month received_month_mb"
)
# In the order of the statement's parameters: where the rows go, and what their columns are.
_PARTS = (
    ("journal", "seq party_id key body_hash command answer"),
    ("placed", _TERMS.format("open")),
    ("gone", f"{_TERMS.format('filled')} state reason"),
    ("changed", "id price_minor quantity open traits version priority"),
    ("ended", "id price_minor quantity filled traits version priority state reason"),
    ("trade", _TRADE),
    ("delivery", _DELIVERY),
    ("instruction", "kind subject_id lane"),
    ("balance", "id change"),
    ("instrument", "id state paused_until call_ends_at stopped_by state_before rule_profile_id"),
    ("surveillance", "kind party_id instrument_id order_id detail"),
    ("enacted", "instrument_id rule_profile_id"),
    ("line", _LINE),
)
_TYPES = {
    "key": "text", "body_hash": "bytea", "command": "bytea", "answer": "bytea", "side": "smallint",
    "time_in_force": "text", "market": "boolean", "post_only": "boolean", "self_trade": "text",
    "expires_at": "timestamptz", "traits": "text", "state": "text", "reason": "text", "taker_side": "smallint",
    "carrier": "text", "kind": "text", "lane": "text", "paused_until": "timestamptz", "detail": "text",
    "plan": "text", "province": "text", "call_ends_at": "timestamptz", "stopped_by": "text", "state_before": "text",
}  # fmt: skip
"""Types of columns that are not bigint."""
_LEASE = ("shard", "epoch", "stream_id", "last_seq", "last_trade", "last_link", "last_hash", "former_hash",
          "chain", "first_seq", "link_seq", "state_hash", "at")  # fmt: skip


def _statement() -> str:
    """The one statement of a batch. What comes first fences: without its row the caller must roll back."""
    number = len(_LEASE)
    rows = {}
    for part, names in _PARTS:
        arrays = []
        for name in names.split():
            number += 1
            arrays.append(f"${number}::{_TYPES.get(name, 'bigint')}[]")
        rows[part] = f"unnest({', '.join(arrays)}) as new ({', '.join(names.split())})"
    at = f"${_LEASE.index('at') + 1}::timestamptz"
    terms = [name for name in dict(_PARTS)["gone"].split() if name not in {"state", "reason"}]
    inserted = ", ".join("traits::jsonb" if name == "traits" else name for name in terms)
    renewed = {"price_minor", "quantity", "filled", "traits", "version", "priority"}
    moved = ", ".join(f"{'new' if name in renewed else 'old'}.{name}" for name in terms)
    moved = moved.replace("new.traits", "new.traits::jsonb")
    open_terms = inserted.replace("filled", "open")
    line_terms = ", ".join(dict(_PARTS)["line"].split()[1:])
    return f"""
with fence as (
    update engine_lease set stream_id = $3, last_seq = $4, last_trade = $5, last_link = $6, last_hash = $7,
        renewed_at = clock_timestamp() where shard = $1 and epoch = $2 returning shard
), link as (
    insert into audit_link (chain, number, first_seq, last_seq, payload, former_hash, hash, state_hash, at)
    values ($9, $6, $10, $11, null, $8, $7, $12, {at})
), journaled as (
    insert into journal (seq, shard, epoch, party_id, key, body_hash, command, answer, at)
    select seq, $1, $2, party_id, key, body_hash, command, answer, {at} from {rows["journal"]}
), placed as (
    insert into open_order ({open_terms.replace("traits::jsonb", "traits")}, created_at, updated_at)
    select {open_terms}, {at}, {at} from {rows["placed"]}
), gone as (
    insert into ended_order ({", ".join(terms)}, state, reason, created_at, updated_at)
    select {inserted}, state, reason, {at}, {at} from {rows["gone"]}
), changed as (
    update open_order old set price_minor = new.price_minor, quantity = new.quantity, open = new.open,
        traits = new.traits::jsonb, version = new.version, priority = new.priority, updated_at = {at}
    from {rows["changed"]} where old.id = new.id
), taken as (
    delete from open_order old using {rows["ended"]} where old.id = new.id
    returning {moved}, new.state, new.reason, old.created_at
), ended as (
    insert into ended_order ({", ".join(terms)}, state, reason, created_at, updated_at) select *, {at} from taken
), traded as (
    insert into trade (id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id, buyer_id, seller_id,
        taker_side, fee_minor, at) select *, {at} from {rows["trade"]}
), due as (
    insert into delivery (id, carrier, custody_id, custody_account_id, quantity, money_account_id, payment_id,
        amount_minor, fee_minor, proceeds_account_id, receiver_line_id, coin_account_id, status, created_at)
    select *, 'pending', {at} from {rows["delivery"]}
), wanted as (
    insert into instruction (kind, subject_id, lane) select * from {rows["instruction"]}
    on conflict (kind, subject_id) do nothing
), balanced as (
    update account set available = available - new.change, held = held + new.change
    from {rows["balance"]} where account.id = new.id
), stated as (
    update instrument set state = new.state, paused_until = new.paused_until, call_ends_at = new.call_ends_at,
        stopped_by = new.stopped_by, state_before = new.state_before,
        rule_profile_id = coalesce(new.rule_profile_id, instrument.rule_profile_id)
    from {rows["instrument"]} where instrument.id = new.id
), watched as (
    insert into surveillance_event (kind, party_id, instrument_id, order_id, detail, at)
    select *, {at} from {rows["surveillance"]}
), enacted as (
    insert into enactment (instrument_id, rule_profile_id, at) select *, {at} from {rows["enacted"]}
), moved as (
    insert into line_usage as old select * from {rows["line"]} on conflict (line_id) do update set ({line_terms})
        = ({", ".join(f"excluded.{name}" for name in line_terms.split(", "))})
)
select shard from fence
"""  # noqa: S608 - the names are our own


WRITE = _statement()


@dataclass(slots=True)
class Entry:
    """One command with the answer that it got."""

    seq: int
    command: Command
    stored_command: bytes
    answer: bytes


async def add_instruments(connection: asyncpg.Connection, desk: Desk) -> None:
    """Bring the instruments of the shard that the desk does not know yet, with their open orders."""
    rows = await connection.fetch(_INSTRUMENTS + _OF_SHARD, desk.shard, list(desk.instruments))
    fresh = [_instrument(row) for row in rows]
    desk.instruments.update({instrument.id: instrument for instrument in fresh})
    orders = await connection.cursor(_OPEN_ORDERS, [instrument.id for instrument in fresh])
    waiting: list[Record] = []
    while rows := await orders.fetch(LOADED_AT_ONCE):
        waiting += map(_record, rows)
    desk.load(waiting)
    await lines.load(connection, desk, fresh, waiting)


async def instruments(connection: asyncpg.Connection, *, at_listing: bool) -> list[Instrument]:
    """All instruments without their orders: as they are now, or as they were when they were listed."""
    return [_instrument(row, at_listing=at_listing) for row in await connection.fetch(_INSTRUMENTS)]


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


async def clock_us(connection: asyncpg.Connection) -> int:
    """The database's time in microseconds."""
    return microseconds(await connection.fetchval("select clock_timestamp()"))


def parameters(lease: Lease, desk: Desk, entries: Sequence[Entry], stream_id: str) -> list[Any]:
    """All that a batch writes, as it is now: the next batch may change the same orders before this one is sent.

    The lease moves on to the batch's numbers and its link of the audit chain.
    """
    changes, at = desk.changes, moment(desk.now_us)
    former = lease.last_hash
    lease.last_hash = chain_hash(former, ((entry.seq, entry.stored_command, entry.answer) for entry in entries))
    lease.last_seq, lease.last_trade, lease.last_link = desk.seq, desk.trade, lease.last_link + 1
    lease.stream_id = stream_id
    head = [
        lease.shard, lease.epoch, stream_id, lease.last_seq, lease.last_trade, lease.last_link, lease.last_hash,
        former, f"engine-{lease.shard}", entries[0].seq, entries[-1].seq, signed(desk.state_hash), at,
    ]  # fmt: skip
    return head + _journal(entries) + _orders(changes) + _trades(changes) + _others(desk)


def signed(number: int) -> int:
    """A number of 64 bits as PostgreSQL's bigint has it."""
    return number - 2**64 if number >= 2**63 else number


def chain_hash(former: bytes, rows: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """SHA-256 over the former link's hash and each row's number, command and answer, as they are stored."""
    digest = hashlib.sha256(former)
    for seq, command, answer in rows:
        digest.update(b"%d:%d:%d:" % (seq, len(command), len(answer)))
        digest.update(command)
        digest.update(answer)
    return digest.digest()


def _journal(entries: Sequence[Entry]) -> list[Any]:
    commands = [entry.command for entry in entries]
    return [
        [entry.seq for entry in entries],
        [command.party_id for command in commands],
        [command.key for command in commands],
        [command.body_hash for command in commands],
        [entry.stored_command for entry in entries],
        [entry.answer for entry in entries],
    ]


def _orders(changes: Changes) -> list[Any]:
    placed = [record for record in changes.placed.values() if record.state == "open"]
    gone = [record for record in changes.placed.values() if record.state != "open"]
    changed = [record for record in changes.changed.values() if record.state == "open"]
    ended = [record for record in changes.changed.values() if record.state != "open"]
    return [
        *_terms(placed, [record.open for record in placed]),
        *_terms(gone, [record.filled for record in gone]),
        [record.state for record in gone],
        [record.reason for record in gone],
        [record.id for record in changed],
        [record.price for record in changed],
        [record.quantity for record in changed],
        [record.open for record in changed],
        [stored_traits(record) for record in changed],
        [record.version for record in changed],
        [record.priority for record in changed],
        [record.id for record in ended],
        [record.price for record in ended],
        [record.quantity for record in ended],
        [record.filled for record in ended],
        [stored_traits(record) for record in ended],
        [record.version for record in ended],
        [record.priority for record in ended],
        [record.state for record in ended],
        [record.reason for record in ended],
    ]


def _terms(records: Sequence[Record], progress: list[int]) -> list[Any]:
    return [
        [record.id for record in records],
        [record.instrument_id for record in records],
        [record.party_id for record in records],
        [record.group_id for record in records],
        [1 if record.side is Side.BUY else 2 for record in records],
        [record.price for record in records],
        [record.quantity for record in records],
        progress,
        [str(record.time_in_force) for record in records],
        [record.market for record in records],
        [record.post_only for record in records],
        [str(record.self_trade) for record in records],
        [None if record.expires_at is None else moment(record.expires_at) for record in records],
        [stored_traits(record) for record in records],
        [record.fee_basis_points for record in records],
        [record.fee_minimum_minor for record in records],
        [record.account_id for record in records],
        [record.proceeds_account_id for record in records],
        [record.line_id for record in records],
        [record.custody_id for record in records],
        [record.payment_id for record in records],
        [record.version for record in records],
        [record.priority for record in records],
    ]


def _trades(changes: Changes) -> list[Any]:
    trades = changes.trades
    ids, fees = [trade.id for trade in trades], [trade.fee_minor for trade in trades]
    return [
        ids,
        [trade.instrument_id for trade in trades],
        [trade.price_minor for trade in trades],
        [trade.quantity for trade in trades],
        [trade.buy.id for trade in trades],
        [trade.sell.id for trade in trades],
        [trade.buy.party_id for trade in trades],
        [trade.sell.party_id for trade in trades],
        [trade.taker_side for trade in trades],
        fees,
        ids,
        [trade.carrier for trade in trades],
        [trade.sell.custody_id for trade in trades],
        [trade.sell.account_id for trade in trades],
        [trade.units for trade in trades],
        [trade.buy.account_id for trade in trades],
        [trade.buy.payment_id for trade in trades],
        [trade.price_minor * trade.quantity for trade in trades],
        fees,
        [trade.sell.proceeds_account_id for trade in trades],
        [trade.buy.line_id if trade.carrier else None for trade in trades],
        [None if trade.carrier else trade.buy.proceeds_account_id for trade in trades],
    ]


def _others(desk: Desk) -> list[Any]:
    changes, enacted = desk.changes, desk.caps.enacted
    stands = {instrument_id: desk.instruments[instrument_id].standing for instrument_id in enacted} | changes.states
    balances = sorted((account_id, amount) for account_id, amount in changes.holds.items() if amount)
    return [
        *_columns(changes.instructions, 3),
        *_columns(balances, 2),
        list(stands),
        *_columns([_standing(standing) for standing in stands.values()], 5),
        [enacted.get(instrument_id) for instrument_id in stands],
        *_columns([event[:5] for event in changes.surveillance], 5),
        *_columns(list(enacted.items()), 2),
        *_columns(lines.changed_lines(desk.caps), 10),
    ]


def _standing(standing: Standing) -> tuple[Any, ...]:
    paused_until, call_ends_at = (
        None if at_us is None else moment(at_us) for at_us in (standing.paused_until_us, standing.call_ends_us)
    )
    return standing.state, paused_until, call_ends_at, standing.stopped_by, standing.state_before


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _instrument(row: asyncpg.Record, *, at_listing: bool = False) -> Instrument:
    state = MarketState(row["listed_state"] if at_listing else row["state"])
    traded = None if at_listing else row["last_minor"]
    terms = Terms(
        tick=row["tick_minor"],
        minimum_price=row["floor_minor"],
        maximum_price=row["ceiling_minor"],
        maximum_quantity=row["maximum_lots"],
        opens_at=microseconds(row["opens_at"]),
        closes_at=microseconds(row["closes_at"]),
        state=state,
        maximum_life_us=MAXIMUM_LIFE_US,
    )
    book = Book(
        tick=terms.tick,
        reference=row["reference_minor"] if traded is None else traded,
        lowest=terms.minimum_price,
        highest=terms.maximum_price,
        band_basis_points=row["band_basis_points"],
    )
    book.calling = state is not MarketState.OPEN
    instrument = Instrument(
        row["id"], row["symbol"], row["asset_id"], row["money_id"], row["carrier"], row["lot_units"],
        row["fee_basis_points"], row["fee_minimum_minor"], terms, book,
        None if at_listing else _us(row["paused_until"]),
    )  # fmt: skip
    instrument.expires_us = _us(row["expires_at"])
    if not at_listing:
        instrument.call_ends_us = _us(row["call_ends_at"])
        instrument.stopped_by, instrument.state_before = row["stopped_by"], row["state_before"]
    return instrument


_SIDES = {1: Side.BUY, 2: Side.SELL}
_TIMES = {str(each): each for each in TimeInForce}
_MODES = {str(each): each for each in SelfTrade}


def _record(row: asyncpg.Record) -> Record:
    (order_id, instrument_id, party_id, group_id, side, price, quantity, left, time_in_force, market, post_only,
     self_trade, expires_at, traits, basis_points, minimum, account_id, proceeds_id, line_id, custody_id, payment_id,
     version, priority, created_at) = row  # fmt: skip
    record = Record(
        order_id, party_id, group_id, _SIDES[side], price, quantity, left, _TIMES[time_in_force], post_only,
        _us(expires_at), priority, _MODES[self_trade], None, instrument_id, market, basis_points, minimum, account_id,
        proceeds_id, line_id, custody_id, payment_id, price, False, "open", None, version,
        microseconds(created_at),
    )  # fmt: skip
    if traits is not None:
        restore_traits(record, traits)
    return record


def _us(at: datetime | None) -> int | None:
    return None if at is None else microseconds(at)


def check_fence(written: object, lease: Lease) -> None:
    """Refuse to go on when the batch was not written under the lease. Raises Fenced."""
    if written is None:
        raise Fenced(f"Shard {lease.shard} was taken from epoch {lease.epoch}.")
