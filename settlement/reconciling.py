"""Our books beside the carriers' and the provider's: every difference becomes a break with a cause."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import netting, provider_report
from settlement.carriers.errors import CarrierError
from settlement.carriers.port import CarrierPort
from settlement.carriers.values import Action
from settlement.data_gift_tables import DataGiftRow
from settlement.naming import subject_of
from settlement.payments.errors import PaymentError
from settlement.report import Report, Row, a_break
from settlement.steps import Outside
from settlement.tables import DeliveryRow, HandoutRow, RedemptionRow

DAY = timedelta(days=1)
LATE = timedelta(days=2)
"""How long after a trade its movement is looked for in the carrier's journal."""
AT_A_TIME = 500
"""Lines of a journal that one statement asks about."""
MOVED = frozenset({"settled", "delivered"})

Sessions = async_sessionmaker[AsyncSession]


async def reconcile(sessions: Sessions, outside: Outside, report: Report) -> None:
    """Add every difference to the report. Whoever can't be asked makes a break of his own, and the rest goes on."""
    for code in sorted({row.carrier for row in report.rows("trade") if row.carrier}):
        if code not in outside.carriers:
            report.add_break(_not_compared(report, code, "it is not among the carriers of this installation"))
            continue
        comparison = Comparison(sessions, outside.carriers[code], outside.mark, report)
        try:
            await comparison.run()
        except CarrierError as error:
            report.add_break(_not_compared(report, code, str(error)))
    try:
        await provider_report.compare(sessions, outside.payments, outside.mark, report)
    except PaymentError as error:
        report.add_break(_not_compared(report, "provider", getattr(error, "reason", str(error))))


@dataclass
class Comparison:
    """One carrier's trades of a report beside its journal, both read in the order of time.

    What agrees is forgotten at once, so memory holds only what still waits for its other half.
    """

    sessions: Sessions
    carrier: CarrierPort
    mark: str
    report: Report
    _waiting: dict[str, Row] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _strangers: list[Action] = field(default_factory=list)

    async def run(self) -> None:
        code, until = self.carrier.profile.code, min(self.report.span.until + LATE, self.report.made_at)
        ours = (row for row in self.report.rows("trade") if row.carrier == code)
        coming = next(ours, None)
        day = self.report.span.since
        while day < until:
            while coming is not None and datetime.fromisoformat(coming.at) < day + DAY:
                self._waiting[coming.our_reference or ""] = coming
                coming = next(ours, None)
            async for batch in _batches(self.carrier.actions(day, min(day + DAY, until))):
                for part in await self._parts(batch):
                    self._match(part)
            day += DAY
        await self._ask_for_the_rest()
        await self._look_up_strangers()

    async def _parts(self, batch: Sequence[Action]) -> Sequence[Action]:
        """A line of the journal that moved several of our trades is one for each of them."""
        named = (subject_of(self.mark, action.external_id or "") for action in batch)
        if not any(name is not None and name[0] == "bundle" for name in named):
            return batch
        async with self.sessions() as session:
            return await netting.unbundled(session, self.mark, batch)

    def _match(self, action: Action) -> None:
        named = subject_of(self.mark, action.external_id or "")
        if named is None or named[0] not in TABLES:
            return
        name = action.external_id or ""
        if name in self._seen:
            self._break(name, "done_twice", f"{action.amount_mb} MB were moved again", action.at)
            return
        self._seen.add(name)
        row = self._waiting.pop(name, None)
        if row is None:
            self._strangers.append(action)
        else:
            self._compare(row, action.amount_mb)

    def _compare(self, row: Row, amount_mb: int) -> None:
        if row.quantity_mb != amount_mb:
            self._break(row.id, "amount_differs", f"{row.quantity_mb} MB here, {amount_mb} MB there", row.at)
        if row.status == "refunded":
            self._break(row.id, "status_differs", "refunded here, but the data moved there", row.at)
        elif row.status not in MOVED:
            self._in_flight(row)

    async def _ask_for_the_rest(self) -> None:
        """What the journal did not show is asked for by name, before anybody says that it is missing."""
        for row in self._waiting.values():
            if row.status == "refunded":
                continue
            if row.status not in MOVED:
                self._in_flight(row)
                continue
            movement = await self.carrier.find_movement(row.our_reference or "")
            if movement is None:
                self._break(row.id, "missing_there", f"{row.quantity_mb} MB are {row.status} here", row.at)
            else:
                self._compare(row, movement.amount_mb)

    async def _look_up_strangers(self) -> None:
        """Movements that carry our name but belong to no trade of these days: most are trades of the days before."""
        while batch := self._strangers[:AT_A_TIME]:
            del self._strangers[:AT_A_TIME]
            known = await self._known(batch)
            for action in batch:
                name = action.external_id or ""
                if name not in known:
                    self._break(name, "missing_here", f"{action.amount_mb} MB were moved there", action.at)
                    continue
                quantity_mb, status = known[name]
                if quantity_mb != action.amount_mb:
                    self._break(
                        name, "amount_differs", f"{quantity_mb} MB here, {action.amount_mb} MB there", action.at
                    )
                if status in {"refused", "refunded"}:
                    self._break(name, "status_differs", f"{status} here, but the data moved there", action.at)

    async def _known(self, actions: Sequence[Action]) -> dict[str, tuple[int, str]]:
        named = {name: subject_of(self.mark, name) for name in (action.external_id or "" for action in actions)}
        known: dict[str, tuple[int, str]] = {}
        async with self.sessions() as session:
            for kind, (table, quantity) in TABLES.items():
                names = {subject[1]: name for name, subject in named.items() if subject and subject[0] == kind}
                rows = await session.execute(select(table.id, quantity, table.status).where(table.id.in_(names)))
                known |= {names[row_id]: (amount, status) for row_id, amount, status in rows}
        return known

    def _in_flight(self, row: Row) -> None:
        age = self.report.made_at - datetime.fromisoformat(row.at)
        words = f"{row.status} for {int(age.total_seconds())} s"
        self._break(row.id, "in_flight", f"{words}: {row.reason}" if row.reason else words, row.at)

    def _break(self, subject: str, cause: str, detail: str, at: datetime | str) -> None:
        code = self.carrier.profile.code
        self.report.add_break(a_break(self.report.span, subject, cause, detail, at, carrier=code))


TABLES: dict[str, tuple[Any, Any]] = {
    "deliver": (DeliveryRow, DeliveryRow.quantity),
    "redeem": (RedemptionRow, RedemptionRow.coins),
    "handout": (HandoutRow, HandoutRow.amount_mb),
    "give": (DataGiftRow, DataGiftRow.amount_mb),
}
"""The kinds of instruction that move data, and where their amounts stand."""


async def _batches(actions: AsyncIterator[Action]) -> AsyncIterator[list[Action]]:
    batch: list[Action] = []
    async for action in actions:
        batch.append(action)
        if len(batch) == AT_A_TIME:
            yield batch
            batch = []
    if batch:
        yield batch


def _not_compared(report: Report, who: str, why: str) -> Row:
    return a_break(report.span, who, "not_compared", why, report.made_at)
