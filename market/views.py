"""What pages and API show of the market: plain reads, one statement each, that cost the same however long the history.

Prices and amounts are minor units, prices per lot. A member's reads name the
member's own side only: nothing here tells who was on the other side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from market import candles as kept_candles
from market.candles import MOST_BEHIND, ORIGIN, Candle
from market.engine.times import moment
from market.engine.traits import Stored
from market.refusals import BadInput, NotFound
from market.resting import IS_SEEN, SEEN_LOTS
from matching.orders import Traits

_decode_traits = msgspec.json.Decoder(Stored).decode

ORDER_STATES = ("open", "filled", "cancelled")
SIDES = {"buy": 1, "sell": 2}
MOST_ROWS = 500
"""No read returns more, whatever it is asked for."""


@dataclass(frozen=True, slots=True)
class InstrumentView:
    """An instrument and its market: best prices, the last trade's, and what the last 24 hours brought.

    The 24 hours begin with a whole minute.
    """

    id: int
    symbol: str
    carrier: str | None
    scope: str | None
    app_scope: str | None
    kind: str
    lot_units: int
    tick_minor: int
    floor_minor: int
    ceiling_minor: int
    reference_minor: int
    maximum_lots: int
    fee_basis_points: int
    fee_minimum_minor: int
    currency: str
    opens_at: datetime
    closes_at: datetime
    expires_at: datetime | None
    state: str
    best_bid: int | None
    best_ask: int | None
    last_minor: int | None
    change_24h: int | None
    """Minor units per lot; none when nothing was ever traded."""
    volume_24h_lots: int
    high_24h_minor: int | None = None
    low_24h_minor: int | None = None
    turnover_24h_minor: int = 0
    call_ends_at: datetime | None = None
    """While orders are collected: when the auction is held at the earliest."""
    shard: int | None = None
    """The engine that serves it; none for the one that the rule names."""
    charges: str | None = None
    """What its carrier charges a seller now, where somebody has asked for it: `market.pricing.charge_minor`."""

    @property
    def volume_24h_mb(self) -> int | None:
        """None for coins."""
        return self.volume_24h_lots * self.lot_units if self.kind == "data" else None


class Level(NamedTuple):
    """All that rests at one price of a book."""

    price: int
    lots: int
    orders: int


@dataclass(frozen=True, slots=True)
class BookView:
    """The best levels of a book, best first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Print:
    """One trade as everybody may see it."""

    id: int
    price_minor: int
    lots: int
    taker_side: str
    """buy or sell; auction when nobody came to somebody who waited."""
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderView:
    """A member's own order as the engine last left it. Quantities are lots."""

    id: int
    instrument_id: int
    symbol: str
    kind: str
    carrier: str | None
    lot_units: int
    currency: str
    side: str
    price_minor: int
    quantity: int
    open: int
    filled: int
    time_in_force: str
    market: bool
    post_only: bool
    expires_at: datetime | None
    line_id: int | None
    payment_id: int | None
    state: str
    reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    self_trade: str = "cancel_newest"
    traits: Traits | None = None
    """What makes it more than a plain order, and how that stands; none for a plain one."""
    closes_at: datetime | None = None
    """When its market closes."""

    @property
    def shown(self) -> int | None:
        """Lots that everybody sees of an iceberg."""
        if self.traits is None or self.traits.display is None:
            return None
        return min(self.open, self.traits.shown or self.traits.display)

    @property
    def falls_at(self) -> datetime | None:
        """When the price next falls; none when it does not, or no more."""
        if self.traits is None or self.traits.decay is None or self.state != "open":
            return None
        next_us = self.traits.decay.next_step_us(self.price_minor)
        return None if next_us is None else moment(next_us)

    @property
    def falls_to(self) -> int:
        """The price after its next fall, in minor units per lot."""
        assert self.traits is not None
        assert self.traits.decay is not None
        return max(self.traits.decay.floor, self.price_minor - self.traits.decay.step)


@dataclass(frozen=True, slots=True)
class OwnInstrument:
    """An instrument in which a member has orders: open ones, or some of the last that ended."""

    symbol: str
    kind: str
    carrier: str | None
    has_open: bool


