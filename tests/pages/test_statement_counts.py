"""What each page asks of the database: so many statements, and however long the history no more, nor more rows."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from httpx import ASGITransport, AsyncClient
from litestar import Litestar
from sqlalchemy import event, text

from market.tables import OfficerRow
from tests.pages.conftest import Browser, somebody_new
from tests.pages.history import dealings_of, events_of, past_of
from tests.pages.people_with_data import (
    SYMBOL,
    Neighbours,
    carrier_url,
    page_app,
    settings_with_carrier,
)
from tests.web.making import a_key, settings_of
from tests.web.test_access import routes
from web.app import create_app

__all__ = ["carrier_url", "page_app", "settings_with_carrier"]

Whose = Literal["nobody", "member", "partner", "officer", "carrier's officer"]
Visit = tuple[Whose, str]

LITTLE, MUCH, VERY_MUCH = 4, 520, 1_040
"""Of each kind: less than a page, more than any page or read may show, and twice that."""
VISITS = 6
"""How often a page is visited at most, so that one of the visits finds what all share already read."""

DATA = f"/instruments/{SYMBOL}"
TODAY = f"carrier=all&from={datetime.now(UTC).date()}&to={datetime.now(UTC).date()}"
ALLOWED: dict[Visit, int] = {
    ("nobody", "/"): 0,
    ("nobody", "/market"): 0,
    ("nobody", DATA): 7,
    ("nobody", f"{DATA}/quote"): 4,
    ("nobody", "/price-index"): 1,
    ("nobody", "/gifts/{gift}"): 1,
    ("nobody", "/sign-in"): 0,
    ("nobody", "/officer/sign-in"): 0,
    ("nobody", "/styleguide"): 0,
    ("nobody", "/offline/en"): 0,
    ("member", "/"): 4,
    ("member", "/?sold={order}"): 5,
    ("member", "/data"): 10,
    ("member", "/buy"): 8,
    ("member", "/market"): 1,
    ("member", "/instruments/COIN"): 11,
    ("member", "/instruments/COIN?placed={order}"): 12,
    ("member", DATA): 14,
    ("member", f"{DATA}?chart=depth"): 13,
    ("member", f"{DATA}/quote?side=sell&lots=1&price=1.50"): 9,
    ("member", "/price-index"): 2,
    ("member", "/me"): 1,
    ("member", "/orders"): 4,
    ("member", "/orders?state=all"): 4,
    ("member", "/orders?state=cancelled&side=buy&symbol=COIN"): 3,
    ("member", "/orders?state=all&before={last_order}"): 3,
    ("member", "/orders/cancel-all"): 2,
    ("member", "/trades"): 4,
    ("member", "/trades?state=settled&side=buy&symbol=COIN"): 4,
    ("member", "/trades?before={last_trade}"): 4,
    ("member", "/trades/{trade}"): 7,
    ("member", "/trades/{last_trade}/case"): 3,
    ("member", "/cases"): 2,
    ("member", "/cases?before={last_case}"): 2,
    ("member", "/cases/{case}"): 3,
    ("member", "/notices"): 2,
    ("member", "/alerts"): 4,
    ("member", "/wallet"): 7,
    ("member", "/wallet?before={last_entry}"): 7,
    ("member", "/wallet/statement"): 5,
    ("member", "/wallet/payouts"): 7,
    ("member", "/wallet/phone-bill"): 3,
    ("member", "/payments/{top_up}/returned"): 3,
    ("member", "/payments/{card_hold}/returned"): 2,
    ("member", "/coins"): 4,
    ("member", "/gifts"): 3,
    ("member", "/gifts/{gift}"): 2,
    ("member", "/tank"): 8,
    ("member", "/household"): 6,
    ("member", "/autopilot"): 5,
    ("member", "/autopilot/next?line_id={line}"): 14,
    ("member", "/settings"): 3,
    ("member", "/settings/sessions"): 1,
    ("member", "/settings/passkeys"): 2,
    ("member", "/settings/delete"): 2,
    ("member", "/step-up"): 3,
    ("member", "/styleguide"): 1,
    ("partner", "/partner"): 5,
    ("officer", "/officer"): 8,
    ("officer", f"/officer/report?{TODAY}"): 15,
    ("officer", "/officer/cases"): 2,
    ("officer", "/officer/cases?ended=yes"): 2,
    ("officer", "/officer/cases/{case}"): 3,
    ("officer", "/officer/dead-letters"): 2,
    ("officer", "/officer/escalations"): 5,
    ("officer", "/officer/provider-events"): 2,
    ("officer", "/officer/reconciliation"): 4,
    ("officer", "/officer/reconciliation?status=all"): 4,
    ("officer", "/officer/reconciliation/{broken}"): 3,
    ("carrier's officer", "/officer"): 7,
    ("carrier's officer", "/officer/escalations"): 4,
    ("carrier's officer", "/officer/reconciliation"): 2,
}
"""For a member who is signed in: who that is, and how many notices are new, are two of them; for an officer, who it is.

