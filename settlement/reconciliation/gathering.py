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
from settlement.payments.port import Payments
from settlement.payments.statement import Line as StatementLine
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
    "refund_failure": "refund",
    "transfer": "transfer",
    "transfer_refund": "reverse",
    "adjustment": "dispute",
    "stripe_fee": "fee",
}
"""What the provider's kinds of line are about. A kind that is not here is somebody's break."""
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
        await self.connection.execute(_MAKE)
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
                await self._write(_from_journal(number, self.mark, page.lines))
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
            await self._write(_from_statement(number, self.mark, page.lines))
            self.gathered.unreadable += page.unreadable
            if page.last_id is None or page.last_id == after:
                return
            after = page.last_id

    async def _write(self, records: Iterable[Record]) -> None:
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
            yield number, named[0], named[1], "", line.amount.amount, 0, "MB", line.at


def _from_statement(number: int, mark: str, lines: Iterable[StatementLine]) -> Iterator[Record]:
    """Every line: all that moved our balance is our business. Amounts are what our side calls positive."""
    prefix = f"sf-{mark}-"
    for line in lines:
        kind, subject_id = PROVIDER_KINDS.get(line.kind, line.kind), None
        named = _subject(prefix, line.reference)
        if named is not None and kind in {"payment", "refund", "transfer", "reverse"}:
            subject_id = named[1]
            kind = named[0] if named[0] not in {"top_up", "card_hold"} else "payment"
        amount = -line.amount if kind in {"transfer", "dispute"} or kind.startswith("refund") else line.amount
        at = datetime.fromtimestamp(line.created, UTC)
        yield number, kind, subject_id, line.about, amount, line.fee, line.currency.upper(), at


def _subject(prefix: str, name: str | None) -> tuple[str, int] | None:
    """The same as `naming.subject_of`, for a million names."""
    if name is None or not name.startswith(prefix):
        return None
    kind, _, number = name[len(prefix) :].rpartition("-")
    return (kind, int(number)) if kind and number.isascii() and number.isdigit() and len(number) <= DIGITS else None


DIGITS = 18
"""Of an id: more might not fit a bigint."""
