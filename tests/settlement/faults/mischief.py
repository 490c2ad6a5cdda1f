"""A link between us and the outside that spoils requests and answers on the wire, where a network would."""

import asyncio
import json
import random
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DRIP_SECONDS = 0.05
LENGTH = re.compile(rb"(?i)content-length: *\d+")
HUGE_BYTES = 1_000_001


class Mischief(StrEnum):
    RESET_BEFORE = "reset_before"
    """The connection breaks before the request has come through."""
    RESET_AFTER = "reset_after"
    """The work is done and the connection breaks."""
    TRUNCATED = "truncated"
    GARBAGE = "garbage"
    WRONG_TYPE = "wrong_type"
    REDIRECT = "redirect"
    HUGE = "huge"
    DRIP = "drip"
    SERVER_ERROR = "server_error"
    """The work is done, and somebody on the way says 502."""
    OTHER_AMOUNT = "other_amount"
    """The work is done, and the answer claims another amount."""
    MISSING_FIELD = "missing_field"
    """The work is done, and the answer says no amount at all."""
    OTHER_ANSWER = "other_answer"
    """The work is done, and the answer says what the test has made of it."""


LIES = frozenset({Mischief.OTHER_AMOUNT, Mischief.MISSING_FIELD, Mischief.OTHER_ANSWER})
AMBIGUOUS = tuple(one for one in Mischief if one not in LIES)
"""All after which nobody can know whether it happened."""


@dataclass(frozen=True)
class Message:
    """One HTTP message as it came: the start line with the headers, and the body."""

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.partition(b" ")[0].decode()

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()


def moves_data(request: Message) -> bool:
    """Whether it is a request of the kind that a trade's delivery is."""
    return request.method == "POST" and "/adjustBalance" in request.path


def changes(request: Message) -> bool:
    return request.method in {"POST", "DELETE", "PATCH"}


def _another_amount(document: Any) -> None:
    document["amount"]["amount"] += 1


def _without_amount(document: Any) -> None:
    del document["amount"]


