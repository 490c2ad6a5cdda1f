"""The comparison by one join agrees with a naive one, thing by thing, whatever happened on either side."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.database import raw_dsn
from settlement.reconciliation import comparing
from settlement.reconciliation.gathering import COLUMNS, Gatherer
from settlement.reconciliation.window import Window
from tests.databases import migrate

DAY = Window(date(2026, 11, 10), UTC, datetime(2026, 11, 12, tzinfo=UTC))
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
STATES = {"pending": "open", "delivered": "moved", "settled": "moved", "refunded": "undone"}
PUT = """
insert into delivery (id, carrier, custody_account_id, quantity, money_account_id, amount_minor, fee_minor,
    proceeds_account_id, receiver_line_id, status, created_at, delivered_at, ended_at)
values ($1, 'CMCC', 1, $2, 1, 1, 0, 1, 1, $3, $4, $5, $5)
"""


@dataclass(frozen=True)
class Delivery:
    """One of our documents; its moment is hours from noon of the day that is compared."""

    id: int
    quantity: int
    status: str
    hours: int

    @property
    def at(self) -> datetime:
        return NOON + timedelta(hours=self.hours)


@dataclass(frozen=True)
class Line:
    """One line of the carrier's journal, under the name of one of our deliveries."""

    id: int
    quantity: int
    hours: int

    @property
    def at(self) -> datetime:
        return NOON + timedelta(hours=self.hours)


Comparison = Callable[[list[Delivery], list[Line]], set[tuple[int, str]]]
"""What differs, by id and cause."""
HOURS = st.integers(-14, 14)
IDS = st.integers(1, 6)
QUANTITIES = st.sampled_from([0, 100, 200])
DELIVERIES = st.lists(
    st.builds(Delivery, IDS, st.sampled_from([100, 200]), st.sampled_from(sorted(STATES)), HOURS),
    unique_by=lambda one: one.id,
)
LINES = st.lists(st.builds(Line, IDS, QUANTITIES, st.integers(-12, 12)), max_size=8)


def naive(deliveries: list[Delivery], lines: list[Line]) -> Iterator[tuple[int, str]]:
    """Each thing by itself, as the rules are told. Gives the id and the cause of what differs."""
    ours = {one.id: one for one in deliveries}
    for number in sorted({*ours, *(line.id for line in lines)}):
        document, said = ours.get(number), [line for line in lines if line.id == number]
        state = STATES[document.status] if document else ""
        theirs, first = sum(line.quantity for line in said), min((line.at for line in said), default=None)
        if first is None:
            assert document is not None
            if state == "moved" and DAY.since <= document.at < DAY.until:
                yield number, "missing_there"
            elif state == "open" and document.at < DAY.until:
                yield number, "in_flight"
        elif DAY.since <= first < DAY.until:
            if document is None or state == "undone":
                if theirs:
                    yield number, "missing_here" if document is None else "status_differs"
            elif state == "open":
                yield number, "in_flight"
            elif theirs != document.quantity:
                yield number, "done_twice" if len(said) > 1 and theirs > document.quantity else "amount_differs"


@pytest.fixture(scope="module")
def compared(new_database: Callable[[str], str]) -> Iterator[Comparison]:
    """Compares in a database of its own; each comparison leaves nothing behind."""
    url = new_database("compared")
    migrate(url)
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(raw_dsn(url)))
        yield lambda deliveries, lines: runner.run(_compared(connection, deliveries, lines))
        runner.run(connection.close())


async def _compared(
    connection: asyncpg.Connection, deliveries: list[Delivery], lines: list[Line]
) -> set[tuple[int, str]]:
    change = connection.transaction()
    await change.start()
    try:
        for one in deliveries:
            ended = None if one.status == "pending" else one.at
            await connection.execute(PUT, one.id, one.quantity, one.status, one.at, ended)
        await Gatherer(connection, "m").empty()
        records = [(0, "deliver", line.id, "", line.quantity, 0, "MB", line.at) for line in lines]
        await connection.copy_records_to_table("theirs", records=records, columns=COLUMNS)
        found = await comparing.with_carrier(connection, "CMCC", DAY)
    finally:
        await change.rollback()
    return {
        (one.subject_id, one.cause) for one in found.differences if one.subject_id and one.cause != "ledger_differs"
    }


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=DELIVERIES, lines=LINES)
def test_the_join_finds_what_looking_at_each_thing_finds(
    compared: Comparison, deliveries: list[Delivery], lines: list[Line]
) -> None:
    assert compared(deliveries, lines) == set(naive(deliveries, lines))
