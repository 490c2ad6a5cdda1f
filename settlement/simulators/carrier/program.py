"""Running the simulated carrier: one process that stops cleanly on SIGTERM and SIGINT."""

import asyncio
import signal

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from settlement.simulators.carrier.app import create_app
from settlement.simulators.carrier.office import Office

CONNECTIONS = 4_096


def serve(database_url: str, port: int, credentials: dict[str, str], *, host: str = "127.0.0.1") -> None:
    """Serve until a signal comes. `credentials` maps a carrier's code to its bearer token."""
    uvloop.run(_serve(database_url, port, credentials, host))


async def _serve(database_url: str, port: int, credentials: dict[str, str], host: str) -> None:
    app = create_app(database_url, credentials)
    office: Office = app.state.office
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_enabled=False,
        backlog=CONNECTIONS,  # it is also how many connections are served at once: one more would wait unanswered
    )

    def stop() -> None:
        office.faults.stopping.set()  # requests that hang on purpose would hold the server up
        server.stop()  # type: ignore[no-untyped-call]  # granian types its command line, not this

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve()