@dataclass(frozen=True, slots=True)
class TradeView:
    """A member's own side of a trade and how far its delivery has come."""

    id: int
    instrument_id: int
    symbol: str
    kind: str
    carrier: str | None
    lot_units: int
    currency: str
    side: str
    order_id: int
    price_minor: int
    lots: int
    amount_minor: int
    fee_minor: int
    """The seller's fee; a buyer pays none."""
    net_minor: int
    """What the seller receives, or the buyer pays."""
    at: datetime
    status: str
    """pending, delivered (moved at the carrier), settled (paid) or refunded."""
    delivered_at: datetime | None
    ended_at: datetime | None
    receiver_line_id: int | None
    """The buyer's line; none on the seller's side and for coins."""
    reference: str | None
    """The carrier's own number of the move."""
    payment_reference: str | None
    attempt: int
    """How often the move was asked for."""
    waiting: str | None
    """How the instruction stands: ready, claimed, unknown, done, refused or dead."""
    reason: str | None
    """Why it waits or was refunded."""
    charge_minor: int = 0
    """What of the seller's fee is the carrier's charge."""
    given_up_at: datetime | None = None
    """When the buyer said that they won't wait any longer."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An instruction that nobody will try again by itself: a person has to look."""

    id: int
    kind: str
    subject_id: int
    lane: str
    attempt: int
    external_reference: str | None
    reason: str | None
    created_at: datetime
    last_sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Watched:
    """An event for compliance."""

    id: int
    kind: str
    party_id: int
    symbol: str
    order_id: int | None
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """Trades of one carrier (none: coins) that are not at their end yet."""

    carrier: str | None
    status: str
    trades: int
    quantity: int
    """MB, or coins."""
    amount_minor: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class MoneyMove:
    """A top-up on its way into a wallet, or a withdrawal on its way out."""

    kind: str
    """top_up or payout."""
    id: int
    amount_minor: int
    currency: str
    status: str
    reason: str | None
    action_url: str | None
    """Where the member must still confirm with the bank."""
    at: datetime


@dataclass(frozen=True, slots=True)
class DataMove:
    """A redemption of coins, or a hand-out of a partner: data on its way to a line."""

    id: int
    carrier: str
    amount_mb: int
    status: str
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """A key of a partner without its secret."""

    id: int
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


# The last 24 hours are laid out with the widest candles that fit: minutes up to the next quarter, quarters up to the
# next hour, then hours; what the candles do not have yet is added from the trades. So the cost does not grow.
_INSTRUMENTS = f"""
with begins as (
    select date_trunc('minute', coalesce(cast(:now as timestamptz), now()) - interval '24 hours') as minute
), quarters as (
    select minute, date_bin(interval '15 minutes', minute + interval '14 minutes', {ORIGIN}) as quarter from begins
), span as (
    select minute, quarter, date_bin(interval '1 hour', quarter + interval '45 minutes', {ORIGIN}) as hour from quarters
)
select i.id, i.symbol, a.carrier, a.scope, a.app_scope, a.kind, i.lot_units, i.tick_minor,
       i.floor_minor, i.ceiling_minor, i.reference_minor, i.maximum_lots, i.fee_basis_points,
       i.fee_minimum_minor, i.currency, i.shard,
       i.opens_at, i.closes_at, a.expires_at, i.state, i.call_ends_at,
       (select price_minor from open_order o where o.instrument_id = i.id and o.side = 1 and {IS_SEEN}
        order by price_minor desc limit 1) as best_bid,
       (select price_minor from open_order o where o.instrument_id = i.id and o.side = 2 and {IS_SEEN}
        order by price_minor limit 1) as best_ask,
       coalesce(tail.last_minor, mark.last_minor) as last_minor,
       coalesce(tail.last_minor, mark.last_minor) - coalesce(
           tail.former_minor, former.close_minor, day.first_minor, tail.first_minor, mark.last_minor
       ) as change_24h,
       coalesce(day.lots, 0) + coalesce(tail.lots, 0) as volume_24h_lots,
       greatest(day.high_minor, tail.high_minor) as high_24h_minor,
       least(day.low_minor, tail.low_minor) as low_24h_minor,
       coalesce(day.turnover_minor, 0) + coalesce(tail.turnover_minor, 0) as turnover_24h_minor
from instrument i
join asset a on a.id = i.asset_id
cross join span
left join candle_mark mark on mark.instrument_id = i.id
left join lateral (
    select (array_agg(price_minor order by t.at desc, t.id desc))[1] as last_minor,
           (array_agg(price_minor order by t.at desc, t.id desc) filter (where t.at < span.minute))[1] as former_minor,
           (array_agg(price_minor order by t.at, t.id) filter (where t.at >= span.minute))[1] as first_minor,
           max(price_minor) filter (where t.at >= span.minute) as high_minor,
           min(price_minor) filter (where t.at >= span.minute) as low_minor,
           (sum(quantity) filter (where t.at >= span.minute))::bigint as lots,
           (sum(price_minor * quantity) filter (where t.at >= span.minute))::bigint as turnover_minor
    from (
        select at, id, price_minor, quantity from trade
        where instrument_id = i.id
          and (trade.at, trade.id) > (coalesce(mark.at, 'epoch'), coalesce(mark.trade_id, 0))
        order by trade.at, trade.id limit {MOST_BEHIND}
    ) t
) tail on true
left join lateral (
    select close_minor from candle c where c.instrument_id = i.id and c.width_minutes = 1 and c.at < span.minute
    order by c.at desc limit 1
) former on true
left join lateral (
    select (array_agg(open_minor order by c.at))[1] as first_minor, max(high_minor) as high_minor,
           min(low_minor) as low_minor, sum(lots)::bigint as lots, sum(turnover_minor)::bigint as turnover_minor
    from (
        select * from candle where instrument_id = i.id and width_minutes = 1
           and at >= span.minute and at < span.quarter
        union all
        select * from candle where instrument_id = i.id and width_minutes = 15
           and at >= span.quarter and at < span.hour
        union all
        select * from candle where instrument_id = i.id and width_minutes = 60 and at >= span.hour
    ) c
) day on true
where {{condition}}
order by a.kind desc, a.carrier, a.expires_at, i.symbol
"""  # noqa: S608 - the fragments are our own
_OPEN_INSTRUMENTS = text(
    _INSTRUMENTS.format(condition="i.state <> 'closed' and i.closes_at > cast(:now as timestamptz)")
)
_ONE_INSTRUMENT = text(_INSTRUMENTS.format(condition="i.symbol = :symbol"))


