"""What the engine is measured beside: the same orders, one transaction each, by sixteen clients at once.

Both do what a careful program without an engine does. An order locks its account, then
the orders that it trades with, best price first; it writes the journal, orders, trades,
deliveries, instructions and balances, and commits. A deadlock is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from time import perf_counter_ns

import asyncpg
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from market.database import connect, sessions
from market.engine.commands import Command, PlaceOrder, encode
from market.tables import EndedOrderRow, JournalRow, OpenOrderRow, TradeRow
from settlement.ledger_tables import AccountRow
from settlement.tables import DeliveryRow, InstructionRow
from web.bench.stack import Stack

CLIENTS = 16
TRIES = 20
LOT_UNITS = 100
FIRST_NUMBER = 2**50
NANOSECONDS = 1_000_000_000

_JOURNAL = """
insert into journal (seq, shard, epoch, party_id, key, body_hash, command, answer, at)
values ($1, 0, 1, $2, $3, $4, $5, $6, now())
"""
_ACCOUNT = "select available, held from account where id = $1 for no key update"
_MAKERS = {
    "buy": """
        select id, party_id, account_id, proceeds_account_id, price_minor, quantity, open from open_order
        where instrument_id = $1 and side = 2 and price_minor <= $2 and party_id <> $3
        order by price_minor, priority limit 10 for update""",
    "sell": """
        select id, party_id, account_id, proceeds_account_id, price_minor, quantity, open from open_order
        where instrument_id = $1 and side = 1 and price_minor >= $2 and party_id <> $3
        order by price_minor desc, priority limit 10 for update""",
}
_TERMS = """id, instrument_id, party_id, group_id, side, price_minor, quantity, time_in_force, market, post_only,
    self_trade, fee_basis_points, fee_minimum_minor, account_id, proceeds_account_id, version, priority, created_at,
    updated_at"""
_VALUES = "$1, $2, $3, $3, $4, $5, $6, $7, false, false, 'cancel_newest', 500, 1, $8, $9, 1, $1, now(), now()"
_REST = f"insert into open_order ({_TERMS}, open) values ({_VALUES}, $10)"  # noqa: S608 - our own words
_GONE = f"insert into ended_order ({_TERMS}, filled, state, reason) values ({_VALUES}, $10, $11, $12)"  # noqa: S608 - the same
_SHRINK = "update open_order set open = $2, version = version + 1, updated_at = now() where id = $1"
_END = """
with taken as (delete from open_order where id = $1 returning *)
insert into ended_order select id, instrument_id, party_id, group_id, side, price_minor, quantity, $2, time_in_force,
    market, post_only, self_trade, expires_at, traits, fee_basis_points, fee_minimum_minor, account_id,
    proceeds_account_id, line_id, custody_id, payment_id, version + 1, priority, created_at, now(), $3, $4 from taken
"""
_TRADE = """
insert into trade (id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id, buyer_id, seller_id,
    taker_side, fee_minor, at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, now())
"""
_DELIVERY = """
insert into delivery (id, custody_account_id, quantity, money_account_id, amount_minor, fee_minor, proceeds_account_id,
    coin_account_id, status, created_at) values ($1, $2, $3, $4, $5, 1, $6, $7, 'pending', now())
