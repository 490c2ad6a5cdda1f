"""Lines of other people's books: strict figures, bad lines set apart, and pages that end early or change."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, cast

import asyncpg
import pytest

from market.database import raw_dsn
from settlement.carriers import journal
from settlement.carriers.errors import CarrierMismatch
from settlement.carriers.port import CarrierPort
from settlement.carriers.values import Action, ActionPage
from settlement.payments import statement
from settlement.reconciliation.gathering import Gatherer
from settlement.reconciliation.window import Window

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
WINDOW = Window(date(2026, 11, 1), UTC, datetime(2026, 11, 5, tzinfo=UTC))


def a_line(**changes: Any) -> dict[str, Any]:
    amount = {"amount": 100, "units": "MB"}
    named = {"externalIdentifier": "sf-m-deliver-1", "actionType": "adjustBalance"}
    return {**named, "amount": amount, "requestedDate": AT.isoformat(), **changes}


@pytest.mark.parametrize(
    "bad",
    [
        {"amount": {"amount": 1, "units": "KB"}},
        {"amount": {"amount": -1, "units": "MB"}},
        {"amount": {"amount": 1.5, "units": "MB"}},
        {"amount": None},
        {"requestedDate": "2026-11-01T00:00:00"},
        {"actionType": ""},
    ],
)
def test_a_bad_line_is_set_apart_and_the_rest_is_read(bad: dict[str, Any]) -> None:
    page = journal.page([a_line(), a_line(**bad), a_line()], 3)

    assert (len(page.lines), len(page.unreadable), len(page)) == (2, 1, 3)


def test_a_statements_line_whose_figures_do_not_add_up_is_set_apart() -> None:
    good = {"id": "txn_1", "type": "charge", "amount": 5, "fee": 1, "net": 4, "currency": "cny", "created": 1}

    page = statement.page({"data": [good, {**good, "net": 5}, {**good, "amount": "5"}], "has_more": False})

    assert (len(page.lines), len(page.unreadable), page.last_id) == (1, 2, None)


class Shrinking:
    """A carrier whose journal counts more than it shows."""

    def __init__(self, totals: Sequence[int]) -> None:
        self.totals = iter(totals)

    async def action_page(self, since: datetime, until: datetime, *, offset: int, limit: int) -> ActionPage:
        total = next(self.totals) if since <= AT < until else 0
        shown = [Action("a", "settle", None, "sf-m-deliver-1", 100, None, None, AT, [])] if total and not offset else []
        return ActionPage(shown, total)


async def read(url: str, totals: Sequence[int]) -> int:
    connection = await asyncpg.connect(raw_dsn(url))
    try:
        await Gatherer(connection, "m").journal(cast("CarrierPort", Shrinking(totals)), WINDOW)
        return int(await connection.fetchval("select count(*) from theirs"))
    finally:
        await connection.close()


async def test_a_journal_that_changes_while_it_is_read_is_read_again_and_counted_once(database_url: str) -> None:
    assert await read(database_url, [2, 3, 1]) == 1


async def test_a_journal_that_always_ends_early_counts_as_not_read(database_url: str) -> None:
    with pytest.raises(CarrierMismatch):
        await read(database_url, [2, 2, 2, 2, 2, 2])