async def instruments(session: AsyncSession, now: datetime) -> list[InstrumentView]:
    """Every instrument that still trades: data by carrier and expiry, then coins."""
    return [InstrumentView(**row) for row in await _rows(session, _OPEN_INSTRUMENTS, now=now)]


async def instrument(session: AsyncSession, symbol: str, now: datetime | None = None) -> InstrumentView:
    """One instrument, closed ones too.

    Raises:
        NotFound: no instrument has the symbol.
    """
    rows = await _rows(session, _ONE_INSTRUMENT, symbol=symbol, now=now)
    if not rows:
        raise NotFound("There is no instrument of that name.")
    return InstrumentView(**rows[0])


_BOOK = text(
    f"""
(select side, price_minor, sum({SEEN_LOTS})::bigint as lots, count(*) as orders from open_order o
 where instrument_id = :instrument_id and side = 1 and {IS_SEEN}
 group by side, price_minor order by price_minor desc limit :levels)
union all
(select side, price_minor, sum({SEEN_LOTS})::bigint, count(*) from open_order o
 where instrument_id = :instrument_id and side = 2 and {IS_SEEN}
 group by side, price_minor order by price_minor limit :levels)
"""  # noqa: S608 - the fragments are our own
)


async def book(session: AsyncSession, instrument_id: int, levels: int) -> BookView:
    """The best levels of both sides, as many as asked for."""
    rows = await _rows(session, _BOOK, instrument_id=instrument_id, levels=_capped(levels))
    bids = sorted((_level(row) for row in rows if row["side"] == 1), reverse=True)
    asks = sorted(_level(row) for row in rows if row["side"] != 1)
    return BookView(tuple(bids), tuple(asks))


_TAPE = """
select id, price_minor, quantity as lots,
       case taker_side when 1 then 'buy' when 2 then 'sell' else 'auction' end as taker_side, at
from trade where instrument_id = :instrument_id {condition} order by at desc, id desc limit :limit
"""
_LAST_TRADES = text(_TAPE.format(condition=""))
_TRADES_BEFORE = text(_TAPE.format(condition="and (at, id) < (select at, id from trade where id = :before)"))


async def tape(session: AsyncSession, instrument_id: int, limit: int, before: int | None = None) -> list[Print]:
    """The last trades, newest first; ``before`` is the last id of the page before."""
    values = {"instrument_id": instrument_id, "limit": _capped(limit)}
    if before is None:
        rows = await _rows(session, _LAST_TRADES, **values)
    else:
        rows = await _rows(session, _TRADES_BEFORE, **values, before=before)
    return [Print(**row) for row in rows]


