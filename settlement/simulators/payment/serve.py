"""Running the simulated payment provider as a program of its own."""

import asyncio
import signal

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from settlement.simulators.payment.app import create_app
from settlement.simulators.payment.desk import Settings


def serve(
    database_url: str, port: int, api_key: str, *, host: str = "127.0.0.1", settings: Settings | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way and stop."""
    uvloop.run(_serve_until_told(database_url, port, api_key, host=host, settings=settings))


CONNECTIONS = 4_096


async def serve_until(
    closing: asyncio.Event,
    database_url: str,
    port: int,
    api_key: str,
    *,
    host: str = "127.0.0.1",
    settings: Settings | None = None,
) -> None:
    """Serve in the running loop until `closing` is set."""
    app = create_app(database_url, {api_key}, settings=settings, closing=closing)
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_enabled=False,
        log_access=False,
        backlog=CONNECTIONS,  # it is also how many connections are served at once: one more would wait unanswered
    )

    async def stop() -> None:
        await closing.wait()
        server.stop()  # type: ignore[no-untyped-call]

    stopping = asyncio.create_task(stop())
    await server.serve()
    stopping.cancel()


async def _serve_until_told(
    database_url: str, port: int, api_key: str, *, host: str, settings: Settings | None
) -> None:
    closing, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, closing.set)
    await serve_until(closing, database_url, port, api_key, host=host, settings=settings)
