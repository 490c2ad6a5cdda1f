"""Market data: what everybody may see."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from litestar import get
from litestar.params import QueryParameter

from market import views
from web.api import ids
from web.api.answers import Book, CandleBar, Instrument, Tick
from web.api.documented import Limit, Symbol, problems
from web.edge.venue import Venue

Levels = Annotated[int, QueryParameter(ge=1, le=50, description="How many price levels of each side.")]
Period = Annotated[Literal["1m", "15m", "1h", "1d"], QueryParameter(description="The span of one candle.")]


@get(
    "/instruments",
    tags=["market"],
    summary="What can be traded",
    operation_id="listInstruments",
    response_description="All instruments that trade.",
    responses=problems(),
)
async def instruments(venue: Venue) -> list[Instrument]:
    async with venue.sessions() as session:
        found = await views.instruments(session, datetime.now(UTC))
    return [Instrument.of(view) for view in found]


@get(
    "/instruments/{symbol:str}",
    tags=["market"],
    summary="One instrument",
    operation_id="getInstrument",
    response_description="The instrument.",
    responses=problems(404),
)
async def instrument(venue: Venue, symbol: Symbol) -> Instrument:
    async with venue.sessions() as session:
        return Instrument.of(await views.instrument(session, ids.symbol(symbol), datetime.now(UTC)))


@get(
    "/instruments/{symbol:str}/book",
    tags=["market"],
    summary="The order book",
    operation_id="getBook",
    response_description="The book.",
    responses=problems(404),
)
async def book(venue: Venue, symbol: Symbol, levels: Levels = 10) -> Book:
    async with venue.sessions() as session:
        view = await views.instrument(session, ids.symbol(symbol), datetime.now(UTC))
        return Book.of(view.symbol, await views.book(session, view.id, levels))


@get(
    "/instruments/{symbol:str}/trades",
    tags=["market"],
    summary="The last trades, newest first",
    operation_id="listTicks",
    response_description="The trades.",
    responses=problems(404),
)
async def tape(venue: Venue, symbol: Symbol, limit: Limit = 50) -> list[Tick]:
    async with venue.sessions() as session:
        view = await views.instrument(session, ids.symbol(symbol), datetime.now(UTC))
        found = await views.tape(session, view.id, limit)
    return [Tick(f"trd_{each.id}", each.price_minor, each.lots, each.taker_side, each.at) for each in found]


@get(
    "/instruments/{symbol:str}/candles",
    tags=["market"],
    summary="Prices over time, oldest first",
    operation_id="listCandles",
    response_description="The candles.",
    responses=problems(404),
)
async def candles(venue: Venue, symbol: Symbol, period: Period = "1h", limit: Limit = 100) -> list[CandleBar]:
    async with venue.sessions() as session:
        view = await views.instrument(session, ids.symbol(symbol), datetime.now(UTC))
        found = await views.candles(session, view.id, period, limit)
    return [
        CandleBar(each.at, each.open_minor, each.high_minor, each.low_minor, each.close_minor, each.lots)
        for each in found
    ]


routes = [instruments, instrument, book, tape, candles]