async def candles(
    session: AsyncSession, instrument_id: int, period: str, limit: int, now: datetime | None = None
) -> list[Candle]:
    """The candles of the last ``limit`` periods (``1m``, ``15m``, ``1h``, ``1d``), oldest first, without empty ones.

    Raises:
        BadInput: the period is none of those.
    """
    return await kept_candles.latest(session, instrument_id, period, limit, now or datetime.now(UTC))


_ORDERS = """
select o.id, o.instrument_id, i.symbol, a.kind, a.carrier, i.lot_units, i.currency,
       case o.side when 1 then 'buy' else 'sell' end as side,
       o.price_minor, o.quantity, o.open, o.filled, o.time_in_force, o.market, o.post_only, o.expires_at,
       o.line_id, o.payment_id, o.state, o.reason, o.version, o.created_at, o.updated_at,
       o.self_trade, cast(o.traits as text) as traits, i.closes_at
from orders o
join instrument i on i.id = o.instrument_id
join asset a on a.id = i.asset_id
where o.party_id = :party_id and {condition}
order by o.id desc limit :limit
"""
_FILTER = """o.id < :before and (cast(:side as smallint) is null or o.side = :side)
    and (cast(:symbol as text) is null or i.symbol = :symbol)"""
_ALL_ORDERS = text(_ORDERS.format(condition=_FILTER))
_ORDERS_IN_STATE = text(_ORDERS.format(condition=f"o.state = :state and {_FILTER}"))
_OPEN_ORDERS = text(_ORDERS.format(condition=f"o.state = 'open' and {_FILTER}"))
_ONE_ORDER = text(_ORDERS.format(condition="o.id = :order_id"))


async def orders(
    session: AsyncSession,
    party_id: int,
    state: str | None,
    before: int | None,
    limit: int,
    *,
    side: str | None = None,
    symbol: str | None = None,
) -> list[OrderView]:
    """A party's orders, newest first, of one state or of all; ``before`` is the last id of the page before.

    ``side`` (buy or sell) and ``symbol`` leave out all others.

    Raises:
        BadInput: the state is none that an order can be in.
    """
    if state not in {None, *ORDER_STATES}:
        raise BadInput(f"The state is one of {', '.join(ORDER_STATES)}.", field="state")
    values = {
        "party_id": party_id,
        "before": _before(before),
        "limit": _capped(limit),
        "side": SIDES.get(side or ""),
        "symbol": symbol,
    }
    if state is None:
        rows = await _rows(session, _ALL_ORDERS, **values)
    elif state == "open":
        rows = await _rows(session, _OPEN_ORDERS, **values)
    else:
        rows = await _rows(session, _ORDERS_IN_STATE, **values, state=state)
    return [_order(row) for row in rows]


async def order(session: AsyncSession, party_id: int, order_id: int) -> OrderView:
    """One order of the party.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    rows = await _rows(session, _ONE_ORDER, party_id=party_id, order_id=order_id, limit=1)
    if not rows:
        raise NotFound("You have no such order.")
    return _order(rows[0])


_OWN_INSTRUMENTS = text(
    """
select i.symbol, a.kind, a.carrier, own.has_open
from (
    select instrument_id, bool_or(has_open) as has_open
    from (
        select instrument_id, true as has_open from open_order where party_id = :party_id
        union all
        (select instrument_id, false from ended_order where party_id = :party_id order by id desc limit :limit)
    ) each group by instrument_id
) own
join instrument i on i.id = own.instrument_id
join asset a on a.id = i.asset_id
order by a.kind desc, a.carrier, a.expires_at, i.symbol
"""
)


async def own_instruments(session: AsyncSession, party_id: int) -> list[OwnInstrument]:
    """Where a party has open orders, and where its last orders were."""
    rows = await _rows(session, _OWN_INSTRUMENTS, party_id=party_id, limit=MOST_ROWS)
    return [OwnInstrument(**row) for row in rows]


def _order(row: RowMapping) -> OrderView:
    stored = row["traits"]
    return OrderView(**{**row, "traits": None if stored is None else _decode_traits(stored).traits})


# Each side walks its own index; a trade has the party on one side only, so nothing comes twice.
_TRADES = """
select t.id, t.instrument_id, i.symbol, a.kind, a.carrier, i.lot_units, i.currency,
       case when t.selling then 'sell' else 'buy' end as side,
       case when t.selling then t.sell_order_id else t.buy_order_id end as order_id,
       t.price_minor, t.quantity as lots, t.price_minor * t.quantity as amount_minor,
       case when t.selling then t.fee_minor else 0 end as fee_minor,
       t.price_minor * t.quantity - case when t.selling then t.fee_minor else 0 end as net_minor,
       t.at, coalesce(d.status, 'pending') as status, d.delivered_at, d.ended_at,
       case when not t.selling then d.receiver_line_id end as receiver_line_id,
       d.carrier_reference as reference, d.payment_reference,
       coalesce(s.attempt, 0) as attempt, s.status as waiting, coalesce(d.reason, s.reason) as reason,
       case when t.selling then coalesce(d.charge_minor, 0) else 0 end as charge_minor, d.given_up_at