"""
_INSTRUCTION = "insert into instruction (kind, subject_id, lane) values ('deliver', $1, 'house')"
_HOLD = "update account set available = available - $2, held = held + $2 where id = $1"
_CANCEL = """select id, party_id, account_id, side, price_minor, quantity, open from open_order
    where id = $1 and party_id = $2 for update"""


async def one_by_one(at: Stack, commands: Sequence[Command], seconds: int) -> tuple[int, int]:
    """Commands a second through raw asyncpg, and how many had to be tried again."""
    pool = await asyncpg.create_pool(at.dsn, min_size=CLIENTS, max_size=CLIENTS)
    numbers = count(FIRST_NUMBER)

    async def carry_out(command: Command, number: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            if isinstance(command, PlaceOrder):
                await _place(connection, command, number, numbers)
            else:
                await _cancel(connection, command)
            await connection.execute(
                _JOURNAL, number, command.party_id, f"one-{number}", b"", encode(command), b"accepted"
            )

    try:
        return await _drive(commands, carry_out, seconds)
    finally:
        await pool.close()


async def _place(connection: asyncpg.Connection, command: PlaceOrder, number: int, numbers: Iterator[int]) -> None:
    buying = command.side == "buy"
    await connection.fetchrow(_ACCOUNT, command.account_id)
    makers = await connection.fetch(_MAKERS[command.side], command.instrument_id, command.price_minor, command.party_id)
    left, saved = command.quantity, 0
    for maker in makers:
        if not left:
            break
        lots, price, trade = min(left, maker["open"]), maker["price_minor"], next(numbers)
        left -= lots
        saved += (command.price_minor - price) * lots
        if lots == maker["open"]:
            await connection.execute(_END, maker["id"], maker["quantity"], "filled", None)
        else:
            await connection.execute(_SHRINK, maker["id"], maker["open"] - lots)
        taker = (number, command.party_id, command.account_id, command.proceeds_account_id)
        resting = (maker["id"], maker["party_id"], maker["account_id"], maker["proceeds_account_id"])
        buyer, seller = (taker, resting) if buying else (resting, taker)
        await connection.execute(
            _TRADE, trade, command.instrument_id, price, lots, buyer[0], seller[0], buyer[1], seller[1],
            1 if buying else 2,
        )  # fmt: skip
        await connection.execute(
            _DELIVERY, trade, seller[2], lots * LOT_UNITS, buyer[2], price * lots, seller[3], buyer[3]
        )
        await connection.execute(_INSTRUCTION, trade)
    terms = (
        number, command.instrument_id, command.party_id, 1 if buying else 2, command.price_minor, command.quantity,
        command.time_in_force, command.account_id, command.proceeds_account_id,
    )  # fmt: skip
    rests = left and command.time_in_force == "gtc"
    if rests:
        await connection.execute(_REST, *terms, left)
    else:
        state, reason = ("cancelled", "ioc_remainder") if left else ("filled", None)
        await connection.execute(_GONE, *terms, command.quantity - left, state, reason)
    kept = command.quantity if rests else command.quantity - left
    amount = command.price_minor * kept - saved if buying else kept * LOT_UNITS
    if amount:
        await connection.execute(_HOLD, command.account_id, amount)


async def _cancel(connection: asyncpg.Connection, command: Command) -> None:
    order = await connection.fetchrow(_CANCEL, _number_of(command), command.party_id)
    if order is None:
        return
    amount = order["price_minor"] * order["open"] if order["side"] == 1 else order["open"] * LOT_UNITS
    await connection.fetchrow(_ACCOUNT, order["account_id"])
    await connection.execute(_END, order["id"], order["quantity"] - order["open"], "cancelled", "cancelled")
    await connection.execute(_HOLD, order["account_id"], -amount)


async def through_the_orm(at: Stack, commands: Sequence[Command], seconds: int) -> tuple[int, int]:
    """The same through SQLAlchemy's ORM."""
    engine = connect(at.database_url, pool_size=CLIENTS)
    opened = sessions(engine)
    numbers = count(2 * FIRST_NUMBER)

    async def carry_out(command: Command, number: int) -> None:
        number += FIRST_NUMBER
        async with opened.begin() as session:
            if isinstance(command, PlaceOrder):
                await _place_with_orm(session, command, number, numbers)
            else:
                await _cancel_with_orm(session, command)
            session.add(
                JournalRow(
                    seq=number, shard=0, epoch=1, party_id=command.party_id, key=f"orm-{number}", body_hash=b"",
                    command=encode(command), answer=b"accepted", at=datetime.now(UTC),
                )
            )  # fmt: skip

    try:
        return await _drive(commands, carry_out, seconds)
    finally:
        await engine.dispose()


