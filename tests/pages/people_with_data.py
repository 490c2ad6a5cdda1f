"""A market whose people have lines at a simulated carrier, for the pages that ask it."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar

from market.database import raw_dsn
from market.parties import line_or_invitation
from market.settings import Settings
from market.tables import PartyRow
from market.usage_days import SHANGHAI
from settlement.carriers.values import CarrierProfile
from tests.engine.factories import fresh_database
from tests.market.conftest import a_free_port, a_program
from tests.market.town import CREDENTIALS, a_number
from tests.pages.conftest import Browser, running_pages
from tests.web.making import settings_of

DAYS = 5
"""Until the data ends."""
ASSET = "insert into asset (code, kind, carrier, scope, expires_at) values ($1, 'data', 'CMCC', 'CN', $2)"
INSTRUMENT = """
insert into instrument (symbol, asset_id, currency, lot_units, tick_minor, floor_minor, ceiling_minor, reference_minor,
    maximum_lots, fee_basis_points, fee_minimum_minor, opens_at, closes_at)
select code, id, 'CNY', 100, 1, 2, 300, 150, 1000, 500, 1, '2020-01-01', expires_at - interval '2 hours'
from asset where carrier = 'CMCC' and expires_at < '2030-01-01'
"""
RULES = "insert into rule_profile (carrier, effective_from, terms) values ('CMCC', '2020-01-01', '{}')"


def midnight(days: int) -> datetime:
    local = datetime.now(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    return local + timedelta(days=days)


SYMBOL = f"CMCC-CN-{midnight(DAYS - 1):%y%m}"


@dataclass
class Neighbours:
    """Opens browsers for people with data, and asks the simulated carrier for them."""

    app: Litestar
    signed_in: Callable[..., Any]
    carrier_url: str

    async def move_in(self, *, remaining_mb: int = 12_000, daily_mb: int = 200, money_minor: int = 0) -> Browser:
        """A member at a browser, whose line has used data on 20 days (on none when ``daily_mb`` is 0)."""
        browser: Browser = await self.signed_in(money_minor=money_minor)
        await self.another_line(browser, remaining_mb=remaining_mb, daily_mb=daily_mb)
        return browser

    async def another_line(self, browser: Browser, *, remaining_mb: int = 12_000, daily_mb: int = 200) -> int:
        """Give a member a line; says which."""
        number, venue = a_number(), self.app.state.venue
        bucket = {
            "scope": "CN", "expires_at": midnight(DAYS).isoformat(), "remaining_mb": remaining_mb,
            "total_mb": remaining_mb,
        }  # fmt: skip
        line = {
            "msisdn": number, "name": "Somebody", "id_document": "1", "plan_name": "20 GB", "payment": "prepaid",
            "province": "GD", "buckets": [bucket], "daily_mb": daily_mb, "used_since": midnight(-20).isoformat(),
        }  # fmt: skip
        await self.at_carrier("POST", "/admin/lines", {"lines": [line]})
        async with venue.sessions.begin() as session:
            owner = await session.get_one(PartyRow, browser.party_id)
            row = await line_or_invitation(session, venue.vault, number, "CMCC", owner)
            row.verified_at = datetime.now(UTC)
        return row.id

    async def at_carrier(self, method: str, path: str, body: Any) -> None:
        headers = {"Authorization": f"Bearer {CREDENTIALS['CMCC']}"}
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            answer = await client.request(method, f"{self.carrier_url}/cmcc{path}", headers=headers, json=body)
        assert answer.is_success, answer.text


@pytest.fixture(scope="module")
def carrier_url(new_database: Callable[[str], str]) -> Iterator[str]:
    url, port = new_database("pages_carrier"), a_free_port()
    command = ["-m", "settlement.simulators.carrier", "--database-url", url, "--port", str(port)]
    with a_program(command, port, {"CARRIER_SIM_CREDENTIALS": json.dumps(CREDENTIALS)}) as address:
        yield address


@pytest.fixture(scope="module")
async def settings_with_carrier(new_database: Callable[[str], str], valkey_url: str, carrier_url: str) -> Settings:
    url = await fresh_database(new_database, "home")
    connection = await asyncpg.connect(raw_dsn(url))
    await connection.execute(ASSET, SYMBOL, midnight(DAYS))
    await connection.execute(INSTRUMENT)
    await connection.execute(RULES)
    await connection.close()
    profile = CarrierProfile("CMCC", "CMCC", "CMCC", f"{carrier_url}/cmcc", CREDENTIALS["CMCC"])
    return settings_of(database_url=url, redis_url=valkey_url.replace("/0", "/2"), carriers=(profile,))


@pytest.fixture(scope="module")
async def page_app(settings_with_carrier: Settings) -> AsyncIterator[Litestar]:
    """In place of the application that asks nobody."""
    async with running_pages(settings_with_carrier) as app:
        yield app


@pytest.fixture
def neighbours(page_app: Litestar, signed_in: Callable[..., Any], carrier_url: str) -> Neighbours:
    return Neighbours(page_app, signed_in, carrier_url)
