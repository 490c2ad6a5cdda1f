"""Baskets and swaps: several instruments in one order under one limit, also when different engines match them.

All in one shard is one command of its engine. All or nothing across shards is decided by one
row: each shard in ascending order promises its legs and stops, then the row is changed from
deciding to committed, if nobody has changed it before; every shard does what the row says.
An engine that waits longer than the deadline changes it to aborted. So whoever dies, the row
has one answer, and no shard acts on another. A best effort needs no promises: each shard gets
a share of the limit, and what is left of it is shared out once more.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from market.basket_tables import BasketRow
from market.engine.baskets import MOST_LEGS, Offer, over_limit, resolution_key, share
from market.engine.commands import Answer, Filled, PlaceBasket, PlaceOrder, PrepareLegs, ResolveLegs
from market.gateway import Gateway, journaled
from market.instruments import tradable
from market.keys import check_key, reused
from market.parties import Member
from market.refusals import BadInput, NotAllowed, NotFound, OutcomeUnknown
from market.trading import Counter, OrderRequest, hash_of, let_go, secure
from market.venue import Venue
from settlement.accounts import HOUSE
from settlement.failpoints import failpoint

DEADLINE_SECONDS = 2.0
"""How long shards wait for the decision on what they have promised, at the most."""
LARGEST_LIMIT = 10**15
MOST_ROUNDS = 3
"""How often what is left of the limit of a best effort is shared out among the shards."""
MOST_LEVELS = 500

Kind = Literal["basket", "swap"]
Side = Literal["buy", "sell"]
State = Literal["deciding", "committed", "aborted"]
Sessions = async_sessionmaker[AsyncSession]

_LOTS = text("select id, lot_units from instrument where id = any(:ids)")
_OFFERED = text("""
    select price_minor, sum(open)::bigint as lots from open_order
    where instrument_id = :instrument and side = 2 and price_minor <= :price
        and group_id <> :group and party_id <> :party and (
            traits is null or traits->'traits'->>'stop_price' is null or traits->'traits'->>'triggered' = 'true'
        )
    group by price_minor order by price_minor limit :most
""")
_COMMIT = text("""
    update basket set state = 'committed', decided_at = clock_timestamp() where id = :id and state = 'deciding'
""")
_ABORT = text("""
    update basket set state = 'aborted', reason = :code, detail = :detail, decided_at = clock_timestamp()
    where id = :id and state = 'deciding'
""")
_DEADLINE = text("select clock_timestamp() + make_interval(secs => :seconds)")
TOO_SLOW = "The markets of this basket did not all answer in time. Nothing was traded; try again."
NOTHING_LEFT = "Nothing more was offered within the limit of the basket."


class BasketLeg(msgspec.Struct, frozen=True, omit_defaults=True):
    """One instrument of a basket, at once. ``limit_price_minor`` is the worst price of a lot, when there is one."""

    symbol: str
    side: Side
    lots: int
    line_id: int | None = None
    limit_price_minor: int | None = None


class BasketRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a member asks for. ``limit_minor``: at most to pay for all, fees included; negative, at least to get."""

    kind: Kind
    legs: tuple[BasketLeg, ...]
    limit_minor: int
    all_or_none: bool = True


@dataclass(frozen=True, slots=True)
class LegResult:
    """What became of one leg; ``code`` and ``detail`` say why it is not all of it."""

    leg: BasketLeg
    filled: int = 0
    net_minor: int = 0
    """To pay; negative to get; fees included."""
    fills: tuple[Filled, ...] = ()
    order_ids: tuple[int, ...] = ()
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class BasketResult:
    """How a basket stands. ``code`` and ``detail`` say why nothing of it was done."""

    id: int
    kind: Kind
    state: State
    limit_minor: int
    all_or_none: bool
    net_minor: int
    legs: tuple[LegResult, ...]
    code: str | None = None
    detail: str | None = None


class Step(msgspec.Struct, frozen=True):
    """What one shard is asked to do for a basket: for the legs with these numbers."""

    shard: int
    numbers: tuple[int, ...]
    command: PlaceBasket | PrepareLegs


_steps = msgspec.json.Decoder(tuple[Step, ...])
_legs = msgspec.json.Decoder(tuple[BasketLeg, ...])
_placing = msgspec.json.Decoder(tuple[PlaceOrder, ...])


