"""What the others say of a day, read page by page and put beside our books as it comes; memory holds a few pages."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncpg

from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierMismatch
from settlement.carriers.journal import Line, LinePage, Quantity
from settlement.carriers.port import CarrierPort
from settlement.carriers.values import REVERSAL
from settlement.payments.port import Payments
from settlement.payments.statement import Line as StatementLine
from settlement.reconciliation.documents import OUTWARD
from settlement.reconciliation.window import Window

PAGE = 1000
"""Lines of a carrier's journal that are asked for at once; a carrier that gives fewer is read all the same."""
AT_ONCE = 4
TRIES = 3
"""How often a span is read that changed while it was being read."""

_MAKE = """
create temp table if not exists theirs (
    slice smallint not null, kind text not null, subject_id bigint, name text not null,
    amount bigint not null, fee bigint not null, unit text not null, at timestamptz not null
);
truncate theirs
"""
COLUMNS = ("slice", "kind", "subject_id", "name", "amount", "fee", "unit", "at")
Record = tuple[int, str, int | None, str, int, int, str, datetime]
PROVIDER_KINDS = {
    "charge": "payment",
    "payment": "payment",
    "refund": "refund",
    "payment_refund": "refund",
    "refund_failure": "refund_returned",
    "transfer": "transfer",
    "transfer_refund": "reverse",
    "adjustment": "dispute",
    "stripe_fee": "fee",
}
"""What the provider's kinds of line are about. A kind that is not here is somebody's break."""
REVERSALS = {"deliver": "reversal"}
"""What a carrier's taking back of a movement is called, where it isn't just that."""
SET_ASIDE = frozenset({"reserve", "release"})
"""What sets data aside or gives it back moves nothing from one line to another."""


@dataclass(slots=True)
class Gathered:
    """What one counterparty has said: it lies in the table ``theirs``; this is what could not be put there."""

    unreadable: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Gatherer:
    """Writes what comes in over one connection, one page after the other."""

    connection: asyncpg.Connection
    mark: str
    gathered: Gathered = field(default_factory=Gathered)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def journal(self, carrier: CarrierPort, window: Window) -> Gathered:
        """A carrier's journal of the window.

        Raises:
            CarrierError: it could not be read to its end; what was read is of no use.
        """
        read = carrier.line_page if isinstance(carrier, Carrier) else _plain(carrier)
        await self._each(window, lambda number, span: self._journal(read, number, span))
        return self.gathered

    async def statement(self, payments: Payments, window: Window) -> Gathered:
        """The provider's books of the window.

        Raises:
            PaymentError: they could not be read to their end.
        """
        await self._each(window, lambda number, span: self._statement(payments, number, span))
        return self.gathered

    async def _each(self, window: Window, read: Callable[[int, tuple[datetime, datetime]], Awaitable[None]]) -> None:
        await self.empty()
        places = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, span: tuple[datetime, datetime]) -> None:
            async with places:
                await read(number, span)

        tasks = [asyncio.ensure_future(one(number, span)) for number, span in enumerate(window.slices())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self.connection.execute("analyze theirs")

    async def _journal(
        self, read: Callable[..., Awaitable[LinePage]], number: int, span: tuple[datetime, datetime]
    ) -> None:
        """One span. A journal that grew or shrank meanwhile has moved its pages, so it is read again."""
        for _ in range(TRIES):
            found: list[str] = []
            offset, total = 0, None
            while total is None or offset < total:
                page = await read(*span, offset=offset, limit=PAGE)
                if total not in {None, page.total_count} or (not len(page) and offset < page.total_count):
                    break
                total = page.total_count
                await self.write(_from_journal(number, self.mark, page.lines))
                found += page.unreadable
                offset += len(page)
            if total is not None and offset == total:
                self.gathered.unreadable += found
                return
            async with self._writing:
                await self.connection.execute("delete from theirs where slice = $1", number)
        raise CarrierMismatch("the journal changed, or ended early, each time that it was read")

    async def _statement(self, payments: Payments, number: int, span: tuple[datetime, datetime]) -> None:
        after: str | None = None
        while True:
            page = await payments.statement_page(*span, after)
            await self.write(_from_statement(number, self.mark, page.lines))
            self.gathered.unreadable += page.unreadable
            if page.last_id is None or page.last_id == after:
                return
            after = page.last_id

    async def empty(self) -> None:
        """Make the table anew: what another counterparty has said is done with."""
        await self.connection.execute(_MAKE)

    async def write(self, records: Iterable[Record]) -> None:
        """Put lines into the table; one writes at a time."""
        async with self._writing:
            await self.connection.copy_records_to_table("theirs", records=records, columns=COLUMNS)


def _plain(carrier: CarrierPort) -> Callable[..., Awaitable[LinePage]]:
    """The journal of a carrier whose dialect has no long pages."""

    async def read(since: datetime, until: datetime, *, offset: int, limit: int) -> LinePage:
        page = await carrier.action_page(since, until, offset=offset, limit=limit)
        lines = [Line(one.kind, Quantity(one.amount_mb, "MB"), one.at, one.external_id) for one in page.actions]
        return LinePage(lines, (), page.total_count)

    return read


def _from_journal(number: int, mark: str, lines: Iterable[Line]) -> Iterator[Record]:
    """What was done under one of our names; whatever else happened to a line is not our business."""
    prefix = f"sf-{mark}-"
    for line in lines:
        named = _subject(prefix, line.external_id)
        if named is not None and named[0] not in SET_ASIDE:
            kind = named[0] if line.kind != REVERSAL else REVERSALS.get(named[0], f"{named[0]}_reversal")
            yield number, kind, named[1], "", line.amount.amount, 0, "MB", line.at


def _from_statement(number: int, mark: str, lines: Iterable[StatementLine]) -> Iterator[Record]:
    """Every line: all that moved our balance is our business. Amounts are what our side calls positive."""
    prefix = f"sf-{mark}-"
    for line in lines:
        kind, subject_id, name = *_known_as(line, _subject(prefix, line.reference)), line.about
        if subject_id is None and kind != "payment":
            name = line.source_id
        amount = -line.amount if kind in OUTWARD else line.amount
        at = datetime.fromtimestamp(line.created, UTC)
        yield number, kind, subject_id, name, amount, line.fee, line.currency.upper(), at


def _known_as(line: StatementLine, named: tuple[str, int] | None) -> tuple[str, int | None]:
    """What a line of the provider's is about, and which of ours, if it carries a name of ours.

    What goes the other way again is a thing of its own: a refund that failed, a dispute that was won.
    """
    kind = PROVIDER_KINDS.get(line.kind, line.kind)
    if kind == "dispute":
        return (kind if line.amount < 0 else "dispute_returned"), None
    if kind not in {"payment", "refund", "refund_returned", "transfer", "reverse"}:
        return kind, None
    if named is None:
        return kind.replace("refund", "refund_outside"), None
    if named[0] in {"top_up", "card_hold"}:
        return "payment", named[1]
    return named[0] + kind.removeprefix("refund") if kind == "refund_returned" else named[0], named[1]


def _subject(prefix: str, name: str | None) -> tuple[str, int] | None:
    """The same as `naming.subject_of`, for a million names."""
    if name is None or not name.startswith(prefix):
        return None
    kind, _, number = name[len(prefix) :].rpartition("-")
    return (kind, int(number)) if kind and number.isascii() and number.isdigit() and len(number) <= DIGITS else None


DIGITS = 18
"""Of an id: more might not fit a bigint."""