from (
    (select t.*, true as selling from trade t {narrowed}
     where t.seller_id = :party_id and {selling} order by t.id desc limit :limit)
    union all
    (select t.*, false from trade t {narrowed}
     where t.buyer_id = :party_id and {buying} order by t.id desc limit :limit)
) t
join instrument i on i.id = t.instrument_id
join asset a on a.id = i.asset_id
left join delivery d on d.id = t.id
left join instruction s on s.kind = 'deliver' and s.subject_id = t.id
order by t.id desc limit :limit
"""
_NARROWED = """join instrument n on n.id = t.instrument_id left join delivery o on o.id = t.id"""
_WANTED = """t.id < :before and coalesce(cast(:side as text), '{0}') = '{0}'
    and (cast(:symbol as text) is null or n.symbol = :symbol)
    and (cast(:statuses as text[]) is null or coalesce(o.status, 'pending') = any(cast(:statuses as text[])))"""
_BEFORE = "t.id < :before"
_ALL_TRADES = text(_TRADES.format(narrowed="", selling=_BEFORE, buying=_BEFORE))
_SOME_TRADES = text(_TRADES.format(narrowed=_NARROWED, selling=_WANTED.format("sell"), buying=_WANTED.format("buy")))
_ONE_TRADE = text(_TRADES.format(narrowed="", selling="t.id = :trade_id", buying="t.id = :trade_id"))


async def trades(
    session: AsyncSession,
    party_id: int,
    before: int | None,
    limit: int,
    *,
    side: str | None = None,
    symbol: str | None = None,
    statuses: Sequence[str] | None = None,
) -> list[TradeView]:
    """A party's trades, newest first; ``before`` is the last id of the page before.

    ``side`` (buy or sell), ``symbol`` and the ``statuses`` of the delivery leave out all others.
    """
    values = {"party_id": party_id, "before": _before(before), "limit": _capped(limit)}
    if side is None and symbol is None and statuses is None:
        return [TradeView(**row) for row in await _rows(session, _ALL_TRADES, **values)]
    chosen = {"side": side, "symbol": symbol, "statuses": None if statuses is None else list(statuses)}
    return [TradeView(**row) for row in await _rows(session, _SOME_TRADES, **values, **chosen)]


_TRADED_INSTRUMENTS = text(
    """
select i.symbol, a.kind, a.carrier, false as has_open from instrument i join asset a on a.id = i.asset_id
where i.id in (
    (select instrument_id from trade where seller_id = :party_id order by id desc limit :limit)
    union
    (select instrument_id from trade where buyer_id = :party_id order by id desc limit :limit)
)
order by a.kind desc, a.carrier, a.expires_at, i.symbol
"""
)


async def traded_instruments(session: AsyncSession, party_id: int) -> list[OwnInstrument]:
    """Where a party's last trades were."""
    rows = await _rows(session, _TRADED_INSTRUMENTS, party_id=party_id, limit=MOST_ROWS)
    return [OwnInstrument(**row) for row in rows]


async def trade(session: AsyncSession, party_id: int, trade_id: int) -> TradeView:
    """One trade of the party.

    Raises:
        NotFound: there is none, or it is other people's.
    """
    rows = await _rows(session, _ONE_TRADE, party_id=party_id, trade_id=trade_id, limit=1)
    if not rows:
        raise NotFound("You have no such trade.")
    return TradeView(**rows[0])


