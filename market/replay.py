"""Rebuilds trades and books from the journal alone, and says where the tables differ."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg

from market.engine.commands import (
    AmendOrder,
    Answer,
    CancelOrder,
    Command,
    PlaceOrder,
    SetState,
    decode_answer,
    decode_command,
)
from market.engine.desk import NUMBERS, SIDES, TIMES_IN_FORCE, microseconds
from matching.book import Book
from matching.orders import Fill, Order, Side
from matching.refusals import Refusal

MOST_DIFFERENCES = 100
_JOURNAL = "select seq, command, answer, at from journal where shard = $1 order by seq"
_TRADES = f"""
select id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id from trade
where id % {NUMBERS} = $1 order by id
"""  # noqa: S608 - our own figure
_OPEN = f"""
select id, instrument_id, price_minor, quantity, open from orders
where state = 'open' and id % {NUMBERS} = $1 order by id
"""  # noqa: S608 - our own figure


class Traded(NamedTuple):
    """A trade as the journal makes it and as the table has it."""

    id: int
    instrument_id: int
    price_minor: int
    quantity: int
    buy_order_id: int
    sell_order_id: int


@dataclass
class Replay:
    """The books of one shard, made anew from what the engine accepted."""

    books: dict[int, Book] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def take(self, seq: int, command: Command, answer: Answer, at_us: int) -> list[Traded]:
        """Do again what was accepted; gives the trades that it makes."""
        book = self.books.setdefault(command.instrument_id, Book())
        book.expired(at_us)
        if not answer.accepted:
            return []
        try:
            fills = _fills(book, seq, command)
        except Refusal as refusal:
            self.differences.append(f"journal {seq} was accepted, again it is refused: {refusal}")
            return []
        told = [(fill.price_minor, fill.quantity) for fill in answer.fills]
        if told != [(fill.price, fill.quantity) for fill in fills]:
            self.differences.append(f"journal {seq} was answered with {told}, again it trades {len(fills)} times")
            return []
        return [
            _traded(told.trade_id, command.instrument_id, fill) for told, fill in zip(answer.fills, fills, strict=True)
        ]

    def open_orders(self) -> list[tuple[int, int, int, int, int]]:
        return sorted(
            (order.id, instrument_id, order.price, order.quantity, order.open)
            for instrument_id, book in self.books.items()
            for order in book.open_orders()
        )


async def differences(connection: asyncpg.Connection) -> list[str]:
    """Where trades and open orders differ from what the journal makes; the caller holds the snapshot."""
    found: list[str] = []
    for (shard,) in await connection.fetch("select distinct shard from journal order by shard"):
        found += await _shard_differences(connection, shard)
    return found[:MOST_DIFFERENCES]


async def _shard_differences(connection: asyncpg.Connection, shard: int) -> list[str]:
    replay = Replay()
    stored = _stored_trades(connection, shard)
    async for seq, command, answer, at in connection.cursor(_JOURNAL, shard, prefetch=1000):
        made = replay.take(seq, decode_command.decode(command), decode_answer(answer), microseconds(at))
        for trade in made:
            if (kept := await anext(stored, None)) != trade:
                replay.differences.append(f"journal {seq} makes {trade}, the table has {kept}")
                return replay.differences
    replay.differences += [f"{extra} is in the table, the journal does not make it" async for extra in stored]

    kept_open = [tuple(row) for row in await connection.fetch(_OPEN, shard)]
    again = set(replay.open_orders())
    replay.differences += [f"order {row[0]} rests in the table as {row}, not again" for row in set(kept_open) - again]
    replay.differences += [f"order {row[0]} rests again as {row}, not in the table" for row in again - set(kept_open)]
    return replay.differences


async def _stored_trades(connection: asyncpg.Connection, shard: int) -> AsyncIterator[Traded]:
    async for row in connection.cursor(_TRADES, shard, prefetch=1000):
        yield Traded(*row)


def _fills(book: Book, seq: int, command: Command) -> tuple[Fill, ...]:
    match command:
        case PlaceOrder():
            return book.place(_order(seq, command)).fills
        case CancelOrder(order_id=order_id):
            book.cancel(order_id)
        case AmendOrder(order_id=order_id, price_minor=price_minor, quantity=quantity):
            return book.amend(order_id, price=price_minor, quantity=quantity).fills
        case SetState(state="closed"):
            for order in list(book.open_orders()):
                book.cancel(order.id)
    return ()


def _order(seq: int, command: PlaceOrder) -> Order:
    return Order(
        seq,
        command.party_id,
        command.group_id,
        SIDES[command.side],
        command.price_minor,
        command.quantity,
        command.quantity,
        TIMES_IN_FORCE[command.time_in_force],
        command.post_only,
        command.expires_at_us,
    )


def _traded(trade_id: int, instrument_id: int, fill: Fill) -> Traded:
    buy, sell = (fill.taker, fill.maker) if fill.taker.side is Side.BUY else (fill.maker, fill.taker)
    return Traded(trade_id, instrument_id, fill.price, fill.quantity, buy.id, sell.id)
