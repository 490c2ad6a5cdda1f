"""One reconciliation: read the others, compare, keep what differs, and say what all three sides come to."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256

import asyncpg
import msgspec

from settlement.carriers.errors import CarrierError
from settlement.payments.errors import PaymentError
from settlement.reconciliation import balancing, bills, breaks, comparing
from settlement.reconciliation.comparing import Compared
from settlement.reconciliation.differences import Difference
from settlement.reconciliation.documents import BILLS
from settlement.reconciliation.gathering import Gathered, Gatherer
from settlement.reconciliation.window import Window
from settlement.steps import Outside, masked

ALL = "all"
PROVIDER = "provider"
LEDGER = "ledger"
CARRIER_STATES, PROVIDER_STATES, LEDGER_STATES = ("custody_lapsed",), ("balance_differs",), ("not_cleared",)
"""Causes that are about how things stand now, of whatever day: what a run does not see of them is over."""
WORK_MEMORY = "64MB"
"""What one sort or join may use in the database."""


@dataclass(slots=True)
class Total:
    """What one counterparty came to. ``ours`` and ``theirs`` are MB or minor units of what moved in the window."""

    counterparty: str
    lines: int = 0
    documents: int = 0
    ours: int = 0
    theirs: int = 0
    fees: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    balances: list[dict[str, int | str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """What came of one counterparty: its totals, what was found, and how many breaks are over."""

    total: Total
    found: Sequence[Difference]
    closed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    run_id: int
    totals: Sequence[Total]
    closed: int
    escalated: int
    result_hash: bytes

    @property
    def breaks(self) -> int:
        return sum(sum(total.causes.values()) for total in self.totals)


async def begin(connection: asyncpg.Connection, window: Window, scope: str, *, daily: bool) -> int | None:
    """The number of a new run; none when the day's own has been made, or is being made, by somebody else.

    One that failed is taken up again after five minutes, one that was cut off after an hour.
    """
    run_id: int | None = await connection.fetchval(
        """insert into reconciliation (day, scope, daily, started_at) values ($1, $2, $3, $4)
        on conflict (day) where daily do update set started_at = excluded.started_at, status = 'running'
            where reconciliation.status = 'failed' and reconciliation.started_at < $4 - interval '5 minutes'
                or reconciliation.status = 'running' and reconciliation.started_at < $4 - interval '1 hour'
        returning id""",
        window.day, scope, daily, window.now,
    )  # fmt: skip
    return run_id


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of its own for one run: its temporary tables go away with it."""
    connection = await asyncpg.connect(dsn, server_settings={"work_mem": WORK_MEMORY, "temp_buffers": "64MB"})
    try:
        yield connection
    finally:
        await connection.close()


async def fail(connection: asyncpg.Connection, run_id: int, reason: str) -> None:
    """The run came to nothing; a daily one may be taken up again."""
    await connection.execute(
        "update reconciliation set status = 'failed', ended_at = now(), reason = $2 where id = $1", run_id, reason
    )


