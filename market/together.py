"""Several orders in one request: all of them or none, each on its own, or a pair of which one ends the other."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from market.engine.commands import Answer, PlaceOrder, PlaceTogether, decode_answer
from market.gateway import journaled
from market.keys import check_key
from market.parties import Member
from market.refusals import BadInput, KeyReused, NotAllowed, OutcomeUnknown, Refusal
from market.step_up import StepUpNeeded
from market.trading import Counter, OrderRequest, Wanted, hash_of, let_go, same_body, secure, send
from market.venue import Venue

MOST_ORDERS = 500
AT_ONCE = 50
"""Commands of one request that are on their way to the engine at the same time."""

_JOURNALED = text("select key, body_hash, answer from journal where party_id = :party and key = any(:keys)")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one order of several: how it was answered, or why it was refused."""

    answer: Answer | None = None
    refusal: Refusal | None = None


class PairRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Two orders of which one ends the other: one that waits in the book, and a stop. Prices are minor units per lot.

    ``stop_price_minor`` makes the stop a stop-limit order; without it the stop takes what is there.
    """

    symbol: str
    side: Literal["buy", "sell"]
    lots: int
    price_minor: int
    stop_minor: int
    stop_price_minor: int | None = None
    time_in_force: Literal["gtc", "gtd", "day"] = "gtc"
    expires_at: datetime | None = None
    line_id: int | None = None

    def orders(self) -> tuple[OrderRequest, OrderRequest]:
        """The one that waits in the book, and the stop."""
        waits = OrderRequest(
            symbol=self.symbol,
            side=self.side,
            lots=self.lots,
            price_minor=self.price_minor,
            time_in_force=self.time_in_force,
            expires_at=self.expires_at,
            line_id=self.line_id,
        )
        stop = msgspec.structs.replace(waits, price_minor=self.stop_price_minor, stop_minor=self.stop_minor)
        if stop.is_market:
            stop = msgspec.structs.replace(stop, time_in_force="gtc", expires_at=None)
        return waits, stop


async def place_all_or_none(venue: Venue, member: Member, requests: Sequence[OrderRequest], key: str) -> Answer:
    """Place all the orders at one moment, or none of them; one engine must match them all.

    Raises:
        NotAllowed: an order was refused, and the words say which; nothing was changed.
        KeyReused: the key was used for another request.
        OutcomeUnknown: ask again with the same key.
    """
    check_key(key)
    _check_count(requests)
    body_hash = hash_of(requests)
    async with venue.sessions() as session:
        if (answered := await journaled(session, member.party_id, key)) is not None:
            return same_body(answered, body_hash)
        counter, wanted = Counter(session, member, venue.settings), list[Wanted]()
        for number, request in enumerate(requests):
            try:
                wanted.append(await _take(counter, request, f"{key}/{number + 1}", body_hash))
            except Refusal as refusal:
                raise _numbered(refusal, number, len(requests)) from refusal

    commands = await _secure_all(venue, member, wanted)
    together = PlaceTogether(member.party_id, key, body_hash, commands[0].instrument_id, tuple(commands))
    return await send(venue, together, commands)


async def place_each(venue: Venue, member: Member, requests: Sequence[OrderRequest], key: str) -> list[Result]:
    """Place the orders in no certain order, each on its own: one that is refused leaves the others as they are.

    Each has a key of its own, so asking again finishes what was interrupted and repeats nothing.

    Raises:
        KeyReused: the key was used for another request.
    """
    check_key(key)
    _check_count(requests)
    keys = [f"{key}/{number}" for number in range(1, len(requests) + 1)]
    async with venue.sessions() as session:
        done = await _done(session, member, keys)
        counter, taken = Counter(session, member, venue.settings), list[Wanted | Result]()
        for name, request in zip(keys, requests, strict=True):
            taken.append(await _take_or_tell(counter, request, name, done))

    places, carrier = asyncio.Semaphore(AT_ONCE), asyncio.Lock()
    return await asyncio.gather(*(_place(venue, member, each, places, carrier) for each in taken))


async def place_pair(venue: Venue, member: Member, pair: PairRequest, key: str) -> Answer:
    """Place two orders of which one ends the other; what only one of them can need is set aside once.

    Raises:
        NotAllowed: one of them was refused, or they make no pair; nothing was changed.
        KeyReused: the key was used for another request.
        OutcomeUnknown: ask again with the same key.
    """
    check_key(key)
    body_hash = hash_of(pair)
    async with venue.sessions() as session:
        if (answered := await journaled(session, member.party_id, key)) is not None:
            return same_body(answered, body_hash)
        counter = Counter(session, member, venue.settings)
        waits, stop = [await counter.take(request, key, body_hash) for request in pair.orders()]

    first = (await secure(venue, member, waits)).command
    second = msgspec.structs.replace(
        stop.command, account_id=first.account_id, custody_id=first.custody_id, line_id=first.line_id, line=first.line
    )
    orders = (first, second)
    together = PlaceTogether(member.party_id, key, body_hash, first.instrument_id, orders, linked=True)
    return await send(venue, together, [first])


def _check_count(requests: Sequence[OrderRequest]) -> None:
    if not 1 <= len(requests) <= MOST_ORDERS:
        raise BadInput(f"Place 1 to {MOST_ORDERS} orders at once.", field="orders")


async def _take(counter: Counter, request: OrderRequest, key: str, body_hash: bytes) -> Wanted:
    if request.payment != "wallet":
        raise NotAllowed("Several orders at once are paid from the wallet.", code="card_pays_for_one", field="payment")
    return await counter.take(request, key, body_hash)


def _numbered(refusal: Refusal, number: int, count: int) -> Refusal:
    """The same refusal, saying which order it is about."""
    if isinstance(refusal, StepUpNeeded):
        return refusal
    field = f"orders[{number}]" + (f".{refusal.field}" if refusal.field else "")
    return type(refusal)(f"Order {number + 1} of {count}: {refusal.detail}", code=refusal.code, field=field)


async def _secure_all(venue: Venue, member: Member, wanted: Sequence[Wanted]) -> list[PlaceOrder]:
    """Set aside what each order needs, one after the other: what one sale leaves at the carrier decides on the next.

    An answer that is not known leaves the rest set aside, for the same key to go on with.
    """
    commands: list[PlaceOrder] = []
    for number, each in enumerate(wanted):
        try:
            commands.append((await secure(venue, member, each)).command)
        except OutcomeUnknown:
            raise
        except Refusal as refusal:
            await let_go(venue, commands)
            raise _numbered(refusal, number, len(wanted)) from refusal
    return commands


async def _take_or_tell(
    counter: Counter, request: OrderRequest, key: str, done: Mapping[str, tuple[bytes, Answer]]
) -> Wanted | Result:
    body_hash = hash_of(request)
    try:
        if key in done:
            return Result(same_body(done[key], body_hash))
        return await _take(counter, request, key, body_hash)
    except KeyReused:
        raise
    except Refusal as refusal:
        return Result(refusal=refusal)


async def _place(
    venue: Venue, member: Member, each: Wanted | Result, places: asyncio.Semaphore, carrier: asyncio.Lock
) -> Result:
    if isinstance(each, Result):
        return each
    try:
        async with carrier if each.needs_custody else places:  # one sale after the other, as in `_secure_all`
            command = (await secure(venue, member, each)).command
        async with places:
            return Result(await send(venue, command, [command]))
    except KeyReused:
        raise
    except Refusal as refusal:
        return Result(refusal=refusal)


async def _done(session: AsyncSession, member: Member, keys: Sequence[str]) -> dict[str, tuple[bytes, Answer]]:
    """What the journal has of the keys already."""
    rows = await session.execute(_JOURNALED, {"party": member.party_id, "keys": list(keys)})
    return {row.key: (row.body_hash, decode_answer(row.answer)) for row in rows}