async def place(venue: Venue, member: Member, request: BasketRequest, key: str) -> BasketResult:
    """Trade all legs at once. The same key with the same request gives the same basket, however often it is asked.

    Raises:
        BadInput: the legs or the limit make no basket.
        NotAllowed: a rule of the market, the carrier or the ledger stands against it; nothing was traded.
        KeyReused: the key was used for another request.
        OutcomeUnknown: ask again with the same key.
    """
    check_key(key)
    _check(request)
    body_hash = hash_of(request)
    async with venue.sessions() as session:
        row = await _known(session, member, key, body_hash)
    if row is None:
        row = await _begin(venue, member, request, key, body_hash)
    failpoint("basket.written")

    await carry_out(venue.sessions, venue.gateway, row.id)

    async with venue.sessions() as session:
        result = await find(session, member, row.id)
    if result.state == "aborted":
        await let_go(venue, orders_of(row))
        raise NotAllowed(result.detail or TOO_SLOW, code=result.code, field="legs")
    return result


async def find(session: AsyncSession, member: Member, basket_id: int) -> BasketResult:
    """How a basket of the member stands: what the row decides, and what the journal says of its legs.

    Raises:
        NotFound: the member has no such basket.
    """
    row = await session.get(BasketRow, basket_id, populate_existing=True)
    if row is None or row.party_id != member.party_id:
        raise NotFound("There is no such basket.")
    asked = _legs.decode(msgspec.json.encode(row.legs))
    found: dict[int, list[Answer]] = {number: [] for number in range(len(asked))}
    for step in steps_of(row):
        answer = await _answer(session, row, step)
        if answer is not None and answer.accepted:
            for number, leg in zip(step.numbers, answer.orders, strict=False):
                found[number].append(leg)
    legs = tuple(_leg_result(leg, found[number], row.state) for number, leg in enumerate(asked))
    kind: Any = row.kind
    state: Any = row.state
    return BasketResult(
        row.id, kind, state, row.limit_minor, row.all_or_none, sum(leg.net_minor for leg in legs), legs, row.reason,
        row.detail or (TOO_SLOW if row.state == "aborted" else None),
    )  # fmt: skip


# Beginning.


def _check(request: BasketRequest) -> None:
    symbols = [leg.symbol for leg in request.legs]
    if not 1 <= len(symbols) <= MOST_LEGS or len(set(symbols)) < len(symbols):
        raise BadInput(f"A basket has 1 to {MOST_LEGS} legs, each in another market.", field="legs")
    if not -LARGEST_LIMIT <= request.limit_minor <= LARGEST_LIMIT:
        raise BadInput("This limit is out of range.", field="limit_minor")
    if any(leg.lots < 1 for leg in request.legs):
        raise BadInput("Each leg needs at least one lot.", field="legs")
    if not request.all_or_none and any(leg.side == "sell" for leg in request.legs):
        raise BadInput("An order that sells and buys is all or nothing.", field="all_or_none")
    if not request.all_or_none and request.limit_minor < 1:
        raise BadInput("Say how much the basket may cost.", field="limit_minor")


async def _known(session: AsyncSession, member: Member, key: str, body_hash: bytes) -> BasketRow | None:
    own = select(BasketRow).where(BasketRow.party_id == member.party_id, BasketRow.key == key)
    row: BasketRow | None = await session.scalar(own)
    if row is not None and row.body_hash != body_hash:
        raise reused()
    if row is None and await journaled(session, member.party_id, key) is not None:
        raise reused()
    return row


async def _begin(venue: Venue, member: Member, request: BasketRequest, key: str, body_hash: bytes) -> BasketRow:
    """Secure what the legs sell, then write down what will be asked of the shards before asking."""
    orders = await _secured(venue, member, request, key, body_hash)
    async with venue.sessions() as session:
        row = await open_basket(session, venue.gateway, member, request, orders, key, body_hash)
        if row is not None:
            return row
        row = await _known(session, member, key, body_hash)  # somebody asked the same at the same time
        assert row is not None
        return row