@dataclass
class Link:
    """Passes everything through, but for what is armed or drawn by its share."""

    host: str
    port: int
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    shares: Mapping[Mischief, float] = field(default_factory=dict)
    """How many of the requests meet each, from 0 to 1."""
    armed: deque[Mischief] = field(default_factory=deque)
    """What the next requests of the wanted kind meet, in this order, whatever the shares say."""
    wanted: Callable[[Message], bool] = moves_data
    met: Counter[Mischief] = field(default_factory=Counter)
    seen: list[Message] = field(default_factory=list)
    """Requests that were armed for, in the order in which they came."""
    url: str = ""
    change: Callable[[Any], None] = _without_amount
    """What `OTHER_ANSWER` makes of the decoded answer."""
    _carrying: set["asyncio.Task[None]"] = field(default_factory=set)

    def start(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Carry one more connection; the loop alone would let go of a task that nothing else refers to."""
        task = asyncio.create_task(self.carry(client, to_client))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def close(self) -> None:
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def arm(self, *mischiefs: Mischief, wanted: Callable[[Message], bool] = moves_data) -> None:
        self.armed, self.wanted = deque(mischiefs), wanted
        self.seen.clear()

    def lie(self, change: Callable[[Any], None], wanted: Callable[[Message], bool], times: int = 1) -> None:
        """Have the next answers to the wanted kind of request changed like this."""
        self.change = change
        self.arm(*[Mischief.OTHER_ANSWER] * times, wanted=wanted)

    async def carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection, from its start to its end."""
        try:
            server, to_server = await asyncio.open_connection(self.host, self.port)
        except OSError:
            to_client.transport.abort()
            return
        try:
            while await self._exchange(client, to_client, server, to_server):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for writer in (to_client, to_server):
                writer.transport.abort()
            await asyncio.gather(to_client.wait_closed(), to_server.wait_closed(), return_exceptions=True)

    async def _exchange(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> bool:
        """One request and its answer; says whether the connection goes on."""
        request = await _read(client)
        mischief = self._draw(request)
        if mischief is Mischief.RESET_BEFORE:
            self.met[mischief] += 1
            return False
        to_server.write(request.head + request.body)
        await to_server.drain()
        answer = await _read(server)
        if mischief is None or (spoilt := self._spoilt(mischief, answer)) is None:
            to_client.write(answer.head + answer.body)
            await to_client.drain()
            return True
        self.met[mischief] += 1
        to_client.write(spoilt)
        await to_client.drain()
        if mischief is Mischief.DRIP:
            await _drip(to_client)
        return mischief in LIES

    def _spoilt(self, mischief: Mischief, answer: Message) -> bytes | None:
        """What is sent instead; None when this answer cannot be spoilt in this way."""
        match mischief:
            case Mischief.TRUNCATED:
                return answer.head + answer.body[: len(answer.body) // 2]
            case Mischief.OTHER_AMOUNT:
                return _falsified(_another_amount, answer) if _has_moved(answer) else None
            case Mischief.MISSING_FIELD:
                return _falsified(_without_amount, answer) if _has_moved(answer) else None
            case Mischief.OTHER_ANSWER:
                return _falsified(self.change, answer)
            case _:
                return SPOILT[mischief]

    def _draw(self, request: Message) -> Mischief | None:
        if self.wanted(request):
            self.seen.append(request)
            if self.armed:
                return self.armed.popleft()
        drawn = self.dice.random()
        for mischief, share in self.shares.items():
            if (drawn := drawn - share) < 0:
                return mischief
        return None


async def _read(reader: asyncio.StreamReader) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if any(line.startswith(b"transfer-encoding:") for line in lines):
        return Message(head, await _read_chunks(reader))
    length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
    return Message(head, await reader.readexactly(length))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        body += size + await reader.readexactly(int(size, 16) + 2)
        if int(size, 16) == 0:
            return body


def _has_moved(answer: Message) -> bool:
    """Whether it is a carrier's yes to something with an amount."""
    return answer.head.startswith(b"HTTP/1.1 201") and "amount" in json.loads(answer.body)


def _falsified(change: Callable[[Any], None], answer: Message) -> bytes:
    document = json.loads(answer.body)
    change(document)
    body = json.dumps(document).encode()
    return LENGTH.sub(b"content-length: %d" % len(body), answer.head) + body


def _answer(status: str, body: bytes, media_type: str = "application/json", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *headers]
    lines += ["Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


SPOILT = {
    Mischief.RESET_AFTER: b"",
    Mischief.GARBAGE: _answer("200 OK", b'{"id": oops'),
    Mischief.WRONG_TYPE: _answer("200 OK", b"<html>Welcome</html>", "text/html"),
    Mischief.REDIRECT: _answer("307 Temporary Redirect", b"", "text/plain", "Location: http://127.0.0.1:9/elsewhere"),
    Mischief.HUGE: _answer("200 OK", b'"' + b"x" * HUGE_BYTES + b'"'),
    Mischief.DRIP: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
    Mischief.SERVER_ERROR: _answer("502 Bad Gateway", b"<html>upstream</html>", "text/html"),
}
"""What is sent in place of any answer."""


async def _drip(writer: asyncio.StreamWriter) -> None:
    """Byte by byte until the other side has had enough."""
    while not writer.is_closing():
        writer.write(b"X-Drip: 1\r\n")
        await writer.drain()
        await asyncio.sleep(DRIP_SECONDS)


@asynccontextmanager
async def open_link(port: int, seed: int = 0, wanted: Sequence[Mischief] = ()) -> AsyncIterator[Link]:
    """A link in front of a server on this machine; ``wanted`` is armed at once."""
    link = Link("127.0.0.1", port, random.Random(seed), armed=deque(wanted))
    listening = await asyncio.start_server(link.start, "127.0.0.1", 0)
    link.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield link
    finally:
        listening.close()
        await link.close()
