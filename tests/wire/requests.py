"""Requests as they were on the wire, and the port's calls that they came from."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from inspect import getmembers, isfunction
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

from tests.settlement.faults.mischief import Link, Message

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One HTTP request. Names of headers are in small letters."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, message: Message, prefix: str = "") -> Self:
        """Read it; ``prefix`` is where the address of the other side begins and its interface's paths do not yet."""
        target = urlsplit(message.path)
        lines = message.head.decode().split("\r\n")[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        return cls(message.method, unquote(target.path).removeprefix(prefix), target.query, headers, message.body)


@dataclass
class Recorder:
    """Makes a port's calls through a link, and keeps what each of them sent."""

    link: Link
    prefix: str = ""
    sent: dict[str, list[Request]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.link.arm(wanted=lambda _: True)

    async def call(self, name: str, call: Awaitable[T]) -> T:
        """Make the call; a call that is made twice is kept twice."""
        before = len(self.link.seen)
        answer = await call
        self.sent.setdefault(name, []).extend(Request.of(one, self.prefix) for one in self.link.seen[before:])
        return answer


def calls_of(port: type[Any], *silent: str) -> set[str]:
    """The public methods of a port, without those that send nothing."""
    return {name for name, _ in getmembers(port, isfunction) if not name.startswith("_")} - set(silent)