async def _secured(
    venue: Venue, member: Member, request: BasketRequest, key: str, body_hash: bytes
) -> list[PlaceOrder]:
    async with venue.sessions() as session:
        counter = Counter(session, member, venue.settings)
        taken = [
            await counter.take(_order(leg), f"{key}/{number}", body_hash) for number, leg in enumerate(request.legs)
        ]
        if len({(await tradable(session, leg.symbol)).money_id for leg in request.legs}) > 1:
            raise BadInput("All legs of a basket are in one currency.", field="legs")
    secured: list[PlaceOrder] = []
    try:
        for wanted in taken:
            secured.append((await secure(venue, member, wanted)).command)  # noqa: PERF401 - what is secured is let go
    except NotAllowed:
        await let_go(venue, secured)
        raise
    return secured


def _order(leg: BasketLeg) -> OrderRequest:
    return OrderRequest(
        symbol=leg.symbol,
        side=leg.side,
        lots=leg.lots,
        price_minor=leg.limit_price_minor,
        time_in_force="ioc",
        line_id=leg.line_id,
    )


async def open_basket(  # noqa: PLR0917 - said in the order in which it is asked
    session: AsyncSession,
    gateway: Gateway,
    member: Member,
    request: BasketRequest,
    orders: Sequence[PlaceOrder],
    key: str,
    body_hash: bytes,
) -> BasketRow | None:
    """Write a basket down with what its shards are asked to do, and commit; None when its key is taken."""
    places = await _places(session, gateway, orders)
    deadline = await session.scalar(_DEADLINE, {"seconds": DEADLINE_SECONDS})
    statement = (
        insert(BasketRow)
        .values(
            party_id=member.party_id, key=key, body_hash=body_hash, kind=request.kind, limit_minor=request.limit_minor,
            all_or_none=request.all_or_none, legs=msgspec.to_builtins(request.legs), orders=_stored(orders),
            commands=[], state="deciding", deadline=deadline,
        )
        .on_conflict_do_nothing()
        .returning(BasketRow)
    )  # fmt: skip
    row: BasketRow | None = await session.scalar(statement)
    if row is None:
        await session.rollback()
        return None
    by_shard: dict[int, list[int]] = {}
    for number, order in enumerate(orders):
        by_shard.setdefault(places[order.instrument_id].shard, []).append(number)
    steps: list[Step] = []
    if len(by_shard) == 1:
        ((shard, numbers),) = by_shard.items()
        legs = tuple(orders)
        command = PlaceBasket(
            member.party_id, key, body_hash, legs[0].instrument_id, legs, request.limit_minor, request.all_or_none
        )
        steps = [Step(shard, tuple(numbers), command)]
    elif request.all_or_none:
        for shard in sorted(by_shard):
            legs = tuple(orders[number] for number in by_shard[shard])
            own_key = f"{key}/shard/{shard}" if steps else key
            prepare = PrepareLegs(member.party_id, own_key, body_hash, legs[0].instrument_id, row.id, legs)
            steps.append(Step(shard, tuple(by_shard[shard]), prepare))
    else:
        steps = await _round(session, dict(enumerate(orders)), places, request.limit_minor, key, 0)
        if not steps:
            row.state, row.reason, row.detail = "aborted", "not_offered", NOTHING_LEFT
    row.commands = _stored(steps)
    await session.commit()
    return row


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an instrument is matched, and how much is in a lot."""

    shard: int
    lot_units: int


async def _places(session: AsyncSession, gateway: Gateway, orders: Sequence[PlaceOrder]) -> dict[int, _Place]:
    ids = [order.instrument_id for order in orders]
    rows = (await session.execute(_LOTS, {"ids": ids})).all()
    return {row.id: _Place(await gateway.shard_of(row.id), row.lot_units) for row in rows}


async def _round(  # noqa: PLR0917 - a round is what is left of everything
    session: AsyncSession,
    orders: Mapping[int, PlaceOrder],
    places: Mapping[int, _Place],
    budget_minor: int,
    key: str,
    number: int,
) -> list[Step]:
    """Share a budget out among the shards by what their books show; what is true is for each shard to say."""
    offers = [
        await _offer(session, order, places[order.instrument_id].lot_units) for _, order in sorted(orders.items())
    ]
    lots, cost = share(offers, budget_minor)
    by_shard: dict[int, list[tuple[int, PlaceOrder, int]]] = {}
    for (at, order), bought, minor in zip(sorted(orders.items()), lots, cost, strict=True):
        if bought:
            leg = msgspec.structs.replace(order, quantity=bought)
            by_shard.setdefault(places[order.instrument_id].shard, []).append((at, leg, minor))
    steps: list[Step] = []
    for shard in sorted(by_shard):
        legs = tuple(leg for _, leg, _ in by_shard[shard])
        command = PlaceBasket(
            legs[0].party_id,
            key if not number and not steps else f"{key}/shard/{shard}/{number}",
            legs[0].body_hash,
            legs[0].instrument_id,
            legs,
            sum(minor for _, _, minor in by_shard[shard]),
            all_or_none=False,
        )
        steps.append(Step(shard, tuple(at for at, _, _ in by_shard[shard]), command))
    return steps


async def _offer(session: AsyncSession, order: PlaceOrder, lot_units: int) -> Offer:
    """What a book shows for a leg, no more than it wants."""
    values = {"instrument": order.instrument_id, "price": order.price_minor, "group": order.group_id,
              "party": order.party_id, "most": MOST_LEVELS}  # fmt: skip
    levels, wanted = [], order.quantity
    for price, lots in await session.execute(_OFFERED, values):
        if not wanted:
            break
        levels.append((price, min(lots, wanted)))
        wanted -= levels[-1][1]
    return Offer(lot_units, levels)


# Carrying out.


async def carry_out(sessions: Sessions, gateway: Gateway, basket_id: int) -> None:
    """Bring a basket to its decision, and have its legs done; also one that somebody else began.

    Raises:
        OutcomeUnknown: a shard has not answered; ask again.
    """
    async with sessions() as session:
        row = await session.get_one(BasketRow, basket_id)
    steps = steps_of(row)
    if not steps:
        return
    if isinstance(steps[0].command, PrepareLegs):
        await _decide(sessions, gateway, row, steps)
        await _await_resolution(sessions, gateway, row, steps)
    elif row.state == "deciding":
        await _place(sessions, gateway, row, steps)


async def _decide(sessions: Sessions, gateway: Gateway, row: BasketRow, steps: Sequence[Step]) -> None:
    """Have each shard promise its legs, in ascending order so that none waits for one that waits; then decide."""
    if row.state != "deciding":
        return
    net_minor = 0
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            for step in steps:
                failpoint("basket.before_prepare")
                answer = await gateway.submit(step.command)
                if not answer.accepted:
                    await _abort(sessions, row.id, answer.code or "refused", _in_words(answer, step))
                    return
                net_minor += answer.net_minor
                failpoint(f"basket.prepared_{step.shard}")
    except (TimeoutError, OutcomeUnknown):
        await _abort(sessions, row.id, "too_slow", TOO_SLOW)
        return
    if net_minor > row.limit_minor:
        refusal = over_limit(net_minor, row.limit_minor)
        await _abort(sessions, row.id, refusal.code, refusal.detail)
        return
    failpoint("basket.before_commit")
    async with sessions() as session:
        await session.execute(_COMMIT, {"id": row.id})
        await session.commit()
    failpoint("basket.after_commit")


def _in_words(answer: Answer, step: Step) -> str:
    """A refusal in the words of the whole basket: a shard counts only its own legs."""
    detail = answer.detail or "This was refused."
    head, colon, rest = detail.partition(": ")
    if colon and head.startswith("Leg "):
        own = int(head.split()[1]) - 1
        return f"Leg {step.numbers[own] + 1}: {rest}"
    return detail


async def _abort(sessions: Sessions, basket_id: int, code: str, detail: str) -> None:
    async with sessions() as session:
        await session.execute(_ABORT, {"id": basket_id, "code": code, "detail": detail})
        await session.commit()


async def _await_resolution(sessions: Sessions, gateway: Gateway, row: BasketRow, steps: Sequence[Step]) -> None:
    """Wait until every shard has done what was decided. Its engine asks itself to: this only hears the answer."""
    async with sessions() as session:
        state = await session.scalar(select(BasketRow.state).where(BasketRow.id == row.id))
    if state != "committed":
        return  # what was promised is given back by each engine; nothing of it is to be told
    resolved = [
        ResolveLegs(
            party_id=HOUSE,
            key=resolution_key(row.id, step.shard),
            body_hash=b"",
            instrument_id=step.command.instrument_id,
            basket_id=row.id,
            committed=True,
            legs=(),
        )
        for step in steps
    ]
    await asyncio.gather(*(gateway.submit(command) for command in resolved))


async def _place(sessions: Sessions, gateway: Gateway, row: BasketRow, steps: Sequence[Step]) -> None:
    """Have each shard do its part; of a best effort what is left of the limit is shared out again."""
    answers = await _answers(gateway, steps)
    if len(steps[0].numbers) == len(row.legs):  # one shard has them all, and has done all that can be done
        (answer,) = answers
        if not answer.accepted:
            await _abort(sessions, row.id, answer.code or "refused", answer.detail or "This was refused.")
            return
    else:
        for number in range(1, MOST_ROUNDS):
            failpoint("basket.before_round")
            more = await _share_rest(sessions, gateway, row.id, steps, answers, number)
            if not more:
                break
            steps, answers = [*steps, *more], [*answers, *await _answers(gateway, more)]
    async with sessions() as session:
        await session.execute(_COMMIT, {"id": row.id})
        await session.commit()


async def _answers(gateway: Gateway, steps: Sequence[Step]) -> list[Answer]:
    return list(await asyncio.gather(*(gateway.submit(step.command) for step in steps)))


async def _share_rest(  # noqa: PLR0917 - a round is what is left of everything
    sessions: Sessions, gateway: Gateway, basket_id: int, steps: Sequence[Step], answers: Sequence[Answer], number: int
) -> Sequence[Step]:
    """Write down the next round before it is asked for; one that is written already is taken as it is."""
    async with sessions() as session:
        row = await session.get_one(BasketRow, basket_id, with_for_update=True)
        written = steps_of(row)
        if len(written) > len(steps):
            return written[len(steps) :]
        left, budget_minor = dict(enumerate(orders_of(row))), row.limit_minor
        for step, answer in zip(steps, answers, strict=True):
            budget_minor -= answer.net_minor
            for at, leg in zip(step.numbers, answer.orders, strict=False):
                if at not in left:
                    continue
                if not leg.filled or leg.filled == left[at].quantity:
                    del left[at]
                else:
                    left[at] = msgspec.structs.replace(left[at], quantity=left[at].quantity - leg.filled)
        places = await _places(session, gateway, list(left.values()))
        more = await _round(session, left, places, budget_minor, row.key, number)
        row.commands = _stored([*steps, *more])
        await session.commit()
        return more


def steps_of(row: BasketRow) -> tuple[Step, ...]:
    """What a basket's shards were asked to do, in this order."""
    return _steps.decode(msgspec.json.encode(row.commands))


