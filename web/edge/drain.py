"""Letting go of open event streams when the server is told to stop."""

import asyncio
import signal
from types import FrameType
from typing import Any

from litestar import Litestar


def drain_on_signals(app: Litestar) -> None:
    """Set `app.state.drain` as soon as a stop signal comes, then do what the server had planned.

    The server waits for open connections before it runs any shutdown hook, so a stream that
    waited for the hook would hold it until it is killed. To be called while the loop runs.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        planned = signal.getsignal(number)

        def stop(received: int, frame: FrameType | None, planned: Any = planned) -> None:
            loop.call_soon_threadsafe(app.state.drain.set)
            if callable(planned):
                planned(received, frame)

        signal.signal(number, stop)
        signal.siginterrupt(number, False)
