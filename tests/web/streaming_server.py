"""The web program with one more route, a stream that waits to be drained. Run by tests as a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from market.settings import Settings
from tests.web.making import settings_of
from web import server


@get("/tests/stream", sync_to_thread=False)
def stream(request: Request[Any, Any, Any]) -> ServerSentEvent:
    return ServerSentEvent(_until_drained(request.app.state.drain))


async def _until_drained(drain: asyncio.Event) -> AsyncIterator[ServerSentEventMessage]:
    yield ServerSentEventMessage(data="open")
    await drain.wait()
    yield ServerSentEventMessage(data="closing", retry=1000)


def load(settings: Settings) -> Litestar:
    from web.edge import front  # after the fork, as the web program itself does it

    front.BODY_SECONDS = 1
    app = server.load(settings)
    app.register(stream)
    app.on_startup.append(lambda: _leave_mark(settings, "started"))
    app.on_shutdown.append(lambda: _leave_mark(settings, "cleaned-up"))
    return app


def _leave_mark(settings: Settings, what: str) -> None:
    (settings.data_dir / f"{what}-{os.getpid()}").touch()


def main() -> None:
    database_url, redis_url, data_dir, port, workers = sys.argv[1:]
    public_url = f"http://127.0.0.1:{port}"
    settings = settings_of(
        database_url=database_url, redis_url=redis_url, data_dir=Path(data_dir), public_url=public_url
    )
    server.share_figures(settings)
    server.server(settings, int(port), int(workers)).serve(target_loader=partial(load, settings), wrap_loader=False)


if __name__ == "__main__":
    main()