def _stored(steps: Sequence[Step | PlaceOrder]) -> list[dict[str, object]]:
    stored: list[dict[str, object]] = msgspec.json.decode(msgspec.json.encode(steps))
    return stored


def orders_of(row: BasketRow) -> tuple[PlaceOrder, ...]:
    """The orders that a basket's legs ask for, in their order."""
    return _placing.decode(msgspec.json.encode(row.orders))


# Telling.


async def _answer(session: AsyncSession, row: BasketRow, step: Step) -> Answer | None:
    """What the journal says of a step: of legs that were promised, what became of them."""
    party_id, key = row.party_id, step.command.key
    if isinstance(step.command, PrepareLegs):
        if row.state != "committed":
            return None
        party_id, key = HOUSE, resolution_key(row.id, step.shard)
    found = await journaled(session, party_id, key)
    return None if found is None else found[1]


def _leg_result(leg: BasketLeg, answers: Sequence[Answer], state: str) -> LegResult:
    filled = sum(answer.filled for answer in answers)
    code: str | None = None
    detail: str | None = None
    if filled < leg.lots and state == "committed":
        code, detail = "not_offered", NOTHING_LEFT
        for answer in answers:
            if answer.code is not None:
                code, detail = answer.code, answer.detail
    return LegResult(
        leg,
        filled,
        sum(answer.net_minor for answer in answers),
        tuple(fill for answer in answers for fill in answer.fills),
        tuple(answer.order_id for answer in answers if answer.order_id is not None),
        code,
        detail,
    )
