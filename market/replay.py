"""Rebuilds trades and books from the journal alone, and says where the tables differ."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, NamedTuple

import asyncpg
import click

from market.engine import sessions
from market.engine.baskets import legs_to_place, numbers_of, place_legs
from market.engine.caps import Caps, enact
from market.engine.commands import (
    AmendOrder,
    Answer,
    CancelAll,
    CancelOrder,
    Command,
    EnactRules,
    ExpireOrders,
    PlaceBasket,
    PlaceOrder,
    PlaceTogether,
    RenewOrder,
    ResolveLegs,
    SetState,
    decode_answer,
    decode_command,
    instruments_of,
)
from market.engine.desk import NUMBERS
from market.engine.instruments import Instrument, Standing
from market.engine.store import instruments
from market.engine.times import microseconds
from market.engine.traits import SIDES, linked_pair, record_of
from market.engine.writing import signed
from market.settings import Settings
from matching.orders import Breached, Effect, Fill, Order, Side, mark
from matching.refusals import Refusal

MOST_DIFFERENCES = 100
AT_ONCE = 1_000
_SHARDS = "select distinct shard from journal order by shard"
_JOURNAL = "select at, seq, shard, command, answer from journal where shard = $1 order by seq"
_TRADES = f"""
select id, instrument_id, price_minor, quantity, buy_order_id, sell_order_id from trade
where id % {NUMBERS} = $1 order by id
"""  # noqa: S608 - our own figure
_LINKS = "select first_seq, last_seq, state_hash from audit_link where chain = $1 order by number"
_OPEN = "select id, instrument_id, price_minor, quantity, open, priority from open_order"


class Traded(NamedTuple):
    """A trade as the journal makes it and as the table has it."""

    id: int
    instrument_id: int
    price_minor: int
    quantity: int
    buy_order_id: int
    sell_order_id: int


class Row(NamedTuple):
    """One entry of the journal. In the order of these fields, those of all shards make one story."""

    at_us: int
    seq: int
    shard: int
    command: Command
    answer: Answer


@dataclass
class Replay:
    """The books, made anew from what was accepted: with the matching, but without the engine and its ledger."""

    instruments: dict[int, Instrument]
    differences: list[str] = field(default_factory=list)
    trades: int = 0
    commands: int = 0
    caps: Caps = field(default_factory=Caps)
    _last_trade: dict[int, int] = field(default_factory=dict)
    _marks: dict[int, int] = field(default_factory=dict)

    def take(self, row: Row) -> list[Traded]:
        """Do again what was accepted; gives the trades that it makes."""
        self.commands += 1
        if row.answer.code in {"internal_error", "unknown_instrument"}:
            return []
        self.caps.begin(row.at_us)
        self.caps.hear(row.command)
        known = [self.instruments[each] for each in instruments_of(row.command) if each in self.instruments]
        fills = list(chain.from_iterable(self._keep_time(instrument, row) for instrument in known))
        if row.answer.accepted:
            try:
                fills += self._do(row)
            except Refusal as refusal:
                self.differences.append(f"journal {row.seq} was accepted, again it is refused: {refusal}")
                return []
        return [self._traded(row.shard, fill) for fill in fills]

    def state_hash(self, rows: Iterable[Row]) -> int:
        """The state hash after a batch of these entries, as its link has it."""
        about = {each for row in rows for each in instruments_of(row.command)} & self.instruments.keys()
        return signed(sum(self.instruments[each].state_hash for each in about) % 2**64)

    def open_orders(self) -> list[tuple[int, int, int, int, int, int]]:
        return sorted(
            (order.id, instrument.id, order.price, order.quantity, order.open, order.priority)
            for instrument in self.instruments.values()
            for order in instrument.book.all_orders()
        )

    # Doing it again

    def _keep_time(self, instrument: Instrument, row: Row) -> Iterator[Fill]:
        if sessions.stops(row.command) or isinstance(row.command, ResolveLegs):
            return  # a halt comes before what the clock owes, and what was promised is kept from the books as they are
        if sessions.pause_is_over(instrument, row.at_us):
            yield from self._uncross(instrument, row)
            instrument.stand(Standing("open"))
        if instrument.book.is_due(row.at_us):
            moved = instrument.book.advance(row.at_us, priority=row.seq)
            yield from self._follow(instrument, row, moved.fills, moved.effects)

    def _do(self, row: Row) -> Iterator[Fill]:
        instrument = self.instruments[row.command.instrument_id]
        match command := row.command:
            case PlaceOrder():
                yield from self._place(instrument, row, command, row.seq)
            case PlaceBasket() | ResolveLegs():
                yield from self._place_legs(row, command)
            case PlaceTogether():
                yield from self._place_together(instrument, row, command)
            case AmendOrder() | RenewOrder():
                yield from self._change(instrument, row, command)
            case CancelOrder() | CancelAll() | EnactRules():
                for order_id in self._ending(instrument, command):
                    if order_id in instrument.book:  # one that was linked to another of them is gone already
                        yield from self._cancel(instrument, row, order_id)
            case SetState():
                yield from self._set_state(instrument, row, command)
            case ExpireOrders() if sessions.is_letting_go(instrument):
                yield from self._let_go(instrument, row)

    def _change(self, instrument: Instrument, row: Row, command: AmendOrder | RenewOrder) -> Iterator[Fill]:
        if isinstance(command, RenewOrder):
            instrument.book.renew(command.order_id, command.expires_at_us)
            return
        price, quantity = command.price_minor, command.quantity
        amended = instrument.book.amend(command.order_id, price=price, quantity=quantity, priority=row.seq)
        yield from self._follow(instrument, row, amended.fills, amended.effects, amended.order)

    def _ending(self, instrument: Instrument, command: CancelOrder | CancelAll | EnactRules) -> list[int]:
        """The orders that a command ends, in the order in which it ends them."""
        match command:
            case CancelOrder():
                return [command.order_id]
            case EnactRules():
                return [order.id for order in enact(self.caps, command, instrument)]
            case CancelAll(owner_id=owner_id, side=side):
                wanted = None if side is None else SIDES[side]
                return sorted(
                    order.id
                    for order in instrument.book.all_orders()
                    if order.party_id == owner_id and (wanted is None or order.side is wanted)
                )

    def _place(
        self, instrument: Instrument, row: Row, command: PlaceOrder, order_id: int, linked_to: int | None = None
    ) -> Iterator[Fill]:
        order = record_of(command, order_id, row.at_us, instrument, linked_to=linked_to)
        order.priority = row.seq
        placed = instrument.book.place(order)
        yield from self._follow(instrument, row, placed.fills, placed.effects, order)

    def _place_together(self, instrument: Instrument, row: Row, command: PlaceTogether) -> Iterator[Fill]:
        if command.linked:
            yield from self._place_linked(instrument, row, command)
            return
        for order, number in zip(command.orders, count(row.seq, NUMBERS), strict=False):
            yield from self._place(self.instruments[order.instrument_id], row, order, number)

    def _place_linked(self, instrument: Instrument, row: Row, command: PlaceTogether) -> Iterator[Fill]:
        stop, limit = linked_pair(command, instrument)
        limit_id = row.seq + NUMBERS
        yield from self._place(instrument, row, stop, row.seq, linked_to=limit_id)
        yield from self._place(instrument, row, limit, limit_id, linked_to=row.seq)

    def _place_legs(self, row: Row, command: PlaceBasket | ResolveLegs) -> Iterator[Fill]:
        if isinstance(command, ResolveLegs):
            self.caps.begin(command.at_us)
        legs = legs_to_place(command, row.answer)
        numbers = numbers_of(legs, row.seq, NUMBERS)
        for record, placed in place_legs(legs, numbers, self.instruments, row.seq, row.at_us):
            yield from self._follow(self.instruments[record.instrument_id], row, placed.fills, placed.effects, record)

    def _cancel(self, instrument: Instrument, row: Row, order_id: int) -> Iterator[Fill]:
        cancelled = instrument.book.remove(order_id, priority=row.seq)
        yield from self._follow(instrument, row, cancelled.fills, cancelled.effects, cancelled.order)

    def _set_state(self, instrument: Instrument, row: Row, command: SetState) -> Iterator[Fill]:
        standing, has_auction = sessions.step(instrument, command, row.at_us)
        if has_auction:
            yield from self._uncross(instrument, row)
        instrument.stand(standing)
        if standing.state == "closed":
            yield from self._let_go(instrument, row)

    def _let_go(self, instrument: Instrument, row: Row) -> Iterator[Fill]:
        for order in sessions.leftovers(instrument):
            if order.id in instrument.book:
                yield from self._cancel(instrument, row, order.id)

    def _uncross(self, instrument: Instrument, row: Row) -> Sequence[Fill]:
        auction = instrument.book.uncross(priority=row.seq)
        return self._follow(instrument, row, auction.fills, auction.effects)

    def _follow(
        self, instrument: Instrument, row: Row, fills: Sequence[Fill], effects: Sequence[Effect], *own: Order
    ) -> Sequence[Fill]:
        if any(isinstance(effect, Breached) for effect in effects):
            instrument.stand(sessions.paused(row.at_us))
        self._mark(instrument, chain(own, _touched(fills, effects)))
        return self.caps.follow(instrument, fills)

    def _mark(self, instrument: Instrument, orders: Iterable[Order]) -> None:
        for order in orders:
            former = self._marks.pop(order.id, 0)
            now = mark(order) if order.id in instrument.book else 0
            if now:
                self._marks[order.id] = now
            instrument.state_hash += now - former

    def _traded(self, shard: int, fill: Fill) -> Traded:
        self.trades += 1
        self._last_trade[shard] = number = self._last_trade.get(shard, shard) + NUMBERS
        buy, sell = (fill.taker, fill.maker) if fill.taker.side is Side.BUY else (fill.maker, fill.taker)
        return Traded(number, buy.instrument_id, fill.price, fill.quantity, buy.id, sell.id)  # type: ignore[attr-defined]


def _touched(fills: Iterable[Fill], effects: Iterable[Effect]) -> Iterator[Order]:
    for fill in fills:
        yield fill.maker
        yield fill.taker
    for effect in effects:
        if not isinstance(effect, Breached):
            yield effect.order


async def differences(connection: asyncpg.Connection) -> list[str]:
    """Where trades, open orders and state hashes differ from what the journal makes; the caller holds the snapshot."""
    return (await replayed(connection)).differences[:MOST_DIFFERENCES]


async def replayed(connection: asyncpg.Connection) -> Replay:
    """Do the whole journal again, and compare with the tables as it goes."""
    replay = Replay({each.id: each for each in await instruments(connection, at_listing=True)})
    shards = [row[0] for row in await connection.fetch(_SHARDS)]
    stories = [[row async for row in _entries(connection, shard)] for shard in shards] if len(shards) > 1 else None
    story = _one_after_the_other(stories) if stories is not None else _entries(connection, *shards[:1])
    stored = {shard: _stored_trades(connection, shard) for shard in shards}
    links = {shard: _links(connection, shard) for shard in shards}
    batch: dict[int, list[Row]] = {shard: [] for shard in shards}
    current = {shard: await anext(links[shard], None) for shard in shards}
    async for row in story:
        for trade in replay.take(row):
            if (kept := await anext(stored[row.shard], None)) != trade:
                replay.differences.append(f"journal {row.seq} makes {trade}, the table has {kept}")
                return replay
        batch[row.shard].append(row)
        link = current[row.shard]
        if link is not None and row.seq >= link[1]:
            if link[2] is not None and link[2] != replay.state_hash(batch[row.shard]):
                replay.differences.append(f"after journal {row.seq} the books are other than the engine's were")
            batch[row.shard], current[row.shard] = [], await anext(links[row.shard], None)
    for trades in stored.values():
        replay.differences += [f"{extra} is in the table, the journal does not make it" async for extra in trades]
    await _compare_open_orders(connection, replay)
    return replay


async def _compare_open_orders(connection: asyncpg.Connection, replay: Replay) -> None:
    kept = {tuple(row) for row in await connection.fetch(_OPEN)}
    again = set(replay.open_orders())
    replay.differences += [f"order {row[0]} rests in the table as {row}, not again" for row in sorted(kept - again)]
    replay.differences += [f"order {row[0]} rests again as {row}, not in the table" for row in sorted(again - kept)]


async def _entries(connection: asyncpg.Connection, *shards: int) -> AsyncIterator[Row]:
    for shard in shards:
        async for at, seq, number, command, answer in connection.cursor(_JOURNAL, shard, prefetch=AT_ONCE):
            yield Row(microseconds(at), seq, number, decode_command.decode(command), decode_answer(answer))


async def _one_after_the_other(stories: Iterable[list[Row]]) -> AsyncIterator[Row]:
    """Shards share no orders, but an instrument may have moved from one to another: by time its story is one."""
    for row in heapq.merge(*stories, key=lambda row: row[:3]):
        yield row


async def _stored_trades(connection: asyncpg.Connection, shard: int) -> AsyncIterator[Traded]:
    async for row in connection.cursor(_TRADES, shard, prefetch=AT_ONCE):
        yield Traded(*row)


async def _links(connection: asyncpg.Connection, shard: int) -> AsyncIterator[Any]:
    async for row in connection.cursor(_LINKS, f"engine-{shard}", prefetch=AT_ONCE):
        yield row


def main(settings: Settings) -> int:
    """Replay the journal of the live database and say how it compares; gives 1 when anything differs, else 0."""
    replay = asyncio.run(_replay(settings.database_dsn))
    resting = sum(len(instrument.book) for instrument in replay.instruments.values())
    click.echo(f"{replay.commands} commands, {replay.trades} trades, {resting} open orders made again")
    for difference in replay.differences[:MOST_DIFFERENCES]:
        click.echo(f"DIFFERS {difference}")
    click.echo("The tables differ." if replay.differences else "The tables say the same.")
    return 1 if replay.differences else 0


async def _replay(dsn: str) -> Replay:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await replayed(connection)
    finally:
        await connection.close()
