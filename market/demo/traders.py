"""Demonstration traders: place real orders through the public API, so that books, tape and charts move."""

import asyncio
import contextlib
import json
import random
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from market import logs
from market.settings import Settings

log = structlog.get_logger()

PAUSE_SECONDS = 0.5
"""Between two orders of the whole crowd, once the books are filled."""
OPENING_ORDERS = 4
"""Of each side and instrument, before the pauses begin."""
MOST_OPEN = 14
"""Orders that a trader leaves in the books; then it cancels its oldest."""
STEPS_BETWEEN_LOOKS = 20
TAKING_SHARE = 0.25
SPREAD_PERCENT, REACH_PERCENT = 3, 15
MOST_LOTS, MOST_LOTS_TAKEN = 20, 4

Order = dict[str, Any]
Instrument = dict[str, Any]


@dataclass
class Trader:
    """One trader with its key and the orders it has open, oldest first."""

    client: httpx.AsyncClient
    carrier: str
    open_orders: list[str] = field(default_factory=list)

    async def place(self, order: Order) -> None:
        """Place an order; a refusal is the market's good right."""
        answer = await self.client.post("/orders", json=order, headers={"Idempotency-Key": f'"{uuid.uuid4().hex}"'})
        if answer.is_client_error or answer.is_server_error:
            log.info("order_refused", status=answer.status_code, code=answer.json().get("code"))
        elif (placed := answer.json()).get("state") == "open":
            self.open_orders.append(placed["order_id"])
        if len(self.open_orders) > MOST_OPEN:
            await self.client.delete(f"/orders/{self.open_orders.pop(0)}")


def main(settings: Settings, public_url: str) -> None:
    """Trade until told to stop."""
    logs.configure()
    asyncio.run(_trade(settings, public_url))


async def _trade(settings: Settings, public_url: str) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    keys = json.loads((settings.data_dir / "demo-traders.json").read_text(encoding="utf-8"))
    async with _crowd(keys, public_url) as crowd:
        trading = asyncio.create_task(_trade_on(crowd, random.Random()))
        await stopping.wait()
        trading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await trading


async def _trade_on(crowd: Sequence[Trader], draw: random.Random) -> None:
    """Fill the books once, then go on one order at a time; a market that can't be reached is tried again."""
    filled = False
    while True:
        try:
            instruments = await _look(crowd[0])
            if not filled and not any(one["best_ask_minor"] for one in instruments):
                await _fill_books(crowd, instruments, draw)
            filled = True
            for _ in range(STEPS_BETWEEN_LOOKS):
                instrument = draw.choice(instruments)
                trader = draw.choice(_fitting(crowd, instrument))
                side = draw.choice(("buy", "sell"))
                taking = draw.random() < TAKING_SHARE
                await trader.place(_taking(instrument, side, draw) if taking else _resting(instrument, side, draw))
                await asyncio.sleep(PAUSE_SECONDS)
        except (httpx.HTTPError, KeyError, ValueError) as error:
            log.info("market_not_reached", error=type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)


async def _look(trader: Trader) -> list[Instrument]:
    answer = await trader.client.get("/instruments")
    answer.raise_for_status()
    return [one for one in answer.json() if one["state"] == "open"]


async def _fill_books(crowd: Sequence[Trader], instruments: Sequence[Instrument], draw: random.Random) -> None:
    for instrument in instruments:
        fitting = _fitting(crowd, instrument)
        for side in ("sell", "buy"):
            orders = [_resting(instrument, side, draw) for _ in range(OPENING_ORDERS)]
            await asyncio.gather(*(draw.choice(fitting).place(order) for order in orders))


def _fitting(crowd: Sequence[Trader], instrument: Instrument) -> list[Trader]:
    return [trader for trader in crowd if instrument["carrier"] in {None, trader.carrier}]


def _resting(instrument: Instrument, side: str, draw: random.Random) -> Order:
    """An order some percent away from the middle, which itself wanders with the trades."""
    away = draw.randint(SPREAD_PERCENT, REACH_PERCENT) * (1 if side == "sell" else -1)
    price = _middle(instrument) * (100 + away) // 100
    return {
        "symbol": instrument["symbol"],
        "side": side,
        "lots": draw.randint(2, MOST_LOTS),
        "price_minor": _within(instrument, price),
    }


def _taking(instrument: Instrument, side: str, draw: random.Random) -> Order:
    """An immediate order at the market, or at least near to it."""
    away = REACH_PERCENT if side == "buy" else -REACH_PERCENT
    return {
        "symbol": instrument["symbol"],
        "side": side,
        "lots": draw.randint(1, MOST_LOTS_TAKEN),
        "price_minor": _within(instrument, _middle(instrument) * (100 + away) // 100),
        "time_in_force": "ioc",
    }


def _middle(instrument: Instrument) -> int:
    """Between the last price and the reference, so that it wanders without running away."""
    last = instrument["last_minor"] or instrument["reference_minor"]
    return int(3 * last + instrument["reference_minor"]) // 4


def _within(instrument: Instrument, price: int) -> int:
    tick = instrument["tick_minor"]
    return int(max(instrument["floor_minor"], min(instrument["ceiling_minor"], price)) // tick * tick)


@asynccontextmanager
async def _crowd(keys: Sequence[dict[str, str]], public_url: str) -> AsyncIterator[list[Trader]]:
    async with AsyncExitStack() as stack:
        crowd = []
        for one in keys:
            client = httpx.AsyncClient(
                base_url=f"{public_url}/api/v1",
                headers={"Authorization": f"Bearer {one['key']}"},
                timeout=15,
                trust_env=False,
            )
            crowd.append(Trader(await stack.enter_async_context(client), one["carrier"]))
        yield crowd
