"""What the engine reads: instruments, open orders, answers that were given, and accounts, which it locks at once."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg

from market.engine import lines
from market.engine.commands import Command
from market.engine.desk import Desk
from market.engine.instruments import MAXIMUM_LIFE_US, Instrument
from market.engine.records import Record
from market.engine.times import microseconds
from market.engine.traits import restore_traits
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
    self_trade, expires_at, traits, fee_basis_points, fee_minimum_minor, charges, account_id, proceeds_account_id,
    line_id, custody_id, payment_id, version, priority, created_at
from open_order where instrument_id = any($1::bigint[]) order by priority, id
"""
_ANSWERED = """
select party_id, key, body_hash, answer from journal
where (party_id, key) in (select * from unnest($1::bigint[], $2::text[]))
"""
_ANSWERED_NOW = f"""
select clock_timestamp(), found.* from (values (1)) once left join ({_ANSWERED}) found on true
"""  # noqa: S608 - our own words
_LOCK_ACCOUNTS = """
select id, party_id, asset_id, available, held from account where id = any($1::bigint[])
order by id for no key update
"""


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
    return (await answered_now(connection, commands))[1]


async def answered_now(
    connection: asyncpg.Connection, commands: Sequence[Command]
) -> tuple[int, dict[tuple[int, str], tuple[bytes, bytes]]]:
    """The database's time in microseconds, and the same, in one round trip."""
    rows = await connection.fetch(
        _ANSWERED_NOW, [command.party_id for command in commands], [command.key for command in commands]
    )
    known = {(party_id, key): (body_hash, answer) for _, party_id, key, body_hash, answer in rows if key is not None}
    return microseconds(rows[0][0]), known


async def lock_accounts(connection: asyncpg.Connection, account_ids: Iterable[int]) -> dict[int, Account]:
    """Lock the accounts in the order of their ids, as everyone does, so that nobody deadlocks."""
    rows = await connection.fetch(_LOCK_ACCOUNTS, list(account_ids))
    return {row[0]: Account(*row) for row in rows}


async def clock_us(connection: asyncpg.Connection) -> int:
    """The database's time in microseconds."""
    return microseconds(await connection.fetchval("select clock_timestamp()"))


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
     self_trade, expires_at, traits, basis_points, minimum, charges, account_id, proceeds_id, line_id, custody_id,
     payment_id, version, priority, created_at) = row  # fmt: skip
    record = Record(
        order_id, party_id, group_id, _SIDES[side], price, quantity, left, _TIMES[time_in_force], post_only,
        _us(expires_at), priority, _MODES[self_trade], None, instrument_id, market, basis_points, minimum, account_id,
        proceeds_id, line_id, custody_id, payment_id, price, False, "open", None, version,
        microseconds(created_at), charges=charges,
    )  # fmt: skip
    if traits is not None:
        restore_traits(record, traits)
    return record


def _us(at: datetime | None) -> int | None:
    return None if at is None else microseconds(at)