_DEAD_LETTERS = text(
    """
select id, kind, subject_id, lane, attempt, external_reference, reason, created_at, last_sent_at
from instruction
where status = 'dead' and lane = coalesce(cast(:carrier as text), lane)
order by id desc limit :limit
"""
)


async def dead_letters(session: AsyncSession, carrier: str | None, limit: int = 200) -> list[DeadLetter]:
    """Instructions that were given up, newest first, of one carrier or of all."""
    return [DeadLetter(**row) for row in await _rows(session, _DEAD_LETTERS, carrier=carrier, limit=_capped(limit))]


_SURVEILLANCE = text(
    """
select e.id, e.kind, e.party_id, i.symbol, e.order_id, e.detail, e.at
from surveillance_event e
join instrument i on i.id = e.instrument_id
join asset a on a.id = i.asset_id
where e.at >= :since and (cast(:carrier as text) is null or a.carrier = cast(:carrier as text))
order by e.at desc, e.id desc limit :limit
"""
)


async def surveillance(session: AsyncSession, since: datetime, limit: int, carrier: str | None = None) -> list[Watched]:
    """What happened since then that compliance may want to look at, newest first."""
    rows = await _rows(session, _SURVEILLANCE, since=since, limit=_capped(limit), carrier=carrier)
    return [Watched(**row) for row in rows]


_BACKLOG = text(
    """
select carrier, status, count(*) as trades, sum(quantity)::bigint as quantity,
       sum(amount_minor)::bigint as amount_minor, min(created_at) as oldest_at
from delivery
where status in ('pending', 'delivered') and (cast(:carrier as text) is null or carrier = cast(:carrier as text))
group by carrier, status order by carrier, status desc
"""
)


async def backlog(session: AsyncSession, carrier: str | None) -> list[Backlog]:
    """Trades on their way, by carrier and by how far they have come."""
    return [Backlog(**row) for row in await _rows(session, _BACKLOG, carrier=carrier)]


_MONEY_MOVES = text(
    """
(select 'top_up' as kind, id, amount_minor, currency, status, reason, action_url, created_at as at
 from payment where party_id = :party_id and kind = 'top_up' order by id desc limit :limit)
union all
(select 'payout', id, amount_minor, currency, status, reason, null, created_at
 from payout where party_id = :party_id order by id desc limit :limit)
order by at desc limit :limit
"""
)
_REDEMPTIONS = text(
    """
select id, carrier, coins as amount_mb, status, reason, created_at as at
from redemption where party_id = :party_id order by id desc limit :limit
"""
)
_HANDOUTS = text(
    """
select id, carrier, amount_mb, status, reason, created_at as at
from handout where party_id = :party_id order by id desc limit :limit
"""
)
_API_KEYS = text(
    """
select id, name, prefix, created_at, last_used_at, revoked_at
from api_key where party_id = :party_id order by revoked_at is not null, id desc limit :limit
"""
)


async def money_moves(session: AsyncSession, party_id: int, limit: int) -> list[MoneyMove]:
    """A party's last top-ups and withdrawals, newest first."""
    return [MoneyMove(**row) for row in await _rows(session, _MONEY_MOVES, party_id=party_id, limit=_capped(limit))]


async def redemptions(session: AsyncSession, party_id: int, limit: int) -> list[DataMove]:
    """A party's last redemptions of coins, newest first; 1 coin is 1 MB."""
    return [DataMove(**row) for row in await _rows(session, _REDEMPTIONS, party_id=party_id, limit=_capped(limit))]


async def handouts(session: AsyncSession, party_id: int, limit: int) -> list[DataMove]:
    """A partner's last hand-outs, newest first."""
    return [DataMove(**row) for row in await _rows(session, _HANDOUTS, party_id=party_id, limit=_capped(limit))]


async def api_keys(session: AsyncSession, party_id: int, limit: int = 50) -> list[ApiKeyView]:
    """A party's keys, the usable ones first."""
    return [ApiKeyView(**row) for row in await _rows(session, _API_KEYS, party_id=party_id, limit=_capped(limit))]


async def _rows(session: AsyncSession, statement: TextClause, **values: Any) -> Sequence[RowMapping]:
    return (await session.execute(statement, values)).mappings().all()


def _level(row: RowMapping) -> Level:
    return Level(row["price_minor"], row["lots"], row["orders"])


def _capped(limit: int) -> int:
    return max(1, min(limit, MOST_ROWS))


def _before(before: int | None) -> int:
    return 2**63 - 1 if before is None else before