What all readers of a process share for two seconds, such as the list of markets, is not among them.
"""

NOT_PAGES = {
    "/price-index.csv",
    "/instruments/{symbol}/candles",
    "/trades/{name}/receipt",
    "/gifts/{code}/code.svg",
    "/officer/trades/{name}/receipt",
    "/cases/{name}/files/{entry_id}",
    "/officer/cases/{name}/files/{entry_id}",
    "/wallet/statement.csv",
    "/wallet/statement.xlsx",
    "/wallet/statement.pdf",
    "/officer/report.csv",
    "/officer/report.xlsx",
    "/officer/report.pdf",
    "/officer/report.json",
    "/officer/report.camt053.xml",
    "/manifest.webmanifest",
    "/service-worker.js",
    "/stream",
    "/market/stream",
    "/instruments/{symbol}/stream",
}
"""Files and streams."""
TOO_LATE = 'data-testid="payment"'
"""On the page for who comes back from the bank when nothing waits any more."""
FOR_PROGRAMS = ("/api/", "/schema", "/static/", "/health/", "/metrics", "/.well-known/")
"""How the addresses begin where programs ask, not people."""
LONGER = 1.05
"""Ids and sums have more digits after a longer history."""


@dataclass(frozen=True)
class Spent:
    """What one visit cost: statements, the rows that they brought, and the length of the answer in characters."""

    statements: int
    rows: int
    length: int


Bill = dict[Visit, Spent]


@dataclass
class Street:
    """People at browsers, in front of a market to which much may happen."""

    app: Litestar
    carrier_url: str
    open: AsyncExitStack

    async def browser(self) -> Browser:
        transport = ASGITransport(app=self.app)  # type: ignore[arg-type]
        client = AsyncClient(transport=transport, base_url=settings_of().public_url)
        return Browser(await self.open.enter_async_context(client))

    async def member(self, **changes: Any) -> Browser:
        return await somebody_new(self.app, await self.browser(), **changes)

    async def officer(self, carrier: str | None) -> Browser:
        browser = await self.browser()
        async with self.app.state.venue.sessions.begin() as session:
            row = OfficerRow(login=a_key(), password_hash="-", role="operations", carrier=carrier)
            session.add(row)
            await session.flush()
            number = row.id
        await browser.get("/officer/sign-in")
        await browser.post(f"/tests/officers/{number}", browser.shown["/preferences"])
        return browser

    async def people(self, count: int) -> tuple[dict[Whose, Browser], dict[str, str]]:
        """Somebody of each kind after so many events, and the names of what the member has."""
        member, partner = await self.member(), await self.member(kind="partner")
        await member.get("/gifts")
        gift = (await member.send("/gifts", coins="20")).headers["location"]
        await self._live_through(partner, count)
        names = {"gift": gift.rpartition("/")[2], **await self._live_through(member, count)}
        names["broken"] = str(await self._happen(count))
        return {
            "nobody": await self.browser(),
            "member": member,
            "partner": partner,
            "officer": await self.officer(None),
            "carrier's officer": await self.officer("CMCC"),
        }, names

    async def _live_through(self, browser: Browser, count: int) -> dict[str, str]:
        """The member has one line, and more when much has happened: no statement may be made for each of them."""
        homes = Neighbours(self.app, self.member, self.carrier_url)
        line, *_ = [await homes.another_line(browser) for _ in range(1 if count == LITTLE else 3)]
        first = 8 * 10**17 + browser.party_id * 10**6
        async with self.app.state.venue.sessions.begin() as session:
            asset = await session.scalar(text("select id from asset where code = :code"), {"code": SYMBOL})
            for statement in (
                *past_of(browser.party_id, first, count),
                *dealings_of(browser.party_id, line, asset, first, count),
            ):
                await session.execute(text(statement))
        return {
            "trade": f"trd_{first + 2}",
            "last_trade": f"trd_{first + count}",
            "case": f"cas_{first + 2}",
            "last_case": f"cas_{first + count}",
            "last_order": f"ord_{first + count}",
            "last_entry": f"entry_{first + count}",
            "order": f"ord_{first + 500_001}",
            "top_up": str(first + 2),
            "card_hold": str(first + 1),
            "line": str(line),
        }

    async def _happen(self, count: int) -> int:
        """Let so much happen to the market; gives the number of one of the breaks."""
        first = 7 * 10**17 + count * 10**6
        async with self.app.state.venue.sessions.begin() as session:
            for statement in events_of(first, count):
                await session.execute(text(statement))
        return first + 1


@pytest.fixture(scope="module")
async def bills(page_app: Litestar, carrier_url: str) -> AsyncIterator[dict[int, Bill]]:
    """What every page costs, at a market to which little, much and very much has happened."""
    async with AsyncExitStack() as stack:
        street = Street(page_app, carrier_url, stack)
        made: dict[int, Bill] = {}
        for count in (LITTLE, MUCH, VERY_MUCH):
            people, names = await street.people(count)
            made[count] = {
                (whose, path): await _least(people[whose], path.format(**names), page_app, allowed)
                for (whose, path), allowed in ALLOWED.items()
            }
        yield made


async def _least(browser: Browser, path: str, app: Litestar, allowed: int) -> Spent:
    """What the cheapest of some visits costs; one is enough that makes no more statements than allowed."""
    found: list[Spent] = []
    while len(found) < VISITS and not (found and found[-1].statements <= allowed):
        with _counting_rows(app) as rows:
            answer = await browser.get(path)
        assert answer.status_code in {200, 303} or TOO_LATE in answer.text, path
        found.append(Spent(len(rows), sum(rows), len(answer.text)))
    return min(found, key=lambda spent: spent.statements)


@contextmanager
def _counting_rows(app: Litestar) -> Iterator[list[int]]:
    """Gathers how many rows each statement of the application brings while it is entered."""
    brought: list[int] = []

    def note(_connection: object, cursor: Any, *_: object) -> None:
        brought.append(max(cursor.rowcount, 0))

    engine = app.state.venue.engine.sync_engine
    event.listen(engine, "after_cursor_execute", note)
    try:
        yield brought
    finally:
        event.remove(engine, "after_cursor_execute", note)


def test_every_page_has_its_number_and_every_number_its_page() -> None:
    answering = {template for method, template in routes(create_app(settings_of())) if method == "GET"}
    templates = {template for template in answering if not template.startswith(FOR_PROGRAMS)}

    numbered = {path: _template_of(path, templates) for _, path in ALLOWED}

    assert {path for path, template in numbered.items() if template is None} == set()
    assert templates == set(numbered.values()) | NOT_PAGES


def _template_of(path: str, templates: set[str]) -> str | None:
    """Of the address of a page the route; one without a parameter goes before one with."""
    place = path.partition("?")[0]
    fitting = (each for each in sorted(templates) if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), place))
    return place if place in templates else next(fitting, None)


@pytest.mark.parametrize("count", [LITTLE, MUCH, VERY_MUCH])
def test_a_page_makes_as_many_statements_as_it_may_however_much_has_happened(
    bills: dict[int, Bill], count: int
) -> None:
    assert {visit: spent.statements for visit, spent in bills[count].items()} == ALLOWED


def test_no_page_brings_more_rows_for_a_longer_history(bills: dict[int, Bill]) -> None:
    rows = {visit: (bills[MUCH][visit].rows, bills[VERY_MUCH][visit].rows) for visit in ALLOWED}

    assert {visit: (full, longer) for visit, (full, longer) in rows.items() if full != longer} == {}


def test_no_page_is_longer_for_a_longer_history(bills: dict[int, Bill]) -> None:
    lengths = {visit: (bills[MUCH][visit].length, bills[VERY_MUCH][visit].length) for visit in ALLOWED}

    assert {visit: (full, longer) for visit, (full, longer) in lengths.items() if longer > full * LONGER} == {}


async def test_a_part_of_a_page_does_not_ask_for_what_the_bar_shows(
    signed_in: Any, count_statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    browser = await signed_in()
    with count_statements() as whole:
        await browser.get("/orders")
    with count_statements() as part:
        await browser.get("/orders", htmx=True)

    assert "notice" in whole[0]
    assert "notice" not in part[0]
    assert len(whole) == len(part)
