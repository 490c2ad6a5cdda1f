"""Market data: what everybody may see."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from litestar import Request, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from market import candles as kept_candles
from market import market_data, price_index, views
from market.parties import Member
from market.refusals import BadInput
from market.views import InstrumentView
from web import feed as feeds
from web.api import ids
from web.api.answers import Book, CandleBar, IndexDay, Instrument, Tape, Tick, Ticker
from web.api.documented import Cursor, Limit, Symbol, problems
from web.edge.cursors import Cursors
from web.edge.venue import Venue

Asking = Request[Member, Any, State]
Levels = Annotated[int, QueryParameter(ge=1, le=1_000, description="How many price levels of each side.")]
Width = Annotated[Literal["1m", "15m", "1h", "1d"], QueryParameter(description="The span of one candle.")]
Since = Annotated[
    datetime | None, QueryParameter(name="from", description="Candles that begin then or later; with its zone.")
]
Until = Annotated[datetime | None, QueryParameter(name="to", description="Candles that begin before that.")]
MostCandles = Annotated[int, QueryParameter(ge=1, le=kept_candles.MOST_CANDLES, description="How many at most.")]
CarrierCode = Annotated[str | None, QueryParameter(max_length=16, description="One carrier's code; without it, all.")]
FirstDay = Annotated[date | None, QueryParameter(name="from", description="The first day; without it, 30 days ago.")]
LastDay = Annotated[date | None, QueryParameter(name="to", description="The last day, included; without it, today.")]
LastEventId = Annotated[
    str,
    HeaderParameter(name="Last-Event-ID", required=False, description="The last event you have: go on from there."),
]

EVENT_STREAM = "text/event-stream"
INDEX_DAYS = 30


@get(
    "/instruments",
    tags=["market"],
    summary="What can be traded",
    operation_id="listInstruments",
    response_description="All instruments that trade.",
    responses=problems(),
)
async def instruments(venue: Venue) -> list[Instrument]:
    async with venue.reads() as session:
        found = await views.instruments(session, datetime.now(UTC))
    return [Instrument.of(view) for view in found]


@get(
    "/tickers",
    tags=["market"],
    summary="The last 24 hours of all instruments",
    operation_id="listTickers",
    response_description="All instruments that trade.",
    responses=problems(),
)
async def tickers(venue: Venue) -> list[Ticker]:
    async with venue.reads() as session:
        found = await views.instruments(session, datetime.now(UTC))
    return [Ticker.of(view) for view in found]


@get(
    "/instruments/{symbol:str}",
    tags=["market"],
    summary="One instrument",
    operation_id="getInstrument",
    response_description="The instrument.",
    responses=problems(404),
)
async def instrument(venue: Venue, symbol: Symbol) -> Instrument:
    return Instrument.of(await _instrument(venue, symbol))


@get(
    "/instruments/{symbol:str}/book",
    tags=["market"],
    summary="The order book",
    operation_id="getBook",
    response_description="The book.",
    responses=problems(404),
)
async def book(venue: Venue, symbol: Symbol, levels: Levels = 10) -> Book:
    view = await _instrument(venue, symbol)
    mirror = await market_data.find(venue.redis, venue.sessions, feeds.shard_of(venue, view), view.id)
    return Book.of(view.symbol, mirror.snapshot(levels))


@get(
    "/instruments/{symbol:str}/feed",
    tags=["market"],
    summary="The order book and the trades as they happen",
    operation_id="followBook",
    media_type=EVENT_STREAM,
    responses={200: ResponseSpec(str, description="Events `snapshot` and `delta`.", media_type=EVENT_STREAM)}
    | problems(404),
)
async def feed(request: Asking, venue: Venue, symbol: Symbol, last_event_id: LastEventId = "") -> Stream:
    """Follow an instrument: an event `snapshot` with the whole book, then events `delta`.

    A delta applies when its `prev` is not above the `seq` that you have; its levels are absolute, and 0 lots mean that
    a level is gone. Connect again with `Last-Event-ID` when a stream ends: it goes on, or begins with a snapshot.
    """
    view = await _instrument(venue, symbol)
    events = await feeds.opened(request.app.state, venue, view, last_event_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(events, media_type=EVENT_STREAM, headers=headers)


@get(
    "/instruments/{symbol:str}/trades",
    tags=["market"],
    summary="The last trades, newest first",
    operation_id="listTicks",
    response_description="The trades.",
    responses=problems(404),
)
async def tape(request: Asking, venue: Venue, symbol: Symbol, cursor: Cursor = None, limit: Limit = 50) -> Tape:
    cursors: Cursors = request.app.state.cursors
    view = await _instrument(venue, symbol)
    purpose = f"tape {view.id}"
    async with venue.reads() as session:
        found = await views.tape(session, view.id, limit + 1, cursors.open(purpose, cursor))
    more = cursors.seal(purpose, found[limit - 1].id) if len(found) > limit else None
    items = [Tick(f"trd_{each.id}", each.price_minor, each.lots, each.taker_side, each.at) for each in found[:limit]]
    return Tape(items, more)


@get(
    "/instruments/{symbol:str}/candles",
    tags=["market"],
    summary="Prices over time, oldest first",
    operation_id="listCandles",
    response_description="The candles.",
    responses=problems(404),
)
async def candles(
    *,
    venue: Venue,
    symbol: Symbol,
    width: Width = "1h",
    since: Since = None,
    until: Until = None,
    limit: MostCandles = 100,
) -> list[CandleBar]:
    """The first candles of a span, without those in which nothing was traded; without `from`, the last ones.

    The candle that is going on is as of now.
    """
    _check_zones(since, until)
    view = await _instrument(venue, symbol)
    ends = until or datetime.now(UTC)
    async with venue.reads() as session:
        if since is None:
            found = await kept_candles.latest(session, view.id, width, limit, ends)
        else:
            found = await kept_candles.between(session, view.id, width, since=since, until=ends, limit=limit)
    return [
        CandleBar(
            each.at,
            each.open_minor,
            each.high_minor,
            each.low_minor,
            each.close_minor,
            each.lots,
            each.turnover_minor,
            each.trades,
        )
        for each in found
    ]


@get(
    "/index",
    tags=["market"],
    summary="What 1 GB cost on each day, by carrier",
    operation_id="listPriceIndex",
    response_description="The days, newest first.",
    responses=problems(),
)
async def index(
    venue: Venue, carrier: CarrierCode = None, first: FirstDay = None, last: LastDay = None
) -> list[IndexDay]:
    today = datetime.now(venue.settings.timezone).date()
    last_day = last or today
    async with venue.reads() as session:
        found = await price_index.read(session, carrier, first or last_day - timedelta(days=INDEX_DAYS), last_day)
    return [
        IndexDay(
            carrier=each.carrier,
            day=each.day,
            currency=each.currency,
            median_minor=each.median_minor,
            average_minor=each.average_minor,
            volume_mb=each.volume_mb,
            trades=each.trades,
            dropped_trades=each.dropped_trades,
        )
        for each in found
    ]


async def _instrument(venue: Venue, symbol: str) -> InstrumentView:
    async with venue.reads() as session:
        return await views.instrument(session, ids.symbol(symbol), datetime.now(UTC))


def _check_zones(*moments: datetime | None) -> None:
    """Refuse a time that does not say where.

    Raises:
        BadInput: a time has no zone.
    """
    if any(at is not None and at.tzinfo is None for at in moments):
        raise BadInput("Times need their zone, such as 2026-11-10T12:00:00+08:00.", field="from")


routes = [instruments, tickers, instrument, book, feed, tape, candles, index]