@dataclass(frozen=True)
class Run:
    """A run that has begun, on a connection whose temporary tables are its own.

    Whoever can't be asked is a break of its own, and the rest goes on. Nothing is locked while somebody is asked.
    """

    connection: asyncpg.Connection
    outside: Outside
    window: Window
    run_id: int
    currency: str

    async def carry_out(self, scope: str) -> Outcome:
        """Compare the day with every carrier, the provider and our own accounts, or with one carrier alone."""
        carriers = sorted(self.outside.carriers) if scope == ALL else [scope]
        parts = [await self._with_carrier(code) for code in carriers]
        parts += [await self._with_bills(code) for code in carriers if code in self.outside.billing]
        if scope == ALL:
            parts += [await self._with_provider(), await self._with_ledger()]
        escalated = await breaks.escalate(self.connection, self.window.now)
        return await self._end(parts, escalated)

    async def _with_carrier(self, code: str) -> Part:
        try:
            gathered = await Gatherer(self.connection, self.outside.mark).journal(
                self.outside.carriers[code], self.window
            )
        except CarrierError as error:
            return await self._not_compared(code, str(error))
        compared = await comparing.with_carrier(self.connection, code, self.window)
        found = [*compared.differences, *_unreadable(gathered, self.window)]
        closed = await self._write(code, found, CARRIER_STATES)
        return Part(_total(code, compared, found), found, closed)

    async def _with_bills(self, code: str) -> Part:
        name = code + BILLS
        try:
            gatherer = Gatherer(self.connection, self.outside.mark)
            await bills.gather(gatherer, code, self.outside.billing[code], self.window)
        except CarrierError as error:
            return await self._not_compared(name, str(error))
        compared = await comparing.with_bills(self.connection, code, self.window, self.currency)
        closed = await self._write(name, compared.differences, ())
        return Part(_total(name, compared, compared.differences), compared.differences, closed)

    async def _with_provider(self) -> Part:
        try:
            gathered = await Gatherer(self.connection, self.outside.mark).statement(self.outside.payments, self.window)
            compared = await comparing.with_provider(self.connection, self.window, self.currency)
            found = [*compared.differences, *_unreadable(gathered, self.window)]
            closed = await self._write(PROVIDER, found, ())
            balances = await balancing.with_provider(self.connection, self.outside.payments, self.window, self.currency)
        except PaymentError as error:
            return await self._not_compared(PROVIDER, getattr(error, "reason", str(error)))
        uneven = [each.difference(self.window) for each in balances if each.unexplained]
        if balances:
            closed += await self._write(PROVIDER, uneven, PROVIDER_STATES)
        total = _total(PROVIDER, compared, [*found, *uneven])
        total.balances = [asdict(each) | {"unexplained": each.unexplained} for each in balances]
        return Part(total, [*found, *uneven], closed)

    async def _with_ledger(self) -> Part:
        found = await balancing.uncleared(self.connection, self.window)
        closed = await self._write(LEDGER, found, LEDGER_STATES)
        return Part(Total(LEDGER, causes=_causes(found)), found, closed)

    async def _write(self, counterparty: str, found: Sequence[Difference], causes: Sequence[str]) -> int:
        async with self.connection.transaction():
            await breaks.keep(self.connection, self.run_id, counterparty, found)
            return await breaks.close(self.connection, self.run_id, counterparty, self.window, causes)

    async def _not_compared(self, counterparty: str, why: str) -> Part:
        """Nobody was heard, so nothing that was open is closed."""
        subject, since = f"{counterparty} {self.window.day}", self.window.since
        one = Difference("run", subject, None, "not_compared", masked(why), "-", since)
        await breaks.keep(self.connection, self.run_id, counterparty, [one])
        return Part(Total(counterparty, causes=_causes([one])), [one], 0)

    async def _end(self, parts: Sequence[Part], escalated: int) -> Outcome:
        totals = [msgspec.to_builtins(part.total) for part in parts]
        listed = sorted(
            (one.kind, one.subject, one.cause, str(one.ours), str(one.theirs)) for part in parts for one in part.found
        )
        digest = sha256(msgspec.json.encode([totals, listed])).digest()
        await self.connection.execute(
            "update reconciliation set status = 'done', ended_at = now(), totals = $2, result_hash = $3, reason = null"
            " where id = $1",
            self.run_id, msgspec.json.encode(totals).decode(), digest,
        )  # fmt: skip
        return Outcome(
            self.run_id, [part.total for part in parts], sum(part.closed for part in parts), escalated, digest
        )


def _total(counterparty: str, compared: Compared, found: Sequence[Difference]) -> Total:
    figures = (compared.lines, compared.documents, compared.ours, compared.theirs, compared.fees)
    return Total(counterparty, *figures, causes=_causes(found))


def _unreadable(gathered: Gathered, window: Window) -> list[Difference]:
    """A line that makes no sense is a break under the name that it has, if that can be read."""
    return [
        Difference("line", masked(words.partition(": ")[0]), None, "unreadable", masked(words), "-", window.since)
        for words in sorted(set(gathered.unreadable))
    ]


def _causes(found: Sequence[Difference]) -> dict[str, int]:
    return dict(sorted(Counter(one.cause for one in found).items()))
