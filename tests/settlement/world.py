"""A worker in a world of simulators: lines at the carrier, trades between them, and time to wait for their end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from settlement import custody
from settlement.carriers.client import Carrier
from settlement.claims import Steps
from settlement.instructions import seconds
from settlement.naming import external_id
from settlement.payments.port import Payments
from settlement.steps import Outside
from settlement.tables import CustodyRow, DeliveryRow, InstructionRow
from settlement.worker import STEPS, run
from tests.carrier.simulator import CarrierProcess, only_bucket
from tests.settlement.making import a_custody, a_trade

MARK = "test"
QUICK: Steps = {kind: replace(step, delays=seconds(0.1, 0.1)) for kind, step in STEPS.items()}
"""The product's own steps, but for shorter pauses between attempts."""
SLACK = timedelta(seconds=1)
WORKERS = count(1)
LINES = count(1)


@dataclass
class World:
    """The database under test and the simulators around it."""

    sessions: async_sessionmaker[AsyncSession]
    sim: CarrierProcess
    carrier: Carrier
    payments: Payments
    numbers: dict[int, str] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    mark: str = MARK
    patience: timedelta = timedelta(seconds=0.3)

    @property
    def outside(self) -> Outside:
        return Outside({"CMCC": self.carrier}, self.payments, self._numbers_of, self.mark, self.patience, SLACK)

    async def _numbers_of(self, line_ids: Sequence[int]) -> dict[int, str]:
        return {line_id: self.numbers[line_id] for line_id in line_ids if line_id in self.numbers}

    def a_line(self, suffix: str = "0000", remaining_mb: int = 1000) -> int:
        """A line of ours that the carrier knows; the last digits choose how the carrier behaves."""
        line_id = next(LINES)
        self.numbers[line_id] = self.sim.a_line(suffix, remaining_mb=remaining_mb)
        return line_id

    async def reserved(self, quantity_mb: int = 1000) -> CustodyRow:
        """A custody, reserved at the carrier and booked, as a listing leaves it."""
        line_id = self.a_line(remaining_mb=quantity_mb)
        number = self.numbers[line_id]
        bucket = await only_bucket(self.carrier, number)
        async with self.sessions.begin() as session:
            row = await a_custody(session, quantity_mb=quantity_mb, bucket_id=bucket.id, line_id=line_id)
        name = external_id(self.mark, "reserve", row.id)
        reservation = await self.carrier.reserve(bucket.id, quantity_mb, bucket.expires_at, name, number)
        async with self.sessions.begin() as session:
            return await custody.book_reservation(session, row.id, reservation)

    async def traded(self, row: CustodyRow, suffix: str = "0000", **terms: int | None) -> DeliveryRow:
        """A trade out of a custody, to a fresh line whose last digits choose how its delivery goes."""
        return await self.traded_to(row, self.a_line(suffix, remaining_mb=0), **terms)

    async def traded_to(self, row: CustodyRow, receiver: int, **terms: int | None) -> DeliveryRow:
        """A trade out of a custody, to a line that there is."""
        async with self.sessions.begin() as session:
            return await a_trade(session, row, receiver_line_id=receiver, **terms)  # type: ignore[arg-type]

    async def received_mb(self, delivery: DeliveryRow) -> int:
        """What the receiver's line really has, as its carrier says."""
        assert delivery.receiver_line_id is not None
        buckets = await self.carrier.buckets(self.numbers[delivery.receiver_line_id])
        return sum(bucket.remaining_mb for bucket in buckets)

    async def announce(self, parties: Iterable[int]) -> None:
        self.told |= set(parties)

    @asynccontextmanager
    async def working(self, workers: int = 1, steps: Steps = QUICK) -> AsyncIterator[asyncio.Event]:
        """Workers on this world, and what wakes them; leaving it stops them cleanly."""
        stop, wake = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                name = f"worker-{next(WORKERS)}"
                group.create_task(self._run(wake, stop, name, steps))
            yield wake
            stop.set()

    async def _run(self, wake: asyncio.Event, stop: asyncio.Event, name: str, steps: Steps) -> None:
        await run(
            self.outside,
            self.sessions,
            self.announce,
            wake=wake,
            stop=stop,
            worker=name,
            steps=steps,
            idle_seconds=0.3,
            round_seconds=0.2,
        )

    async def delivery(self, delivery_id: int) -> DeliveryRow:
        async with self.sessions() as session:
            return await session.get_one(DeliveryRow, delivery_id)

    async def instruction(self, kind: str, subject_id: int) -> InstructionRow | None:
        query = select(InstructionRow).where(InstructionRow.kind == kind, InstructionRow.subject_id == subject_id)
        async with self.sessions() as session:
            return await session.scalar(query)

    async def ended(self, delivery_id: int, seconds: float = 15) -> DeliveryRow:
        """The delivery, once it has come to an end."""

        async def over() -> bool:
            return (await self.delivery(delivery_id)).status in {"settled", "refunded"}

        await until(over, seconds)
        return await self.delivery(delivery_id)

    async def status(self, kind: str, subject_id: int, wanted: str, seconds: float = 15) -> InstructionRow:
        """The instruction, once it stands as wanted."""

        async def there() -> bool:
            row = await self.instruction(kind, subject_id)
            return row is not None and row.status == wanted

        await until(there, seconds)
        row = await self.instruction(kind, subject_id)
        assert row is not None
        return row


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Ask until it holds; fail when the time is up."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(0.02)