async def _place_with_orm(session: AsyncSession, command: PlaceOrder, number: int, numbers: Iterator[int]) -> None:
    buying, now = command.side == "buy", datetime.now(UTC)
    account = await session.get_one(AccountRow, command.account_id, with_for_update={"key_share": True})
    price = OpenOrderRow.price_minor
    statement = (
        select(OpenOrderRow)
        .where(
            OpenOrderRow.instrument_id == command.instrument_id,
            OpenOrderRow.side == (2 if buying else 1),
            price <= command.price_minor if buying else price >= command.price_minor,
            OpenOrderRow.party_id != command.party_id,
        )
        .order_by(price if buying else price.desc(), OpenOrderRow.priority)
        .limit(10)
        .with_for_update()
    )
    left, saved = command.quantity, 0
    for maker in list(await session.scalars(statement)):
        if not left:
            break
        lots, trade = min(left, maker.open), next(numbers)
        left -= lots
        saved += (command.price_minor - maker.price_minor) * lots
        taker = (number, command.party_id, command.account_id, command.proceeds_account_id)
        resting = (maker.id, maker.party_id, maker.account_id, maker.proceeds_account_id)
        buyer, seller = (taker, resting) if buying else (resting, taker)
        session.add_all(
            [
                TradeRow(
                    id=trade, instrument_id=command.instrument_id, price_minor=maker.price_minor, quantity=lots,
                    buy_order_id=buyer[0], sell_order_id=seller[0], buyer_id=buyer[1], seller_id=seller[1],
                    taker_side=1 if buying else 2, fee_minor=1, at=now,
                ),
                DeliveryRow(
                    id=trade, custody_account_id=seller[2], quantity=lots * LOT_UNITS, money_account_id=buyer[2],
                    amount_minor=maker.price_minor * lots, fee_minor=1, proceeds_account_id=seller[3],
                    coin_account_id=buyer[3], status="pending",
                ),
                InstructionRow(kind="deliver", subject_id=trade, lane="house"),
            ]
        )  # fmt: skip
        if lots == maker.open:
            session.add(_ended(maker, maker.quantity, "filled", None, now))
            await session.delete(maker)
        else:
            maker.open -= lots
            maker.version += 1
    terms = {
        "id": number, "instrument_id": command.instrument_id, "party_id": command.party_id,
        "group_id": command.party_id, "side": 1 if buying else 2, "price_minor": command.price_minor,
        "quantity": command.quantity, "time_in_force": command.time_in_force, "market": False, "post_only": False,
        "self_trade": "cancel_newest", "fee_basis_points": 500, "fee_minimum_minor": 1,
        "account_id": command.account_id, "proceeds_account_id": command.proceeds_account_id, "version": 1,
        "priority": number, "created_at": now, "updated_at": now,
    }  # fmt: skip
    rests = left and command.time_in_force == "gtc"
    if rests:
        session.add(OpenOrderRow(**terms, open=left))
    else:
        state, reason = ("cancelled", "ioc_remainder") if left else ("filled", None)
        session.add(EndedOrderRow(**terms, filled=command.quantity - left, state=state, reason=reason))
    kept = command.quantity if rests else command.quantity - left
    amount = command.price_minor * kept - saved if buying else kept * LOT_UNITS
    account.available -= amount
    account.held += amount


async def _cancel_with_orm(session: AsyncSession, command: Command) -> None:
    order = await session.get(OpenOrderRow, _number_of(command) + FIRST_NUMBER, with_for_update=True)
    if order is None:
        return
    account = await session.get_one(AccountRow, order.account_id, with_for_update={"key_share": True})
    amount = order.price_minor * order.open if order.side == 1 else order.open * LOT_UNITS
    account.available += amount
    account.held -= amount
    session.add(_ended(order, order.quantity - order.open, "cancelled", "cancelled", datetime.now(UTC)))
    await session.delete(order)


def _ended(order: OpenOrderRow, filled: int, state: str, reason: str | None, now: datetime) -> EndedOrderRow:
    same = {
        name: getattr(order, name)
        for name in OpenOrderRow.__table__.columns.keys()  # noqa: SIM118 - a collection of columns, not a dictionary
        if name not in {"open", "updated_at"}
    }
    return EndedOrderRow(**same, filled=filled, state=state, reason=reason, updated_at=now)


def _number_of(command: Command) -> int:
    """The number under which the order that is cancelled was placed: as the engine would have numbered it."""
    return FIRST_NUMBER + getattr(command, "order_id", 0)


async def _drive(
    commands: Sequence[Command], carry_out: Callable[[Command, int], Awaitable[None]], seconds: int
) -> tuple[int, int]:
    """Let the clients take commands in turn until the time is up."""
    deadline_ns = perf_counter_ns() + seconds * NANOSECONDS
    story = iter(enumerate(commands, start=1))
    done = again = 0

    async def client() -> None:
        nonlocal done, again
        for number, command in story:
            for _ in range(TRIES):
                try:
                    await carry_out(command, FIRST_NUMBER + number * 1024)
                    break
                except (asyncpg.PostgresError, DBAPIError):
                    again += 1
            done += 1
            if perf_counter_ns() > deadline_ns:
                return

    started_at_ns = perf_counter_ns()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done * NANOSECONDS // (perf_counter_ns() - started_at_ns), again
