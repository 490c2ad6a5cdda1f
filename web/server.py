"""The web program: worker processes that share one port."""

import os
import shutil
from functools import partial

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer
from litestar import Litestar

from market.settings import Settings

KILL_SECONDS = 5
HEADER_BYTES = 32_768
HEADER_MILLISECONDS = 10_000
CONNECTIONS_WAITING = 1024
STREAMS_AT_ONCE = 10_000
"""Requests that one worker answers at once: an event stream is one for as long as it is read."""


def serve(settings: Settings, port: int, workers: int) -> None:
    """Serve until a stop signal comes, on the address that the settings bind to."""
    share_figures(settings)
    server(settings, port, workers).serve(target_loader=partial(load, settings), wrap_loader=False)


def server(settings: Settings, port: int, workers: int) -> MPServer:
    """The server before it starts. It speaks HTTP/1.1: TLS and HTTP/2 are for a proxy in front."""
    return MPServer(
        "web.app:create_app",
        address=settings.bind_host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS, max_buffer_size=HEADER_BYTES),
        websockets=False,
        backlog=CONNECTIONS_WAITING,
        backpressure=STREAMS_AT_ONCE,
        log_level=LogLevels.warning,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_SECONDS,
    )


def load(settings: Settings) -> Litestar:
    """Build the application of one worker.

    Imported here, after the fork, because the metrics library looks for the directory
    that workers share at the moment it is imported.
    """
    from web.app import create_app
    from web.edge.drain import drain_on_signals
    from web.edge.logs import configure_logs

    configure_logs()
    app = create_app(settings)
    app.on_startup.append(drain_on_signals)
    return app


def share_figures(settings: Settings) -> None:
    """Give all workers one directory for their figures, and forget those of an earlier run."""
    directory = settings.data_dir / "metrics"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
