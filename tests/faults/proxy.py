"""A link between an engine and PostgreSQL that can be cut exactly at a COMMIT."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from web.embedded import SOCKET_NAME

Cut = Literal["before", "after", "late"]
"""The COMMIT never arrives; it is done and its answer gets lost; it arrives when its sender is long gone."""
CHUNK = 65_536
CUT_SECONDS = 20
HEADER = 5
COMMIT = b"COMMIT;\0"


async def _nothing() -> None:
    pass


@dataclass
class Proxy:
    """Passes everything through until a cut is armed; then the next COMMIT meets it."""

    target: Path
    met: Counter[str] = field(default_factory=Counter)
    armed: Cut | None = None
    while_late: Callable[[], Awaitable[None]] = _nothing
    """Done between the loss of the link and the arrival of a late COMMIT."""
    _met: asyncio.Event = field(default_factory=asyncio.Event)

    async def cut(self, cut: Cut) -> None:
        """Have the next COMMIT meet this cut, and wait until it has."""
        self._met.clear()
        self.armed = cut
        async with asyncio.timeout(CUT_SECONDS):
            await self._met.wait()

    async def carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection, from its start to its end."""
        server, to_server = await asyncio.open_unix_connection(self.target / SOCKET_NAME)
        back = asyncio.create_task(_pass_on(server, to_client))
        try:
            await self._forward(client, server, to_client, to_server, back)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            back.cancel()
            for writer in (to_client, to_server):
                writer.transport.abort()
            await asyncio.gather(back, to_client.wait_closed(), to_server.wait_closed(), return_exceptions=True)

    async def _forward(
        self,
        client: asyncio.StreamReader,
        server: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
        back: "asyncio.Task[None]",
    ) -> None:
        first_length = await client.readexactly(4)
        to_server.write(first_length + await client.readexactly(int.from_bytes(first_length) - 4))
        while True:
            header = await client.readexactly(HEADER)
            payload = await client.readexactly(int.from_bytes(header[1:]) - 4)
            if self.armed is not None and header[:1] == b"Q" and payload == COMMIT:
                cut, self.armed = self.armed, None
                back.cancel()
                await asyncio.wait({back})
                await self._cut(cut, header + payload, server, to_client, to_server)
                self.met[cut] += 1
                self._met.set()
                return
            to_server.write(header + payload)
            await to_server.drain()

    async def _cut(
        self,
        cut: Cut,
        commit: bytes,
        server: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
    ) -> None:
        if cut == "before":
            return
        if cut == "late":
            to_client.transport.abort()
            await self.while_late()
        to_server.write(commit)
        await server.read(CHUNK)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()
        target.close()


@asynccontextmanager
async def open_proxy(target: Path, place: Path) -> AsyncIterator[Proxy]:
    """Listen in one folder for those who look for the server in another."""
    proxy = Proxy(target)
    await asyncio.to_thread(place.mkdir)
    listening = await asyncio.start_unix_server(proxy.carry, place / SOCKET_NAME)
    async with listening:
        yield proxy
